"""``fillplan.toml``: defaults, overrides, and every wrong key said at once with the nearest one that exists."""

import os
import subprocess
import sys

import pytest

from cdn.settings import FILE, Settings, read_settings, settings_table
from topology.errors import InputError


def wrong(folder, text):
    (folder / FILE).write_text(text)
    with pytest.raises(InputError) as caught:
        read_settings(folder)
    return caught.value.problems


def test_absent_means_default(tmp_path):
    assert read_settings(tmp_path) == Settings()
    (tmp_path / FILE).write_text("[placement]\ngap = 0.01\n")
    read = read_settings(tmp_path)
    assert read.placement.gap == 0.01
    assert read.placement.model_copy(update={"gap": Settings().placement.gap}) == Settings().placement
    assert read.fill == Settings().fill


def test_the_command_line_wins_where_it_says_something(tmp_path):
    (tmp_path / FILE).write_text('[placement]\ngap = 0.01\nmethod = "greedy"\n')
    read = read_settings(tmp_path, {"placement": {"gap": 0.02, "method": None, "solver": "cbc"}})
    assert (read.placement.gap, read.placement.method, read.placement.solver) == (0.02, "greedy", "cbc")


@pytest.mark.parametrize(
    ("text", "column", "mend"),
    [
        ("[placement]\ngapp = 1", "placement.gapp", "did you mean placement.gap?"),
        ("[placment]\ngap = 1", "placment", "did you mean placement?"),
        ("[store]\nretain = 3", "store.retain", "docs/settings.md"),
        ("gap = 1", "gap", "did you mean placement.gap?"),
        ("[store]\ngap = 1", "store.gap", "did you mean placement.gap?"),
        ("volume = 11", "volume", "docs/settings.md"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(tmp_path, text, column, mend):
    (problem,) = wrong(tmp_path, text)
    assert (problem.table, problem.column, problem.message) == (FILE, column, "unknown setting")
    assert mend in problem.mend


@pytest.mark.parametrize(
    ("text", "column", "value"),
    [
        ("[placement]\ngap = -1", "placement.gap", "-1"),
        ("[placement]\ngap = nan", "placement.gap", "nan"),
        ("[placement]\ntime_limit_s = inf", "placement.time_limit_s", "inf"),
        ('[placement]\nmethod = "magic"', "placement.method", "magic"),
        ('[placement]\nlink_limits = "maybe"', "placement.link_limits", "maybe"),
        ("[steering]\ncandidates = 0", "steering.candidates", "0"),
        ("[guardrails]\nmax_demand_ratio = 1", "guardrails.max_demand_ratio", "1"),
        ("[placement]\nreactive_share = 1.0", "placement.reactive_share", "1.0"),
        ("placement = 3", "placement", "3"),
    ],
)
def test_a_wrong_value_is_refused(tmp_path, text, column, value):
    (problem,) = wrong(tmp_path, text)
    assert (problem.column, problem.value) == (column, value)
    assert problem.mend


@pytest.mark.parametrize(
    ("key", "value", "option"), [("method", "magic", "--method"), ("solver", "x", "--solver"), ("time_limit_s", 0, "--time-limit"), ("gap", -1, "--gap")]
)  # fmt: skip
def test_a_wrong_option_is_blamed_not_the_file(tmp_path, key, value, option):
    (tmp_path / FILE).write_text("[placement]\nseed = 3\n")
    with pytest.raises(InputError) as caught:
        read_settings(tmp_path, {"placement": {key: value}})
    (problem,) = caught.value.problems
    assert (problem.table, problem.column) == ("arguments", option)


@pytest.mark.parametrize(
    ("kinds", "said"), [('["fixed-hd", "dial-up"]', "'dial-up'; known are 3g"), ("[]", "at least 1")]
)
def test_a_kind_of_access_that_nobody_measured_is_refused(tmp_path, kinds, said):
    (problem,) = wrong(tmp_path, f"[simulation]\naccess = {kinds}")
    assert problem.column == "simulation.access"
    assert said in problem.message


def test_an_unknown_policy_is_refused_with_the_known_ones(tmp_path):
    (problem,) = wrong(tmp_path, '[simulation]\npolicies = ["plan", "lruu"]')
    assert "lruu" in problem.message and "s3fifo" in problem.message


def test_no_policy_at_all_is_refused(tmp_path):
    (problem,) = wrong(tmp_path, "[simulation]\npolicies = []")
    assert problem.column == "simulation.policies"


def test_everything_wrong_is_said_at_once(tmp_path):
    problems = wrong(tmp_path, "[placement]\ngap = -1\nmethd = 1\n[store]\nkeep = 0\n[colour]\n")
    assert {p.column for p in problems} == {"placement.gap", "placement.methd", "store.keep", "colour"}


@pytest.mark.parametrize("text", ["[placement\n", "gap =", "\xff"])
def test_what_is_not_toml_is_refused(tmp_path, text):
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="not TOML"):
        read_settings(tmp_path)


def test_the_reference_lists_every_knob():
    keys = [row[0] for row in settings_table()]
    expected = [f"{name}.{key}" for name, section in Settings() for key, _ in section]
    assert keys == expected
    assert all(description.endswith(".") for _, _, description in settings_table())


@pytest.mark.parametrize(("given", "kept"), [(None, "1"), ("3", "3")])
def test_linear_algebra_has_one_thread_unless_told_otherwise(given, kept):
    """Asked of a process of its own: OpenBLAS reads it when NumPy is imported."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    if given is not None:
        environment["OPENBLAS_NUM_THREADS"] = given
    ask = "import cdn, os, sys; assert 'numpy' not in sys.modules; print(os.environ['OPENBLAS_NUM_THREADS'])"
    ran = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == kept

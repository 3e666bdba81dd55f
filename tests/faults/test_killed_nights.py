"""A night killed at any moment leaves the last good plan in force, and running it again gives the plan it would have given."""

import datetime as dt
import hashlib
import shutil

import numpy as np
import pytest

from cdn.placement.verify import verify
from cdn.plan import read_plan
from cdn.store import PlanStore
from demand.catalogue import read_catalogue
from tests.cdn.test_nightly import LAST, QUICK, night
from tests.command import tree
from tests.faults.victim import Victim
from tests.small_network import write_small_network
from topology.network import read_network

VARYING = ("summary.json", "night.json", "rehearsal/totals.json")
"""These hold the seconds that were needed."""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A network whose plan of the night before is in force, and what the night gives when nobody kills it."""
    folder = write_small_network(tmp_path_factory.mktemp("killed") / "start")
    (folder / "fillplan.toml").write_text(QUICK)
    good = night(folder, LAST - dt.timedelta(days=1))
    undisturbed = shutil.copytree(folder, folder.parent / "undisturbed")
    made = night(undisturbed)
    return folder, good.plan_id, made.plan_id, digest(undisturbed / "plans" / made.plan_id)


@pytest.fixture(scope="module")
def victim(start):
    folder = start[0].parent / "net"
    shutil.copytree(start[0], folder)
    victim = Victim("tests.faults.actions:night", folder, LAST)
    yield folder, victim
    victim.close()


def reset(folder, start):
    shutil.rmtree(folder)
    shutil.copytree(start, folder)


def digest(plan):
    """The plan's files, but for those that tell the time."""
    files = {name: hashlib.sha256(data).hexdigest() for name, data in tree(plan).items() if name not in VARYING}
    assert files
    return files


def in_force(folder):
    """The plan in force, which must be whole, readable and sound."""
    store = PlanStore(folder / "plans")
    current, published = store.current(), store.plans()
    store.close()
    assert current is not None
    network, catalogue = read_network(folder), read_catalogue(folder)
    for plan in published:
        read_plan(plan.folder, network, catalogue)
        assert (plan.folder / "night.json").is_file() and (plan.folder / "manifests").is_dir()
    others = [p.folder for p in published if p.plan_id != current.plan_id]
    before = others[-1] if others else None
    if before is not None:
        assert verify(folder, current.folder / "demand.parquet", current.folder, previous=before).feasible
    return current.plan_id


def go_on(folder, victim, start):
    """Run the night again, undisturbed, and hold it to what it must give."""
    _, _, made, expected = start
    assert victim.run()[0] == "done"
    assert in_force(folder) == made
    assert digest(folder / "plans" / made) == expected
    left = {p.name for p in (folder / "plans").iterdir() if p.is_dir()}
    assert left == {start[1], made}


def steps_of(script):
    end, steps = script.run()
    assert end == "done" and steps > 60
    return steps


def test_killed_at_steps_of_its_work_on_files(start, victim):
    """Some steps of the night, and each of the last ones, where publishing happens."""
    folder, script = victim
    reset(folder, start[0])
    steps = steps_of(script)
    held = set()
    for step in sorted({*range(3, steps, steps // 5), *range(steps - 4, steps + 1)}):
        reset(folder, start[0])
        assert script.run(step=step)[0] == "killed"
        held.add(in_force(folder))
        go_on(folder, script, start)
    assert held == {start[1], start[2]}, "kills before and after the publishing transaction"


def test_killed_again_and_again(start, victim):
    """Each run gets a little farther than the one before, and the last finds the work of all of them."""
    folder, script = victim
    reset(folder, start[0])
    end, kills = "killed", 0
    while end == "killed":
        assert in_force(folder) in (start[1], start[2])
        end, _ = script.run(step=30 + 4 * kills)
        kills += 1
    assert end == "done" and kills > 2
    go_on(folder, script, start)


def test_killed_at_any_time(start, victim):
    """Moments between the steps too: inside the solver, the writing of Parquet, the commit of SQLite."""
    folder, script = victim
    rng = np.random.default_rng(7)
    killed = 0
    for seconds in rng.uniform(0.02, 1.0, 5):
        reset(folder, start[0])
        killed += script.run(seconds=float(seconds))[0] == "killed"
        assert in_force(folder) in (start[1], start[2])
    assert killed > 0
    go_on(folder, script, start)


def test_killed_on_the_very_first_night(tmp_path):
    """Before the first plan nothing is in force, and a kill leaves it so."""
    folder = write_small_network(tmp_path / "net")
    (folder / "fillplan.toml").write_text(QUICK)
    script = Victim("tests.faults.actions:night", folder, LAST)
    try:
        assert script.run(step=40)[0] == "killed"
        store = PlanStore(folder / "plans")
        assert store.current() is None
        store.close()
        assert script.run()[0] == "done"
    finally:
        script.close()
    assert in_force(folder)

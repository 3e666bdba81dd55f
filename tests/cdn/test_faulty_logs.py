"""A user forecasts from a log that is wrong: each fault is named in the output, and no number of the demand is missing, infinite or negative."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdn import console
from tests.command import fillplan

NEW = "new net --topology sndlib/polska --regions 4 --sites 3 --titles 40 --days 12 --sessions-per-day 6000"
FAULT = "2026-01-07"
"""The day on which what is wrong begins, or is."""

Rows = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    assert fillplan(NEW, cwd=folder).status == 0
    return folder / "net"


@pytest.fixture
def net(sound, tmp_path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "net"))


def change(net: Path, rows: Rows, *, since: str = "", until: str = "9999") -> None:
    """Rewrite the sessions of some days."""
    for path in (net / "playback").glob("date=*/*.parquet"):
        if since <= path.parent.name[len("date=") :] <= until:
            frame = pd.read_parquet(path)
            rows(frame.astype(dict.fromkeys(("region", "title", "profile"), str))).to_parquet(path, index=False)


def notes(net: Path) -> list[dict[str, str]]:
    """What the forecast of the day after the log says of it, once its demand is found sound."""
    ran = fillplan("forecast net --for 2026-01-13 -o demand.parquet --json", cwd=net.parent)
    assert ran.status == 0, ran.err
    demand = pd.read_parquet(net.parent / "demand.parquet").select_dtypes("number").to_numpy()
    assert len(demand) and np.isfinite(demand).all() and (demand >= 0).all()
    found = ran.document["notes"]
    assert all(note["message"] in ran.err and note["mend"] in ran.err for note in found)
    return list(found)


def region_of(net: Path) -> str:
    """The region with most sessions."""
    return str(pd.read_csv(net / "regions.csv").sort_values("subscribers")["region"].iloc[-1])


def test_a_sound_log_has_no_note(net):
    assert notes(net) == []


def test_missing_days(net):
    shutil.rmtree(net / f"playback/date={FAULT}")
    (note,) = notes(net)
    assert note["value"] == FAULT and "without a log" in note["message"]


def test_an_absurd_value(net):
    change(net, lambda rows: rows.assign(gb=rows["gb"].where(rows.index != 3, 1e9)), since=FAULT, until=FAULT)
    (note,) = notes(net)
    assert note["value"].startswith(FAULT) and "usual day" in note["message"]


def test_a_region_that_vanished(net):
    region = region_of(net)
    change(net, lambda rows: rows[rows["region"] != region], since="2026-01-09")
    (note,) = notes(net)
    assert note["value"].endswith(region) and "vanished" in note["message"]


def test_a_region_without_any_session(net):
    region = region_of(net)
    change(net, lambda rows: rows[rows["region"] != region])
    (note,) = notes(net)
    assert note["value"] == region and "not one byte" in note["message"]


def test_the_same_day_again_and_again(net):
    one = pd.read_parquet(next((net / f"playback/date={FAULT}").glob("*.parquet")))

    def copied(rows: pd.DataFrame) -> pd.DataFrame:
        return one.assign(start=one["start"] + (rows["start"].iloc[0].normalize() - one["start"].iloc[0].normalize()))

    change(net, copied)
    found = notes(net)
    assert {note["value"] for note in found} == set(pd.read_csv(net / "regions.csv")["region"])
    assert all("the same" in note["message"] for note in found)


@pytest.mark.parametrize("both", [False, True])
def test_a_title_with_two_names(net, both):
    titles, files = pd.read_csv(net / "titles.csv", dtype=str), pd.read_csv(net / "files.csv")
    titles["name"] = titles["title"]
    of = pd.concat(pd.read_parquet(p)["title"] for p in (net / "playback").glob("*/*.parquet"))
    old = str(of.value_counts().index[0])
    again = files[files["title"] == old].assign(title="again")
    again["file"] = "again/" + again["profile"].astype(str)
    pd.concat([titles, titles[titles["title"] == old].assign(title="again")]).to_csv(net / "titles.csv", index=False)
    pd.concat([files, again]).to_csv(net / "files.csv", index=False)
    half = (lambda rows: rows.index % 2 == 0) if both else (lambda _: True)
    change(net, lambda rows: rows.assign(title=rows["title"].mask((rows["title"] == old) & half(rows), "again")), since=FAULT)  # fmt: skip
    (note,) = notes(net)
    assert note["value"] == f"{old}, again"
    assert ("counted as two" if both else "handed on") in note["message"]
    demand = pd.read_parquet(net.parent / "demand.parquet").merge(pd.concat([files, again])[["file", "title"]])
    gb = demand.groupby("title")["gb"].sum()
    assert gb["again"] > 0 and (gb.get(old, 0.0) > 0) == both


@pytest.mark.parametrize("hours", [5, -7])
def test_a_log_whose_clock_was_changed(net, hours):
    """From one day on the times are those of another zone, so that some sessions fall on the day before or after."""
    region = region_of(net)
    rows = pd.concat(
        [pd.read_parquet(path) for path in sorted((net / "playback").glob("date=*/*.parquet"))], ignore_index=True
    )
    moved = (rows["region"] == region) & (rows["start"] >= pd.Timestamp(FAULT, tz=rows["start"].dt.tz))
    rows["start"] = rows["start"] + pd.to_timedelta(np.where(moved, hours, 0), unit="h")
    day = rows["start"].dt.strftime("%Y-%m-%d")
    shutil.rmtree(net / "playback")
    for date, sessions in rows[day < "2026-01-13"].groupby(day):
        (net / f"playback/date={date}").mkdir(parents=True)
        sessions.sort_values("start").to_parquet(net / f"playback/date={date}/part-0.parquet", index=False)
    (note,) = notes(net)
    near = pd.date_range(pd.Timestamp(FAULT) - pd.Timedelta(days=1), periods=3).strftime(
        "%Y-%m-%d"
    )  # the change cuts a day in two
    assert note["value"] in {f"{date}, {region}" for date in near}
    assert f"{hours:+d} h" in note["message"]


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("gb", -1.0, "no bytes"),
        ("gb", float("nan"), "no bytes"),
        ("gb", 0.0, "no bytes"),
        ("gb", float("inf"), "finite"),
        ("seconds", -5.0, "seconds"),
        ("region", "atlantis", "unknown id"),
        ("start", pd.Timestamp("2026-01-05 12:00"), "not on 2026-01-07"),
    ],
)
def test_rows_that_are_wrong_are_refused_with_their_place(net, column, value, words):
    change(net, lambda rows: rows.assign(**{column: rows[column].where(rows.index != 3, value)}), since=FAULT, until=FAULT)  # fmt: skip
    ran = fillplan("forecast net --for 2026-01-13 -o demand.parquet", cwd=net.parent)
    assert ran.status == console.WRONG_INPUT, ran.err
    assert words in ran.err and f"date={FAULT}" in ran.err and "row 4" in ran.err
    assert not (net.parent / "demand.parquet").exists()

"""The optional table of announcements: what it says of a pair of region and title, and what is wrong with it."""

import numpy as np
import pandas as pd
import pytest

from demand.events import SIGNALS, read_events
from topology.errors import InputError

REGIONS, TITLES = pd.Index(["north", "south"]), pd.Index(["a", "b", "c"])
DAY = np.datetime64("2026-01-10")


def write(folder, text):
    (folder / "events.csv").write_text(text, "utf-8")
    return folder


def on(events, day=DAY):
    region, title = (part.ravel() for part in np.meshgrid(range(2), range(3), indexing="ij"))
    return events.on(day, region, title, 2).reshape(2, 3, len(SIGNALS))


def test_no_table_is_no_events(tmp_path):
    assert read_events(tmp_path, REGIONS, TITLES) is None


def test_rows_reach_all_regions_all_titles_or_one_pair_and_add_up(tmp_path):
    events = read_events(
        write(
            tmp_path,
            "date,region,title,campaign_spend,promoted,holiday\n"
            "2026-01-10,,,,,1\n2026-01-10,north,,,0,\n2026-01-10,,b,500,1,\n2026-01-10,south,b,20,,\n2026-01-11,,a,9,,\n",
        ),
        REGIONS,
        TITLES,
    )
    table = on(events)
    spend, promoted, holiday = (table[:, :, SIGNALS.index(name)] for name in ("campaign_spend", "promoted", "holiday"))
    assert holiday.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert spend.tolist() == [[0, 500, 0], [0, 520, 0]]
    assert promoted.tolist() == [[0, 1, 0], [0, 1, 0]]
    assert on(events, np.datetime64("2026-01-12")).sum() == 0
    assert on(events)[:, :, SIGNALS.index("exposure")].sum() == 0  # the column is not there


@pytest.mark.parametrize(
    "row, words",
    [
        ("2026-13-01,north,a,1", "date"),
        (",north,a,1", "no date"),
        ("2026-01-10,west,a,1", "'west'"),
        ("2026-01-10,north,z,1", "'z'"),
        ("2026-01-10,north,a,-1", ">=0"),
        ("2026-01-10,north,a,many", "not a finite number"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, words):
    write(tmp_path, f"date,region,title,exposure\n2026-01-09,north,a,1\n{row}\n")
    with pytest.raises(InputError) as error:
        read_events(tmp_path, REGIONS, TITLES)
    (problem,) = error.value.problems
    assert problem.row == 2
    assert words in str(problem)

"""Expected demand: order, peaks, reading and writing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demand.demand import build_demand, demand_frame, read_demand, write_demand
from topology.errors import InputError

REGIONS, FILES = pd.Index(["north", "south"]), pd.Index(["x", "y", "z"])


def some():
    return build_demand(
        np.array([1, 0, 1]), np.array([2, 2, 0]), np.array([3.0, 2.0, 1.0]), np.array([0.3, 0.2, 0.1]),
        np.array([2.5, 1.5, 0.5]), np.array([4.0, 3.0, 2.0]),
    )  # fmt: skip


def test_entries_are_sorted_by_file_then_region():
    demand = some()
    assert demand.file.tolist() == [0, 2, 2]
    assert demand.region.tolist() == [1, 0, 1]
    assert demand.gb.tolist() == [1, 2, 3]
    assert demand.peak_gbps.tolist() == [0.1, 0.2, 0.3]
    assert demand.gb_p10.tolist() == [0.5, 1.5, 2.5]
    assert demand.gb_p90.tolist() == [2, 3, 4]
    assert demand.file_start(3).tolist() == [0, 1, 1, 3]
    assert len(demand) == 3


def test_absent_peaks_are_the_mean_rate_times_the_ratio():
    """86.4 GB a day are 8 Mbit/s on average."""
    demand = build_demand(np.array([0]), np.array([0]), np.array([86.4]))
    assert demand.peak_gbps == pytest.approx([0.008 * 2.5])
    mixed = build_demand(
        np.array([0, 1]), np.array([0, 0]), np.array([86.4, 86.4]), np.array([np.nan, 7.0]), peak_to_mean=2.0
    )
    assert mixed.peak_gbps == pytest.approx([0.016, 7.0])


@pytest.mark.parametrize("name", ["demand.csv", "demand.csv.gz", "demand.parquet"])
def test_a_demand_survives_every_form(tmp_path, name):
    demand = some()
    write_demand(demand, REGIONS, FILES, tmp_path / name)
    again = read_demand(tmp_path / name, REGIONS, FILES)
    for field in ("region", "file", "gb", "peak_gbps", "gb_p10", "gb_p90"):
        assert getattr(again, field) == pytest.approx(getattr(demand, field)), field


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), unique=True, min_size=1), st.randoms())
def test_order_of_rows_changes_nothing(pairs, random):
    gb = {pair: 1.0 + i for i, pair in enumerate(pairs)}

    def build(order):
        return demand_frame(build_demand(*np.array(order).T, np.array([gb[p] for p in order])), REGIONS, FILES)

    turned = random.sample(pairs, len(pairs))
    pd.testing.assert_frame_equal(build(pairs), build(turned))


def test_files_without_demand_have_empty_ranges():
    empty = build_demand(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    assert empty.file_start(3).tolist() == [0, 0, 0, 0]


def test_what_is_wrong_is_said_at_once(tmp_path):
    path = tmp_path / "demand.csv"
    path.write_text("region,file,gb\nnorth,x,1\nwest,x,2\nnorth,nowhere,3\nsouth,y,-4\n")
    with pytest.raises(InputError) as error:
        read_demand(path, REGIONS, FILES)
    assert {(p.row, p.column) for p in error.value.problems} == {(2, "region"), (3, "file"), (4, "gb")}


def test_a_pair_given_twice_is_refused(tmp_path):
    path = tmp_path / "demand.csv"
    path.write_text("region,file,gb\nnorth,x,1\nnorth,x,2\n")
    with pytest.raises(InputError):
        read_demand(path, REGIONS, FILES)

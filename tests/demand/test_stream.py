"""Long Parquet tables of demand: read batch by batch exactly as the reader of all tables reads them, fault by fault."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import demand.demand
import demand.stream
import topology.tables
from demand.demand import build_demand, read_demand, write_demand
from topology.errors import InputError

REGIONS = pd.Index([f"région {r}" for r in range(7)])
FILES = pd.Index([f"f{f}" for f in range(40)])
FIELDS = ("region", "file", "gb", "peak_gbps", "gb_p10", "gb_p90")


def read_plainly(path):
    """By the reader of all tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demand.demand, "stream_demand", lambda *_: None)
        return read_demand(path, REGIONS, FILES, peak_to_mean=3.0)


def outcome(read, path):
    try:
        return read(path)
    except InputError as error:
        return error.problems


def streamed(path):
    """Read; the reader of all tables must not be needed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demand.demand, "read_table", None)
        return read_demand(path, REGIONS, FILES, peak_to_mean=3.0)


def rows_of(random, *, count):
    pairs = random.choice(len(REGIONS) * len(FILES), count, replace=False)
    gb = random.gamma(0.5, 4.0, count)
    return pd.DataFrame(
        {"region": REGIONS[pairs // len(FILES)], "file": FILES[pairs % len(FILES)], "gb": gb, "peak_gbps": gb / 3}
    )


def as_table(frame, form, random):
    """One row group's rows: identifiers as text, as long text, or by a dictionary of its own with names that are not used, or repeated."""

    def encode(name):
        texts = pa.array(frame[name], pa.string())
        if form == "text":
            return texts
        if form == "long text":
            return texts.cast(pa.large_string())
        names = random.permutation(np.append({"region": REGIONS, "file": FILES}[name], ["unused"]))
        if form == "repeated":
            names = np.concatenate([names, names])
        at = {text: i for i, text in enumerate(names)}
        return pa.DictionaryArray.from_arrays(
            pa.array([at[t] for t in frame[name]], pa.int32()), pa.array(names, pa.string())
        )

    columns = {name: pa.array(frame[name]) for name in frame if name not in ("region", "file")}
    return pa.table({"region": encode("region"), "file": encode("file"), **columns})


def write_groups(frame, cuts, form, random, path):
    parts = [frame.iloc[a:b] for a, b in zip([0, *cuts], [*cuts, len(frame)], strict=True) if a < b]
    tables = [as_table(part, form, random) for part in parts]
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)


def assert_same(one, other):
    for field in FIELDS:
        a, b = getattr(one, field), getattr(other, field)
        assert (a is None) == (b is None), field
        if a is not None:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b, err_msg=field)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 280),
    order=st.sampled_from(["shuffled", "by region", "by file", "by region, files shuffled"]),
    form=st.sampled_from(["text", "long text", "dictionary", "repeated"]),
    batch=st.sampled_from([1, 7, 64, 1000]),
    extra=st.sets(st.sampled_from(["gb_p10", "no peak", "some peaks", "note"])),
)
@settings(deadline=None, max_examples=80)
def test_any_sound_table_is_read_as_the_reader_of_all_tables_reads_it(
    tmp_path_factory, seed, count, order, form, batch, extra
):
    random = np.random.default_rng(seed)
    frame = rows_of(random, count=count)
    if order != "shuffled":
        keys = {"by region": ["region", "file"], "by file": ["file", "region"]}.get(order, ["region"])
        at = frame.apply(lambda c: {"region": REGIONS, "file": FILES}[c.name].get_indexer(c) if c.name in keys else c)
        frame = frame.loc[at.sort_values(keys, kind="stable").index]
    if "gb_p10" in extra:
        frame["gb_p10"] = frame["gb"].where(random.random(count) < 0.7) / 2
    if "some peaks" in extra:
        frame["peak_gbps"] = frame["peak_gbps"].where(random.random(count) < 0.5)
    if "no peak" in extra:
        frame = frame.drop(columns="peak_gbps")
    if "note" in extra:
        frame["note"] = "x"
    path = tmp_path_factory.mktemp("stream") / "demand.parquet"
    write_groups(frame, sorted(random.integers(0, count, 3).tolist()), form, random, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demand.stream, "ROWS", batch)
        got = read_plainly(path) if form == "long text" else streamed(path)  # long text is not worth a second way
    assert_same(got, read_plainly(path))
    names = pd.MultiIndex.from_arrays([FILES[got.file], REGIONS[got.region]])
    asked = frame.set_index(["file", "region"])["gb"]
    np.testing.assert_array_equal(got.gb, asked.loc[names].to_numpy())


def sound():
    return rows_of(np.random.default_rng(5), count=60).reset_index(drop=True)


def with_cell(name, row, value):
    frame = sound()
    frame[name] = frame[name].astype(object)
    frame.loc[row, name] = value
    return frame if name in ("region", "file") else frame.astype({name: float})


FAULTS = {
    "an unknown region": with_cell("region", 50, "atlantis"),
    "an unknown file": with_cell("file", 3, "f40"),
    "an empty id": with_cell("file", 3, ""),
    "an id that is null": with_cell("file", 3, None),
    "gb that is not a number": with_cell("gb", 59, np.nan),
    "infinite gb": with_cell("gb", 59, np.inf),
    "negative gb": with_cell("gb", 0, -0.5),
    "a negative peak": with_cell("peak_gbps", 12, -1e-9),
    "an infinite peak": with_cell("peak_gbps", 12, -np.inf),
    "a pair twice, far apart": pd.concat([sound(), sound().iloc[[1]]]),
    "a pair twice, of different gb": pd.concat([sound(), sound().iloc[[1]].assign(gb=7.0)]),
    "no gb": sound().drop(columns="gb"),
    "no region": sound().drop(columns="region"),
    "no rows": sound().iloc[:0],
    "numbers as text": sound().astype({"gb": str}).assign(gb=lambda f: f["gb"].where(f.index != 4, "much")),
    "truths for numbers": sound().assign(gb=True),
    "numbers for ids": sound().assign(region=1.5),
    "everything at once": with_cell("region", 2, "x").assign(gb=-1.0, file=None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_named_as_in_any_table(tmp_path, fault):
    frame, path = FAULTS[fault], tmp_path / "demand.parquet"
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, path, row_group_size=16)
    got = outcome(lambda p: read_demand(p, REGIONS, FILES, peak_to_mean=3.0), path)
    assert isinstance(got, list) and got, fault
    assert got == outcome(read_plainly, path)
    if fault == "an unknown region":
        assert [(p.row, p.column, p.value) for p in got] == [(51, "region", "atlantis")]


def test_nan_is_no_blank(tmp_path):
    """A null peak is filled in; NaN is a fault."""
    path = tmp_path / "demand.parquet"
    table = pa.table({"region": REGIONS[:2].tolist(), "file": FILES[:2].tolist(), "gb": [1.0, 2.0]})
    pq.write_table(table.append_column("peak_gbps", pa.array([None, 1.0])), path)
    assert streamed(path).peak_gbps == pytest.approx([1 * 8 / 86400 * 3, 1])
    pq.write_table(table.append_column("peak_gbps", pa.array([np.nan, 1.0])), path)
    got = outcome(lambda p: read_demand(p, REGIONS, FILES), path)
    assert [(p.row, p.column) for p in got] == [(1, "peak_gbps")]


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty", "spoilt", "absent", "a folder", "column twice"])
def test_what_is_no_whole_parquet_file_is_named_as_any_table_is(tmp_path, damage):
    path = tmp_path / "demand.parquet"
    frame = rows_of(np.random.default_rng(1), count=200)
    frame.to_parquet(path, index=False)
    whole = path.read_bytes()
    if damage == "column twice":
        table = pa.Table.from_pandas(frame, preserve_index=False)
        pq.write_table(table.append_column("gb", table["gb"]), path)
    elif damage == "absent":
        path.unlink()
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        spoilt = whole[:4] + bytes(len(whole) // 2) + whole[4 + len(whole) // 2 :]
        path.write_bytes({"truncated": whole[:-20], "foreign": b"region,file,gb\n", "empty": b"", "spoilt": spoilt}[damage])  # fmt: skip
    got = outcome(lambda p: read_demand(p, REGIONS, FILES), path)
    assert isinstance(got, list) and got
    assert got == outcome(read_plainly, path)


def test_writing_some_rows_at_a_time_changes_nothing(tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    pairs = random.choice(len(REGIONS) * len(FILES), 100, replace=False)
    gb = random.random(100)
    made = build_demand(pairs % 7, pairs // 7, gb, gb / 2, gb / 3, gb * 2)
    write_demand(made, REGIONS, FILES, tmp_path / "whole.parquet")
    for module in (demand.demand, topology.tables):
        monkeypatch.setattr(module, "ROWS", 16)
    write_demand(made, REGIONS, FILES, tmp_path / "parts.parquet")
    assert pq.ParquetFile(tmp_path / "parts.parquet").num_row_groups == 7
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "parts.parquet"), pd.read_parquet(tmp_path / "whole.parquet"))  # fmt: skip
    assert_same(streamed(tmp_path / "parts.parquet"), made)


def test_entries_below_zero_are_refused():
    with pytest.raises(ValueError, match="below 0"):
        build_demand(np.array([0, -1]), np.array([1, 0]), np.ones(2))

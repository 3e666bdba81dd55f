"""The reader of tables: every kind of wrong input is named with table, row, column, value and mend, and nothing is misread."""

import datetime as dt
import gzip
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topology.columns import MOST_PER_COLUMN, Attribute, Schema
from topology.errors import InputError
from topology.tables import find_table, index_of, load_schema, read_table, write_table


def attribute(name, kind="text", **facts):
    blank = dict.fromkeys(("unit", "range", "default", "refers_to", "description"), "")
    return Attribute(**{**blank, "name": name, "type": kind, "status": "required", **facts})


def schema_of(*attributes):
    return Schema(table="things", attributes=attributes)


THINGS = schema_of(
    attribute("thing", "id", status="key"),
    attribute("size_gb", "number", range=">=0", unit="GB"),
    attribute("cost", "number", range=">=0", status="optional", default="7"),
)


def read(path, schema=THINGS, **options):
    problems = []
    return read_table(path, schema, problems, **options), problems


def read_text(tmp_path, text, schema=THINGS, name="things.csv", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path, schema, **options)


def the_problem(outcome):
    frame, problems = outcome
    assert frame is None
    assert len(problems) == 1, [str(p) for p in problems]
    assert problems[0].table == "things"
    assert problems[0].mend
    return problems[0]


def test_a_sound_csv(tmp_path):
    frame, problems = read_text(tmp_path, "thing,size_gb,note\na,1.5,x\nb,2,\n")
    assert problems == []
    assert frame.to_dict("list") == {"thing": ["a", "b"], "size_gb": [1.5, 2.0], "cost": [7.0, 7.0], "note": ["x", ""]}


def test_byte_order_mark_quotes_and_windows_line_ends(tmp_path):
    text = b'\xef\xbb\xbf"thing","size_gb"\r\n"a, ""b""",1\r\n'
    frame, _ = read_text(tmp_path, text)
    assert frame["thing"].tolist() == ['a, "b"']


@pytest.mark.parametrize("name", ["NA", "null", "nan", "None", "007", "1e3", "true", "東京", "Åre", " spaced ", "🚀"])
@pytest.mark.parametrize("categorical", [False, True])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_identifiers_stay_what_they_are(tmp_path, name, categorical, ending):
    path = tmp_path / f"things{ending}"
    write_table(pd.DataFrame({"thing": [name, "other"], "size_gb": [1.0, 2.0]}), path)
    frame, problems = read(path, categorical=categorical)
    assert problems == []
    assert list(frame["thing"]) == [name, "other"]


def test_extra_columns_are_kept_as_they_are(tmp_path):
    frame, _ = read_text(tmp_path, "thing,colour,size_gb,code\na,NA,1,007\n")
    assert frame["colour"].tolist() == ["NA"]
    assert frame["code"].tolist() == ["007"]
    path = tmp_path / "things.parquet"
    write_table(
        pd.DataFrame({"thing": ["a"], "size_gb": [1], "extra": [3], **{f"e{i}": [i] for i in range(150)}}), path
    )
    frame, problems = read(path)
    assert problems == []
    assert frame["extra"].tolist() == [3]
    assert frame.shape == (1, 154)


def test_quoted_line_breaks_in_a_text(tmp_path):
    schema = schema_of(attribute("thing", "id", status="key"), attribute("note"))
    frame, problems = read_text(tmp_path, 'thing,note\na,"one\ntwo"\nb,three\n', schema)
    assert problems == []
    assert frame["note"].tolist() == ["one\ntwo", "three"]


def test_quoted_line_breaks_in_a_file_of_many_blocks(tmp_path):
    schema = schema_of(attribute("thing", "id", status="key"), attribute("note"))
    note = "line\n" * 100_000
    frame, problems = read_text(tmp_path, "thing,note\n" + "".join(f't{i},"{note}"\n' for i in range(40)), schema)
    assert problems == []
    assert (frame["note"] == note).all()
    assert len(frame) == 40


def test_missing_columns_are_all_named_with_what_is_there(tmp_path):
    frame, problems = read_text(tmp_path, "size,cost\n1,2\n")
    assert frame is None
    assert [p.column for p in problems] == ["thing", "size_gb"]
    assert all("size, cost" in p.message for p in problems)


def test_missing_file(tmp_path):
    assert "no such file" in the_problem(read(tmp_path / "things.csv")).message


@pytest.mark.parametrize("name", ["things.csv", "things.csv.gz", "things.parquet"])
def test_a_folder_in_the_place_of_a_file(tmp_path, name):
    (tmp_path / name).mkdir()
    assert "directory" in the_problem(read(tmp_path / name)).message.lower()


def test_unknown_ending(tmp_path):
    assert "unknown kind" in the_problem(read_text(tmp_path, "thing,size_gb\na,1\n", name="things.xlsx")).message
    with pytest.raises(InputError, match="unknown kind"):
        write_table(pd.DataFrame({"thing": ["a"]}), tmp_path / "things.txt")
    (tmp_path / "things.csv").mkdir()
    with pytest.raises(InputError, match="a folder has this name"):
        write_table(pd.DataFrame({"thing": ["a"]}), tmp_path / "things.csv")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("-1", "out of range"),
        ("-0.001", "out of range"),
        ("nan", "not a finite number"),
        ("NaN", "not a finite number"),
        ("inf", "not a finite number"),
        ("-Infinity", "not a finite number"),
        ("1e999", "not a finite number"),
        ("", "not a finite number"),
        ("abc", "not a finite number"),
        ("1.5 GB", "not a finite number"),
        ("1_000", "not a finite number"),
        ("0x10", "not a finite number"),
    ],
)
@pytest.mark.parametrize("column", ["size_gb", "cost"])
def test_wrong_numbers(tmp_path, number, message, column):
    values = {"size_gb": ["1", "2", "3"], "cost": ["1", "", "3"]}
    values[column][1] = number
    text = "thing,size_gb,cost\n" + "\n".join(map(",".join, zip("abc", *values.values(), strict=True)))
    if column == "cost" and number == "":
        frame, problems = read_text(tmp_path, text)
        assert problems == []
        assert frame["cost"].tolist() == [1, 7, 3]
        return
    problem = the_problem(read_text(tmp_path, text))
    assert (problem.row, problem.column, problem.value) == (2, column, number)
    assert message in problem.message


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), None])
def test_wrong_numbers_in_parquet(tmp_path, value):
    path = tmp_path / "things.parquet"
    pq.write_table(pa.table({"thing": ["a", "b"], "size_gb": pa.array([1.0, value], pa.float64())}), path)
    problem = the_problem(read(path))
    assert (problem.row, problem.column) == (2, "size_gb")


def test_number_columns_of_parquet(tmp_path):
    path = tmp_path / "things.parquet"
    sound = (
        pa.array([1, 2], pa.uint8()),
        pa.array(["1", "2.0"], pa.large_string()),
        pa.array([Decimal("1.0"), Decimal(2)]),
    )
    for sizes in (*sound, pa.array(["1", "2"]).dictionary_encode()):
        pq.write_table(pa.table({"thing": ["a", "b"], "size_gb": sizes}), path)
        frame, problems = read(path)
        assert problems == []
        assert frame["size_gb"].tolist() == [1.0, 2.0]
    for sizes in ([True, False], [[1], [2]], [dt.date(2026, 1, 1)] * 2, [{"gb": 1}] * 2, [None, None]):
        pq.write_table(pa.table({"thing": ["a", "b"], "size_gb": pa.array(sizes)}), path)
        frame, problems = read(path)
        assert frame is None
        assert [(p.row, p.column, p.message) for p in problems] == [
            (i, "size_gb", "not a finite number") for i in (1, 2)
        ]


@pytest.mark.parametrize(
    ("limits", "bad", "good"),
    [
        (">0", "0", "0.1"),
        (">=0", "-1", "0"),
        (">0..1e9", "0", "1e9"),
        (">0..1e9", "1.1e9", "0.1"),
        ("0..24", "24.5", "24"),
        ("-90..90", "-91", "-90"),
    ],
)
def test_ranges(tmp_path, limits, bad, good):
    schema = schema_of(attribute("thing", "id", status="key"), attribute("x", "number", range=limits))
    assert limits in the_problem(read_text(tmp_path, f"thing,x\na,{good}\nb,{bad}\n", schema)).message


@pytest.mark.parametrize(("text", "message"), [("1.5", "whole"), ("0", "range"), ("x", "finite"), ("1e300", "whole")])
def test_integers(tmp_path, text, message):
    schema = schema_of(attribute("thing", "id", status="key"), attribute("rank", "integer", range=">=1"))
    assert message in the_problem(read_text(tmp_path, f"thing,rank\na,1\nb,{text}\n", schema)).message
    frame, _ = read_text(tmp_path, "thing,rank\na,3\n", schema)
    assert frame["rank"].dtype == np.int64


def test_one_wrong_cell_of_an_optional_column_does_not_blame_the_blank_ones(tmp_path):
    problem = the_problem(read_text(tmp_path, "thing,size_gb,cost\na,1,\nb,1,dear\nc,1,\n"))
    assert (problem.row, problem.value) == (2, "dear")


@pytest.mark.parametrize("categorical", [False, True])
@pytest.mark.parametrize("name", ['""', '"a\tb"', '"a\nb"', '"\x7f"', '"\x85"'])
def test_wrong_identifiers(tmp_path, name, categorical):
    problem = the_problem(read_text(tmp_path, f"thing,size_gb\nok,1\n{name},1\n", categorical=categorical))
    assert (problem.row, problem.column) == (2, "thing")
    assert "not an identifier" in problem.message


@pytest.mark.parametrize("categorical", [False, True])
def test_duplicate_ids_name_the_later_rows(tmp_path, categorical):
    frame, problems = read_text(tmp_path, "thing,size_gb\na,1\nb,1\na,2\na,3\n", categorical=categorical)
    assert frame is None
    assert [(p.row, p.value, p.message) for p in problems] == [(3, "a", "duplicate id"), (4, "a", "duplicate id")]


def test_duplicate_compound_keys(tmp_path):
    schema = schema_of(attribute("a", "id", status="key"), attribute("b", "id", status="key"))
    problem = the_problem(read_text(tmp_path, "a,b\nx,y\nx,z\nx,y\n", schema))
    assert problem.row == 3
    assert problem.value == "x, y"


@pytest.mark.parametrize("categorical", [False, True])
def test_unknown_references(tmp_path, categorical):
    schema = schema_of(attribute("thing", "id", status="key"), attribute("owner", "id", refers_to="owners"))
    known = {"owners": pd.Index(["me"])}
    text = "thing,owner\na,me\nb,you\n"
    problem = the_problem(read_text(tmp_path, text, schema, known=known, categorical=categorical))
    assert (problem.row, problem.column, problem.value) == (2, "owner", "you")
    assert "owners" in problem.message
    frame, _ = read_text(tmp_path, text, schema, categorical=categorical)
    assert len(frame) == 2, "references to a table that was not read are not checked"


def test_an_empty_table(tmp_path):
    assert "empty" in the_problem(read_text(tmp_path, "thing,size_gb\n")).message
    frame, problems = read_text(tmp_path, "thing,size_gb\n", may_be_empty=True)
    assert problems == []
    assert len(frame) == 0
    frame, problems = read_text(tmp_path, "thing,size_gb\n", may_be_empty=True, categorical=True)
    assert list(frame.columns) == ["thing", "size_gb", "cost"]
    path = tmp_path / "things.parquet"
    write_table(pd.DataFrame({"thing": [], "size_gb": []}), path)
    assert "empty" in the_problem(read(path)).message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no header"),
        (b"\n\n", "no header"),
        (b"\nthing,size_gb\na,1\n", "first line is empty"),
        (b"thing;size_gb\na;1\n", "semicolons"),
        (b"thing\tsize_gb\na\t1\n", "tabs"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"PK\x03\x04rest", "workbook"),
        (gzip.compress(b"thing,size_gb\na,1\n", mtime=0), "gzip"),
        ("thing,size_gb\na,1\n".encode("utf-16"), "UTF-16"),
        ("thing,size_gb\na,1\n".encode("utf-16-le"), "UTF-16"),
    ],
)
def test_foreign_content_in_a_csv(tmp_path, content, message):
    assert message in the_problem(read_text(tmp_path, content)).message


def test_bad_encoding_names_the_line(tmp_path):
    problem = the_problem(read_text(tmp_path, "thing,size_gb\na,1\nMünchen,2\n".encode("latin-1")))
    assert "not UTF-8" in problem.message
    assert problem.row == 2
    far = b"thing,size_gb\n" + b"a,1\n" * 30_000 + b"M\xfcnchen,2\n"
    assert the_problem(read_text(tmp_path, far)).row == 30_001
    assert "not UTF-8" in the_problem(read_text(tmp_path, b"th\xfcng,size_gb\na,1\n")).message


def test_a_column_twice(tmp_path):
    problem = the_problem(read_text(tmp_path, "thing,size_gb,thing\na,1,b\n"))
    assert problem.column == "thing"
    assert "twice" in problem.message
    path = tmp_path / "things.parquet"
    pq.write_table(pa.table([["a"], [1.0], ["b"]], names=["thing", "size_gb", "thing"]), path)
    assert the_problem(read(path)).column == "thing"


def test_a_row_with_too_few_or_too_many_cells_is_named(tmp_path):
    problem = the_problem(read_text(tmp_path, "thing,size_gb\na,1\nb\n"))
    assert problem.row == 2
    assert "Expected 2 columns" in problem.message
    assert the_problem(read_text(tmp_path, "thing,size_gb\na,1\nb,1,2\n")).row == 2


def test_truncated_and_foreign_parquet(tmp_path):
    path = tmp_path / "things.parquet"
    write_table(pd.DataFrame({"thing": [f"t{i}" for i in range(1000)], "size_gb": np.arange(1000.0)}), path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:3], b"", b"thing,size_gb\na,1\n", whole[:200] + whole[-200:]):
        path.write_bytes(content)
        problem = the_problem(read(path))
        assert "not a whole Parquet file" in problem.message
        assert problem.value == str(path), "a plan's folder has tables of the same names as another's"


def test_gzip(tmp_path):
    text = b"thing,size_gb\n" + b"".join(f"t{i},{i}\n".encode() for i in range(5000))
    frame, problems = read_text(tmp_path, gzip.compress(text), name="things.csv.gz")
    assert problems == []
    assert len(frame) == 5000
    half = gzip.compress(text)[:5000]
    assert "not a whole gzip file" in the_problem(read_text(tmp_path, half, name="things.csv.gz")).message
    broken = bytearray(gzip.compress(text))
    broken[2000] ^= 0xFF
    assert "not a whole gzip file" in the_problem(read_text(tmp_path, bytes(broken), name="things.csv.gz")).message
    assert "not a whole gzip file" in the_problem(read_text(tmp_path, text, name="things.csv.gz")).message


def timed(kind, status="required"):
    return schema_of(attribute("thing", "id", status="key"), attribute("when", kind, status=status))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("clock", ["02:00", "23:59:59", "00:00"], ["2:00", "25:00", "02:60", "02", "2 am", "02:00+01:00", "24:00", ""]),
        ("timezone", ["Europe/Berlin", "UTC", "Etc/GMT-1"], ["Berlin", "Europe", "", "../etc/passwd", "x" * 300, "CEST2"]),
        ("date", ["2026-01-31", "2024-02-29", "2026-01-31 00:00:00", ""], ["2025-02-29", "31.01.2026", "9999-12-31", "today", "2026-01-31T05:00"]),
        ("datetime", ["2026-01-31T20:15:00", "2026-01-31T20:15:00Z", "2026-01-31 20:15"], ["2026-13-01T00:00", "noon", "", "0001-01-01T00:00"]),
        ("embedded|ix|origin", ["embedded", "ix", "origin"], ["Origin", "", "edge"]),
    ],
)  # fmt: skip
def test_clocks_zones_dates_and_kinds(tmp_path, kind, good, bad):
    rows = [f"g{i},{v}" for i, v in enumerate(good)] + [f"b{i},{v}" for i, v in enumerate(bad)]
    frame, problems = read_text(tmp_path, "thing,when\n" + "\n".join(rows) + "\n", timed(kind))
    assert frame is None
    assert [(p.row, p.value) for p in problems] == [(len(good) + 1 + i, v) for i, v in enumerate(bad)]
    frame, problems = read_text(tmp_path, "thing,when\n" + "\n".join(rows[: len(good)]) + "\n", timed(kind))
    assert problems == []


@pytest.mark.parametrize("kind", ["date", "timezone", "clock"])
def test_blank_is_fine_where_optional(tmp_path, kind):
    frame, problems = read_text(tmp_path, "thing,when\na,\n", timed(kind, "optional"))
    assert problems == []
    assert len(frame) == 1


def test_times_are_utc(tmp_path):
    texts = ["2026-03-29T02:30:00+02:00", "2026-03-29T00:30:00Z", "2026-03-29T00:30:00"]
    frame, _ = read_text(
        tmp_path, "thing,when\n" + "".join(f"t{i},{t}\n" for i, t in enumerate(texts)), timed("datetime")
    )
    assert (frame["when"] == pd.Timestamp("2026-03-29T00:30:00")).all()
    path = tmp_path / "things.parquet"
    moments = pd.to_datetime(texts[:1] * 2).tz_convert("Asia/Tokyo")
    for unit in ("ms", "us", "ns"):
        write_table(pd.DataFrame({"thing": ["a", "b"], "when": moments.as_unit(unit)}), path)
        frame, problems = read(path, timed("datetime"))
        assert problems == []
        assert (frame["when"] == pd.Timestamp("2026-03-29T00:30:00")).all()


def test_dates_of_parquet(tmp_path):
    path = tmp_path / "things.parquet"
    pq.write_table(pa.table({"thing": ["a", "b"], "when": [dt.date(2026, 1, 31), None]}), path)
    frame, _ = read(path, timed("date"))
    assert frame["when"].tolist() == [pd.Timestamp("2026-01-31"), pd.NaT]
    pq.write_table(pa.table({"thing": ["a", "b"], "when": [dt.date(2026, 1, 31), dt.date(9999, 12, 31)]}), path)
    problem = the_problem(read(path, timed("date")))
    assert (problem.row, problem.value) == (2, "9999-12-31")
    pq.write_table(pa.table({"thing": ["a", "b"], "when": [dt.datetime(2026, 1, 31), None]}), path)
    assert the_problem(read(path, timed("datetime"))).row == 2


@pytest.mark.parametrize("categorical", [False, True])
def test_identifier_columns_of_parquet(tmp_path, categorical):
    path = tmp_path / "things.parquet"
    sizes = pa.array([1.0, 2.0, 3.0])
    repeated = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), pa.array(["a", "b", "c", "unused"]))
    for ids in (pa.array([7, 8, 9]), pa.array(list("abc"), pa.large_string()), repeated):
        pq.write_table(pa.table({"thing": ids, "size_gb": sizes}), path)
        frame, problems = read(path, categorical=categorical)
        assert problems == []
        assert list(frame["thing"]) in (["7", "8", "9"], ["a", "b", "c"])
    for ids in (pa.array([[1], [2], [3]]), pa.array([1.0, 2.0, 3.5]), pa.array([b"\xff", b"b", b"c"])):
        pq.write_table(pa.table({"thing": ids, "size_gb": sizes}), path)
        assert "identifiers are text" in the_problem(read(path, categorical=categorical)).message
    pq.write_table(pa.table({"thing": pa.array(["a", None, "c"]), "size_gb": sizes}), path)
    assert the_problem(read(path, categorical=categorical)).row == 2


def test_a_flood_of_faults_is_counted(tmp_path):
    frame, problems = read_text(tmp_path, "thing,size_gb\n" + "".join(f"t{i},-1\n" for i in range(1000)))
    assert frame is None
    assert len(problems) == MOST_PER_COLUMN
    assert f"and {1000 - MOST_PER_COLUMN} more" in problems[-1].message


def test_problems_of_all_columns_come_at_once(tmp_path):
    _, problems = read_text(tmp_path, "thing,size_gb,cost\n,x,-1\na,1,1\n")
    assert [p.column for p in problems] == ["thing", "size_gb", "cost"]
    assert {p.row for p in problems} == {1}


def test_both_forms_of_a_table_are_refused(tmp_path):
    assert find_table(tmp_path, "things") is None
    (tmp_path / "things.csv").touch()
    assert find_table(tmp_path, "things") == tmp_path / "things.csv"
    (tmp_path / "things.parquet").touch()
    with pytest.raises(InputError, match=r"twice: things\.parquet and things\.csv"):
        find_table(tmp_path, "things")


IDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)


@given(
    rows=st.lists(st.tuples(IDS, st.floats(0, 1e300), st.text(st.characters(exclude_categories=["Cs"]))), min_size=1),
    ending=st.sampled_from([".csv", ".csv.gz", ".parquet"]),
    categorical=st.booleans(),
)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_what_is_read(tmp_path, rows, ending, categorical):
    rows = list({row[0]: row for row in rows}.values())
    frame = pd.DataFrame(rows, columns=["thing", "size_gb", "note"])
    frame["note"] = frame["note"].str.replace("\0", "")
    write_table(frame, tmp_path / f"things{ending}")
    back, problems = read(tmp_path / f"things{ending}", categorical=categorical)
    assert problems == []
    for column in frame:
        assert list(back[column]) == list(frame[column])


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_the_same_rows_give_the_same_bytes_and_no_draft_stays(tmp_path, ending):
    frame = pd.DataFrame({"thing": ["a", "b"], "size_gb": [0.1, 2.0]})
    paths = [tmp_path / f"{name}{ending}" for name in ("one", "two")]
    for path in paths:
        write_table(frame, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)


def test_a_failed_write_leaves_the_old_table(tmp_path):
    path = tmp_path / "things.parquet"
    write_table(pd.DataFrame({"thing": ["a"]}), path)
    before = path.read_bytes()
    with pytest.raises(pa.ArrowTypeError):
        write_table(pd.DataFrame({"thing": ["a", 1, object]}), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["things.parquet"]


def test_index_of(tmp_path):
    index = pd.Index(["a", "b", "c"])
    for column in (pd.Series(["c", "x", "a"]), pd.Series(["c", "x", "a"], dtype="category")):
        assert index_of(index, column).tolist() == [2, -1, 0]
    assert index_of(index, pd.Series(["c", None], dtype="category")).tolist() == [2, -1]


@pytest.mark.parametrize("package", ["topology", "demand", "cdn"])
def test_every_schema_is_sound(package):
    from importlib import resources

    for file in (resources.files(package) / "schema").iterdir():
        schema = load_schema(package, file.name.removesuffix(".csv"))
        names = [a.name for a in schema.attributes]
        assert len(set(names)) == len(names)
        for a in schema.attributes:
            assert a.status in ("key", "required", "optional"), (file.name, a.name)
            assert (
                a.type in ("id", "text", "number", "integer", "date", "datetime", "clock", "timezone") or "|" in a.type
            )
            assert a.description

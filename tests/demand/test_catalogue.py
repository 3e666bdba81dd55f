"""The catalogue: wiring, and everything that can be wrong with its tables at once."""

import pandas as pd
import pytest

from demand.catalogue import build_catalogue, read_catalogue, validate_catalogue
from topology.errors import InputError, Problem


def write(folder, **tables: str):
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, "utf-8")
    return folder


SOUND = {
    "titles": "title,kind,release_date\na,film,2026-01-01\nb,,\n",
    "files": "file,title,profile,bitrate_kbps,size_gb\nb1,b,low,500,1\na1,a,low,500,2\na2,a,high,1000,4\n",
}


def problems_of(folder, **more) -> list[Problem]:
    found: list[Problem] = []
    assert validate_catalogue(folder, found, **more) is None
    return found


def test_files_know_their_title(tmp_path):
    catalogue = read_catalogue(write(tmp_path, **SOUND))
    assert catalogue.title_ids.tolist() == ["a", "b"]
    assert catalogue.file_ids.tolist() == ["a1", "a2", "b1"]  # in the order of their names
    assert catalogue.title_of.tolist() == [0, 0, 1]
    assert catalogue.size_gb.tolist() == [2, 4, 1]
    assert catalogue.bitrate_kbps.tolist() == [500, 1000, 500]
    assert catalogue.availability is None


def test_build_takes_frames_whatever_their_index():
    titles = pd.DataFrame({"title": ["a", "b"]}, index=[7, 3])
    files = pd.DataFrame(
        {"file": ["x"], "title": ["b"], "profile": ["p"], "bitrate_kbps": [1], "size_gb": [2]}, index=[9]
    )
    catalogue = build_catalogue(titles, files)
    assert catalogue.title_of.tolist() == [1]
    assert catalogue.files.index.tolist() == [0]


def test_availability_is_read_and_its_regions_checked(tmp_path):
    write(tmp_path, **SOUND, availability="title,region,from,to\na,north,2026-01-01,2026-02-01\n")
    found: list[Problem] = []
    catalogue = validate_catalogue(tmp_path, found, regions=pd.Index(["north"]))
    assert found == []
    assert catalogue is not None
    assert len(catalogue.availability) == 1
    (problem,) = problems_of(tmp_path, regions=pd.Index(["south"]))
    assert (problem.table, problem.row, problem.column, problem.value) == ("availability", 1, "region", "north")


def test_missing_tables_are_named_with_their_columns(tmp_path):
    found = problems_of(tmp_path)
    assert [p.table for p in found] == ["titles", "files"]
    assert "file, title, profile, bitrate_kbps, size_gb" in found[1].mend


def test_everything_wrong_is_said_at_once(tmp_path):
    write(
        tmp_path,
        titles=SOUND["titles"],
        files="file,title,profile,bitrate_kbps,size_gb\nx,a,p,0,1\ny,nowhere,p,1,-1\ny,b,p,1,1\n",
    )
    said = {(p.row, p.column) for p in problems_of(tmp_path)}
    assert said == {(1, "bitrate_kbps"), (2, "title"), (2, "size_gb"), (3, "file")}


def test_a_title_cannot_have_two_files_of_one_profile(tmp_path):
    write(tmp_path, titles=SOUND["titles"], files=SOUND["files"].replace("a2,a,high", "a2,a,low"))
    (problem,) = problems_of(tmp_path)
    assert (problem.row, problem.column, problem.value) == (3, "profile", "low")


def test_reading_raises_all_problems(tmp_path):
    with pytest.raises(InputError) as error:
        read_catalogue(tmp_path)
    assert len(error.value.problems) == 2

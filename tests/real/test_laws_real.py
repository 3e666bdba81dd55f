"""The laws that come with the package are those that the published files give."""

import json
from importlib.resources import files

import pytest

from demand.calibrate import calibrate
from demand.laws import build_laws


def flatten(value, path=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{path}/{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from flatten(item, f"{path}/{i}")
    else:
        yield path, value


def test_the_committed_laws_are_what_calibration_finds(shared_data):
    kept = json.loads((files("demand") / "laws.json").read_text("utf-8"))
    found = calibrate(shared_data)
    build_laws(found)
    ours, theirs = dict(flatten(kept)), dict(flatten(found))
    assert ours.keys() == theirs.keys()
    for path, value in theirs.items():
        if isinstance(value, float):
            assert ours[path] == pytest.approx(value, rel=1e-3, abs=1e-6), path
        else:
            assert ours[path] == value, path

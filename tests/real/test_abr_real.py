"""The encode mix that comes with the project is what its benchmark measures over the published traces."""

import json
from importlib.resources import files

import numpy as np
import pytest

from benchmarks.abr import SOURCE
from demand.bitrate import default_ladder
from sim.abr import read_sabre_traces
from sim.encode_mix import measure_mix, mix_document


@pytest.fixture(scope="module")
def throughputs(shared_data):
    return read_sabre_traces(shared_data / "abr" / "sabre_mmsys18_traces.tar.gz")


def test_all_traces_are_read(throughputs):
    assert {kind: len(traces) for kind, traces in throughputs.items()} == {
        "3g": 86,
        "4g": 40,
        "fixed-sd": 1000,
        "fixed-hd": 1000,
    }


def test_the_mix_kept_is_the_mix_measured(throughputs):
    mix = measure_mix(throughputs, default_ladder().bitrate_kbps, minutes=30, each=20, rng=np.random.default_rng(1))
    assert mix_document(mix, SOURCE) == json.loads(files("sim").joinpath("encode_mix.json").read_text())

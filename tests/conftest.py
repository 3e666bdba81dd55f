"""Named tiny instances that can be solved by hand, and how random examples are drawn."""

import os

import numpy as np
import pytest
from hypothesis import settings

from cdn.placement.problem import Problem

# The same examples in every run, so that a change is judged by what it changes; HYPOTHESIS_PROFILE=explore draws new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture
def two_sites_four_files() -> Problem:
    """One region, four files of 1 GB asked for 10, 8, 4 and 2 GB a day; a near site with room for two, a far one with room for one.

    ::

        region --1-- near (2 GB)
               --5-- far  (1 GB)
               -10-- origin
    """
    return Problem(
        size_gb=np.ones(4), storage_gb=np.array([2.0, 1.0, np.inf]), throughput_gbps=np.full(3, np.inf),
        is_origin=np.array([False, False, True]), site=np.array([[0, 1, 2]], np.int32), cost_per_gb=np.array([[1.0, 5.0, 10.0]]),
        region=np.zeros(4, np.int32), file=np.arange(4, dtype=np.int32), gb=np.array([10.0, 8.0, 4.0, 2.0]), peak_gbps=np.zeros(4),
        file_start=np.arange(5), fill_cost=np.zeros(3), previous=np.zeros((3, 4), bool),
    )  # fmt: skip

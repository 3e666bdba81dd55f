"""How many sessions are drawn is known before they are."""

import datetime as dt

import numpy as np
import pytest

from cdn.draws import MOST_SESSIONS, expected_sessions, refuse_demand
from demand.demand import build_demand
from sim.draw import draw_sessions
from topology.errors import InputError


def everything(planned, gb):
    region, file = (
        a.ravel() for a in np.meshgrid(np.arange(len(planned.network.regions)), np.arange(len(planned.catalogue.files)))
    )
    return build_demand(region, file, np.full(len(region), gb), np.ones(len(region)))


def test_as_many_are_expected_as_are_drawn(planned):
    """Within five standard deviations of the Poisson law, of files that cut most sessions and of the lengths that draw_sessions has by default."""
    demand = everything(planned, 500.0)
    drawn = len(draw_sessions(demand, planned.network, planned.catalogue, np.random.default_rng(0), date=dt.date(2026, 1, 1)))  # fmt: skip
    expected = expected_sessions(demand, planned.catalogue)
    assert expected > 10_000 and abs(drawn - expected) < 5 * np.sqrt(expected)


def test_as_many_as_memory_holds_and_no_more(planned):
    gb = MOST_SESSIONS / expected_sessions(everything(planned, 1.0), planned.catalogue)
    refuse_demand(everything(planned, 0.999 * gb), planned.catalogue)
    with pytest.raises(InputError, match=r"demand, column gb: asks for 1\.001e\+08 sessions, from .* GB; a simulation takes 100,000,000"):  # fmt: skip
        refuse_demand(everything(planned, 1.001 * gb), planned.catalogue)
    with pytest.raises(InputError, match="asks for inf sessions"):
        refuse_demand(everything(planned, 1e308), planned.catalogue)

"""How many sessions a demand or a scenario asks for, asked before they are drawn: all are in memory at once."""

import numpy as np

from demand.catalogue import Catalogue
from demand.demand import Demand
from sim.draw import mean_session_gb
from topology.errors import InputError, Problem

MOST_SESSIONS = 100_000_000
"""Sessions of a day that may be drawn."""


def refuse_demand(demand: Demand, catalogue: Catalogue) -> None:
    """Refuse a demand of which no memory holds the sessions.

    Raises
    ------
    InputError
        More than :data:`MOST_SESSIONS` are expected.
    """
    with np.errstate(over="ignore"):  # what is beyond all numbers is too much, too
        expected, gb = expected_sessions(demand, catalogue), float(demand.gb.sum())
    mend = "give GB (divide bytes by 1e9), or a smaller demand"
    refuse_too_many(expected, f"{gb:,.4g} GB", table="demand", column="gb", value=f"{demand.gb.max(initial=0.0):g}", mend=mend)  # fmt: skip


def expected_sessions(demand: Demand, catalogue: Catalogue) -> float:
    """How many sessions of a day :func:`sim.draw.draw_sessions` draws on average."""
    return float((demand.gb / mean_session_gb(catalogue)[demand.file]).sum())


def refuse_too_many(
    expected: float, origin: str, *, table: str, column: str, value: str, mend: str, most: int = MOST_SESSIONS
) -> None:
    """Refuse what asks for more sessions than ``most``; the rest is what the complaint says: what they come from, where that stands, and how to mend it.

    Raises
    ------
    InputError
        More are expected.
    """
    if not expected <= most:
        message = f"asks for {expected:,.4g} sessions, from {origin}; a simulation takes {most:,}"
        raise InputError(Problem(table=table, column=column, value=value, message=message, mend=mend))

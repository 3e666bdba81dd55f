"""Rehearsal: sessions of a day against what the sites hold, exact to the byte.

``reference`` is the SimPy model, one event after the other, meant to be read; ``batch`` gives the same numbers fast. They judge any placement and
know no solver.
"""

from sim.balance import BalanceError, check_balance
from sim.batch import simulate
from sim.draw import draw_parts, draw_sessions
from sim.fleet import Fleet, build_fleet
from sim.metrics import SimulationResult
from sim.policies import POLICIES, make_policy
from sim.scheme import Fills, Outage, Scheme
from sim.sessions import PlaybackDay, Sessions, build_sessions, sessions_from_playback

__all__ = [
    "POLICIES",
    "BalanceError",
    "Fills",
    "Fleet",
    "Outage",
    "PlaybackDay",
    "Scheme",
    "Sessions",
    "SimulationResult",
    "build_fleet",
    "build_sessions",
    "check_balance",
    "draw_parts",
    "draw_sessions",
    "make_policy",
    "sessions_from_playback",
    "simulate",
]

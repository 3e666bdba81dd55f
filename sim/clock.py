"""The clock of both engines: what goes first at equal times, and which times there are."""

from collections.abc import Callable

import simpy

RELEASE, FILL_END, SWITCH, OUTAGE, STEER, FILL_START, ARRIVAL = range(7)
"""At one time sessions end, fills end, plans switch, outages begin and end, steering changes, fills begin, sessions start: in this order."""

TIME_SPAN = 2**42
"""All times of a simulation lie within so many ms of 00:00 UTC of its first day: 139 years."""
NEVER = 2**62
"""A time after all others."""
NO_TIME = "not a time of the simulation"
TIMES = "give milliseconds from 00:00 UTC of the first day, at most 139 years off"
"""What to say of other times, and their mend."""


def is_time(ms: int) -> bool:
    """Whether something can happen at a time."""
    return -TIME_SPAN < ms < TIME_SPAN


class Moment(simpy.Event):  # type: ignore[misc]  # simpy is not typed here
    """An event that happens at a given time and, among those of that time, in the order of its priority; as ``simpy.Timeout`` otherwise."""

    def __init__(self, env: simpy.Environment, at: int, priority: int, value: int = 0) -> None:
        self.env = env
        self.callbacks: list[Callable[[Moment], None]] = []
        self._ok = True
        self._value = value
        env.schedule(self, priority, at - env.now)

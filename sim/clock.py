"""The clock of both engines: what goes first at equal times."""

from collections.abc import Callable

import simpy

RELEASE, FILL_END, SWITCH, OUTAGE, STEER, FILL_START, ARRIVAL = range(7)
"""At one time sessions end, fills end, plans switch, outages begin and end, steering changes, fills begin, sessions start: in this order."""


class Moment(simpy.Event):  # type: ignore[misc]  # simpy is not typed here
    """An event that happens at a given time and, among those of that time, in the order of its priority; as ``simpy.Timeout`` otherwise."""

    def __init__(self, env: simpy.Environment, at: int, priority: int, value: int = 0) -> None:
        self.env = env
        self.callbacks: list[Callable[[Moment], None]] = []
        self._ok = True
        self._value = value
        env.schedule(self, priority, at - env.now)

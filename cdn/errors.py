"""What can go wrong in the control plane, apart from bad input (``topology.errors.InputError``).

::

    ValueError
    └── InfeasiblePlanError   no plan keeps every limit; carries the limits that clash
    RuntimeError
    └── GuardrailError        a plan was made but must not be published; carries which guardrail, the value and its limit
"""

from collections.abc import Sequence


class InfeasiblePlanError(ValueError):
    """No plan keeps every limit. ``limits`` names those that clash; ``arcs`` are directions of links among them, as arc, Gbit/s and capacity, for those who know their names."""

    def __init__(self, message: str, limits: list[str], arcs: Sequence[tuple[int, float, float]] = ()) -> None:
        self.message, self.limits, self.arcs = message, list(limits), list(arcs)
        super().__init__(f"{message}: {'; '.join(limits)}" if limits else message)


class GuardrailError(RuntimeError):
    """A guardrail refused to publish a plan; the last good plan stands."""

    def __init__(self, message: str, *, guardrail: str, value: float, limit: float) -> None:
        self.guardrail, self.value, self.limit = guardrail, value, limit
        super().__init__(message)

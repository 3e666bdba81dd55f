"""What can be wrong with an input.

::

    ValueError
    └── InputError        tables that do not keep to the contract; carries every Problem found
"""

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with an input, where it stands, and how to mend it."""

    table: str
    message: str
    mend: str
    row: int | None = None
    """Data row, counted from 1 (the header does not count)."""
    column: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        where = self.table
        if self.row is not None:
            where += f", row {self.row}"
        if self.column is not None:
            where += f", column {self.column}"
        shown = "" if self.value is None else f" (value {self.value!r})"
        return f"{where}: {self.message}{shown}. Mend: {self.mend}"

    def as_dict(self) -> dict[str, object]:
        """The same as plain values, for JSON."""
        return asdict(self)


class InputError(ValueError):
    """An input breaks the contract. ``problems`` holds every breach found, in table order."""

    def __init__(self, problems: list[Problem] | Problem) -> None:
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

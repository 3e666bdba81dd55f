"""Figures as people read them: aligned within a column, with units, a dash where there is nothing."""

import math
from collections.abc import Sequence

NOTHING = "–"
MOST_DECIMALS = 6


def is_number(value: object) -> bool:
    """Whether a value is a finite number (NumPy's scalars too)."""
    try:
        return not isinstance(value, bool | str) and value is not None and math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def decimals_for(values: Sequence[float], digits: int = 4) -> int:
    """Decimals that give the largest of the values ``digits`` significant digits, 0..6."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    if largest == 0:
        return 0
    return min(MOST_DECIMALS, max(0, digits - 1 - math.floor(math.log10(largest))))


def column(values: Sequence[object], digits: int = 4) -> list[str]:
    """Numbers of one table column, all with the same decimals; a dash for what is not a number."""
    found = [float(v) if is_number(v) else math.nan for v in values]  # type: ignore[arg-type]
    places = decimals_for(found, digits)
    return [NOTHING if math.isnan(v) else _signed(f"{v:,.{places}f}") if v else "0" for v in found]


def percents(values: Sequence[object], decimals: int = 1) -> list[str]:
    """Ratios of one table column as per cent, without the sign (the column's head has it)."""
    return [_signed(f"{100 * float(v):,.{decimals}f}") if is_number(v) else NOTHING for v in values]  # type: ignore[arg-type]


def counts(values: Sequence[object]) -> list[str]:
    """Whole numbers of one table column."""
    return [_signed(f"{float(v):,.0f}") if is_number(v) else NOTHING for v in values]  # type: ignore[arg-type]


def number(value: object, digits: int = 3) -> str:
    """One number within a sentence."""
    return column([value], digits)[0]


def percent(value: object, digits: int = 3) -> str:
    """A ratio as per cent within a sentence: ``0.0123`` is ``1.23 %``."""
    return f"{column([100 * float(value)], digits)[0]}\u00a0%" if is_number(value) else NOTHING  # type: ignore[arg-type]


def _signed(text: str) -> str:
    """A true minus sign, and no minus before a zero."""
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "−")

"""Changes of a region's clock, found in the hours of its log: from one day on the same curve of the day lies some hours off."""

import numpy as np

from demand.playback import HOURS

DAYS_BESIDE = (2, 7)
"""Fewest and most days on either side of a change that are compared."""
SHIFT_HOURS = 2
"""Smallest shift that is named; an hour is daylight saving."""
SHIFT_FIT = 0.85
"""Least correlation of the shifted hours with those before; with it a region of a thousand sessions a day is seen, and one of a hundred left alone."""
UNSHIFTED = 0.9
"""Largest correlation of the hours as they are, over that of the shifted ones."""
AGREEMENT = 4.0
"""Least t value of the days' agreement on a shift of :data:`SHIFT_HOURS`, at which a smooth curve is near itself and chance nearer than at larger ones."""
MOST_CHANGES = 5
"""Of one region."""


def one_clock(hourly_gb: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """The hours of all days by the clock of the last one.

    Parameters
    ----------
    hourly_gb
        (D, R, 24), GB.

    Returns
    -------
    The same shape, days before a change turned by its hours, bytes of a day unchanged; and of each change the entry of its first day, the region
    and the hours by which it lies later than before.
    """
    made, changes = hourly_gb, []
    for region in range(hourly_gb.shape[1]):
        for _ in range(MOST_CHANGES):
            change = _clearest_change(made[:, region])
            if change is None:
                break
            day, hours = change
            made = made.copy() if made is hourly_gb else made
            made[:day, region] = np.roll(made[:day, region], hours, axis=1)
            changes.append((day, region, hours))
    return made, changes


def _clearest_change(hourly: np.ndarray) -> tuple[int, int] | None:
    """Day and hours of the change of one region (D, 24) after which the hours fit best what they were before; None without one."""
    fewest, most = DAYS_BESIDE
    total = hourly.sum(axis=1, keepdims=True)
    shape = np.divide(hourly, total, out=np.zeros_like(hourly), where=total > 0)
    summed = np.concatenate([np.zeros((1, HOURS)), np.cumsum(shape, axis=0)])
    day = np.arange(fewest, len(hourly) - fewest + 1)
    if not len(day):
        return None
    sides = summed[day] - summed[np.maximum(day - most, 0)], summed[np.minimum(day + most, len(hourly))] - summed[day]
    before, after = (np.fft.rfft(side - side.mean(axis=1, keepdims=True), axis=1) for side in sides)
    size = np.sqrt(np.prod([side.var(axis=1) for side in sides], axis=0)) * HOURS
    fit = np.fft.irfft(after * np.conj(before), HOURS, axis=1) / np.where(size > 0, size, np.inf)[:, None]
    best = fit.argmax(axis=1)
    hours = (best + HOURS // 2) % HOURS - HOURS // 2
    top = fit.max(axis=1)
    moved = (np.abs(hours) >= SHIFT_HOURS) & (top > SHIFT_FIT) & (fit[:, 0] < UNSHIFTED * top)
    for at in np.flatnonzero(moved & (np.abs(hours) == SHIFT_HOURS)).tolist():
        moved[at] = (
            _agreement(shape[max(day[at] - most, 0) : day[at]], shape[day[at] : day[at] + most], hours[at]) >= AGREEMENT
        )
    if not moved.any():
        return None
    at = int(np.where(moved, top, -np.inf).argmax())
    return int(day[at]), int(hours[at])


def _agreement(before: np.ndarray, after: np.ndarray, hours: int) -> float:
    """T value, over the days (N, 24) of both sides, of how much nearer each is to the other side's mean when turned than as it is."""
    nearer = [
        side @ (np.roll(other.mean(axis=0), turn) - other.mean(axis=0))
        for side, other, turn in ((after, before, hours), (before, after, -hours))
    ]
    gain = np.concatenate(nearer)
    spread = float(gain.std(ddof=1))
    return float(gain.mean()) * np.sqrt(len(gain)) / spread if spread > 0 else np.inf

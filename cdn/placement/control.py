"""The prices of the decomposition and how they follow the use of every limit.

Files are solved in small batches, each at the prices of the moment. A price is the sum of two parts: one that remembers (integral control: it ends at
the Lagrange multiplier) and one in proportion to the present excess, which damps the swings that equal alternatives cause. Storage and fill prices
move by factors, the others by steps. Compare the exponential potential function of Applegate et al. (IPCO 2013), whose price is all proportional part.
"""

from dataclasses import dataclass

import numpy as np

LEAST = 1e-12
"""Storage and fill prices never fall below this part of their scale, so that factors can lift them again."""

GROWTH, CUT, LEAST_BOOST, MOST_BOOST = 1.5, 0.5, 0.25, 4.0
"""Where every price has a pace of its own: it grows by the first factor after two epochs of excess of one sign, falls by the second after a change of sign,
within the last two. (Compare Rprop, Riedmiller and Braun 1993.)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """How strongly prices answer to a relative excess of 1, on a scale that ``start`` to ``end`` lowers over the epochs of a stage.

    ``storage`` and ``rate`` act at once, ``storage_memory`` and ``rate_memory`` are what an epoch adds to the lasting part; with ``own_pace`` times what
    each price has earned so far.
    """

    storage: float
    rate: float
    storage_memory: float
    rate_memory: float
    start: float
    end: float
    own_pace: bool = False

    def at(self, epoch: int, epochs: int) -> float:
        """The scale in one epoch of a stage."""
        return float(self.start * (self.end / self.start) ** (epoch / max(epochs - 1, 1)))


@dataclass(slots=True, kw_only=True, eq=False)
class PriceVector:
    """Prices per unit: (S,) of a stored GB, (S,) of a filled GB, (M,) of a Gbit/s of every rate limit."""

    storage: np.ndarray
    fill: np.ndarray
    rate: np.ndarray

    def copy(self) -> "PriceVector":
        """A copy of its own."""
        return PriceVector(storage=self.storage.copy(), fill=self.fill.copy(), rate=self.rate.copy())

    def blend(self, other: "PriceVector", weight: float) -> "PriceVector":
        """A mix with another that counts by a weight of 0 to 1."""
        return PriceVector(
            storage=(1 - weight) * self.storage + weight * other.storage,
            fill=(1 - weight) * self.fill + weight * other.fill,
            rate=(1 - weight) * self.rate + weight * other.rate,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limits:
    """What may be used of everything that has a price; infinite where there is no limit. ``*_scale``: a price of ordinary size."""

    storage: np.ndarray
    fill: np.ndarray
    rate: np.ndarray
    storage_scale: float
    rate_scale: float

    def worth(self, prices: PriceVector) -> float:
        """Prices times limits: what the bound pays for relaxing them."""
        return sum(
            float(np.sum(price[np.isfinite(limit)] * limit[np.isfinite(limit)]))
            for price, limit in ((prices.storage, self.storage), (prices.fill, self.fill), (prices.rate, self.rate))
        )


class Controller:
    """Lasting prices, moved by excess."""

    def __init__(self, limits: Limits, start: PriceVector) -> None:
        self.limits = limits
        self.lasting = start.copy()
        self.boost = _like(start, 1.0)
        self.seen, self.seen_before = _like(start, 0.0), _like(start, 0.0)

    def begin(self, gains: Gains) -> None:
        """Before an epoch: set every price's pace by the excess of the last two."""
        for name in ("storage", "fill", "rate"):
            now, before, boost = (getattr(part, name) for part in (self.seen, self.seen_before, self.boost))
            pace = boost * np.where(now * before > 0, GROWTH, np.where(now * before < 0, CUT, 1.0))
            boost[:] = np.clip(pace, LEAST_BOOST, MOST_BOOST) if gains.own_pace else 1.0
        self.seen, self.seen_before = _like(self.lasting, 0.0), self.seen

    def prices(self, use: PriceVector, gains: Gains, scale: float) -> PriceVector:
        """What the next batch pays, given what is used now (in the units of the limits)."""
        lasting, over = self.lasting, self._excess(use)
        step = gains.rate * scale * self.limits.rate_scale
        return PriceVector(
            storage=_move(lasting.storage, over.storage, gains.storage * scale),
            fill=_move(lasting.fill, over.fill, gains.storage * scale),
            rate=np.maximum(lasting.rate + step * over.rate, 0.0),
        )

    def learn(self, use: PriceVector, gains: Gains, scale: float) -> None:
        """Move the lasting prices by one batch's part of an epoch (``scale`` counts that in)."""
        lasting, boost, over = self.lasting, self.boost, self._excess(use)
        least = LEAST * self.limits.storage_scale
        factor = gains.storage_memory * scale
        lasting.storage = _move(lasting.storage, over.storage * boost.storage, factor, least)
        lasting.fill = _move(lasting.fill, over.fill * boost.fill, factor, least)
        step = gains.rate_memory * scale * self.limits.rate_scale
        lasting.rate = np.maximum(lasting.rate + step * over.rate * boost.rate, 0.0)
        seen = self.seen
        self.seen = PriceVector(
            storage=seen.storage + over.storage, fill=seen.fill + over.fill, rate=seen.rate + over.rate
        )

    def _excess(self, use: PriceVector) -> PriceVector:
        limits = self.limits
        return PriceVector(
            storage=excess(use.storage, limits.storage),
            fill=excess(use.fill, limits.fill),
            rate=excess(use.rate, limits.rate),
        )


def _like(prices: PriceVector, value: float) -> PriceVector:
    return PriceVector(
        storage=np.full(len(prices.storage), value),
        fill=np.full(len(prices.fill), value),
        rate=np.full(len(prices.rate), value),
    )


def excess(use: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Relative excess over each limit, between -1 and 1; -1 where nothing limits, 0 where nothing is allowed and nothing used."""
    with np.errstate(over="ignore"):  # a limit may be next to nothing
        ratio = np.divide(use, limit, out=np.where(use > 0, 2.0, 1.0), where=limit > 0)
    return np.asarray(np.clip(np.where(np.isfinite(limit), ratio, 0.0) - 1.0, -1.0, 1.0))


def _move(price: np.ndarray, over: np.ndarray, gain: float, least: float = 0.0) -> np.ndarray:
    return np.asarray(np.where(price > 0, np.maximum(price * np.exp(gain * over), least), 0.0))

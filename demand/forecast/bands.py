"""The band that holds 80 % of outcomes: split conformal prediction on a forecaster's own latest errors.

Papadopoulos et al. 2002, with the ratio of what came to what was forecast as the score, taken apart by the volume of a forecast (small series
scatter more), by whether the title is young, and by how far ahead the day lies. Nothing is assumed of the shape of the errors, but that the
coming ones are like the latest ones.

A series that is silent on more than a tenth of the days has no 10 % quantile above nothing, and a band from 0 would hold too much. Its lower end
is therefore drawn, as in a smoothed conformal predictor (Vovk, Gammerman and Shafer 2005): just above 0 for as many of the series as
leaves 80 % of the outcomes inside, 0 for the others.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

LOW, HIGH = 0.1, 0.9
"""The quantiles of the band."""
CLASSES = 12
"""Classes of equally many series, by forecast volume, that have errors of their own."""
LEAST = 50
"""Fewest errors a class of young titles may have of its own; with fewer it takes those of all titles."""
JUST_ABOVE = 1e-3
"""Over the forecast, the lower end that says "more than nothing"."""
BAND_ORIGINS = 5
"""Latest days that are forecast again to see how far off a method is."""
YOUNG_DAYS = 3
"""Days since launch during which a title has bands of its own."""
FAR_LEAD = 7
"""Days ahead at which the second set of errors is taken; between it and the next day quantiles are interpolated."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Errors:
    """Outcomes of one set of forecasts, (N,) each: days ahead, GB forecast (> 0), GB that came, whether the title was young."""

    lead: int
    forecast: np.ndarray
    came: np.ndarray
    young: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bands:
    """Quantiles of outcome over forecast, and the chance that a lower end of 0 is lifted.

    Parameters
    ----------
    leads
        (L,) days ahead at which errors were taken.
    edges
        (C - 1,) GB, the edges of the volume classes.
    low, high, lifted
        (L, 2, C); the middle axis tells old titles from young.
    """

    leads: np.ndarray
    edges: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lifted: np.ndarray

    def around(
        self, gb: np.ndarray, young: np.ndarray, lead: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N,) 10 % and 90 % quantiles of entries forecast ``lead`` days ahead; the forecast lies between them."""
        group, size = young.astype(np.int64), np.searchsorted(self.edges, gb, side="right")
        part = float(np.clip(np.interp(lead, self.leads, np.arange(len(self.leads))), 0, len(self.leads) - 1))
        before = int(part)
        after = min(before + 1, len(self.leads) - 1)

        def at(table: np.ndarray) -> np.ndarray:
            mixed = table[before] + (part - before) * (table[after] - table[before])
            return np.asarray(mixed[group, size])

        lifted = rng.random(len(gb)) < at(self.lifted)
        return gb * np.maximum(at(self.low), np.where(lifted, JUST_ABOVE, 0.0)), gb * at(self.high)


def band_origins(days: int, horizon: int) -> dict[int, int]:
    """Origins (days of history before them) from which a method forecasts anew, and how far ahead from each: one day, and a week if need be."""
    origins = dict.fromkeys(range(max(1, days - BAND_ORIGINS), days), 1)
    if horizon > 1:
        last = days - FAR_LEAD + 1
        origins |= dict.fromkeys(range(max(1, last - BAND_ORIGINS), last), FAR_LEAD)
    return origins


def learn_bands(errors: Iterable[Errors]) -> Bands | None:
    """The bands that would have held; None where there is no error to learn from."""
    sets = [e for e in errors if len(e.forecast)]
    if not sets:
        return None
    leads = np.array(sorted({e.lead for e in sets}))
    volumes = np.concatenate([e.forecast for e in sets])
    edges = np.unique(np.quantile(volumes, np.arange(1, CLASSES) / CLASSES))
    low, high, lifted = np.zeros((3, len(leads), 2, len(edges) + 1))
    for i, lead in enumerate(leads):
        own = [e for e in sets if e.lead == lead]
        forecast, young = np.concatenate([e.forecast for e in own]), np.concatenate([e.young for e in own])
        ratio = np.concatenate([e.came for e in own]) / forecast
        size = np.searchsorted(edges, forecast, side="right")
        for c in range(len(edges) + 1):
            here = size == c
            for group, members in enumerate((here & ~young, here & young)):
                chosen = ratio[members] if members.sum() >= LEAST else ratio[here] if here.any() else ratio
                bottom, top = np.quantile(chosen, [LOW, HIGH])
                low[i, group, c], high[i, group, c] = min(bottom, 1.0), max(top, 1.0)
                if bottom <= 0:
                    outside = 1 - (HIGH - LOW) - (chosen > high[i, group, c]).mean()
                    lifted[i, group, c] = min(1.0, outside / (chosen <= 0).mean())
    return Bands(leads=leads, edges=edges, low=low, high=high, lifted=lifted)


def bands_as_arrays(bands: Bands | None) -> dict[str, np.ndarray]:
    """The bands as arrays to save; nothing for no bands."""
    return {} if bands is None else {name: getattr(bands, name) for name in _PARTS}


def bands_from_arrays(arrays: Mapping[str, np.ndarray]) -> Bands | None:
    """The inverse of :func:`bands_as_arrays`."""
    return Bands(**{name: arrays[name] for name in _PARTS}) if "edges" in arrays else None


_PARTS = ("leads", "edges", "low", "high", "lifted")

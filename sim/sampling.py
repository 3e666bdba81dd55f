"""Key sampling: simulate a share of the titles on a fleet scaled to it, and say how far off that may be.

References
----------
C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad, "Efficient MRC construction with SHARDS", FAST 2015 (sampling by key, caches scaled down).
W. Cochran, "Sampling Techniques", 1977, chapter 6 (the error of a ratio).
F. Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics Bulletin 1946 (degrees of freedom).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from sim.fleet import Fleet
from sim.log import HIT, SessionLog
from sim.metrics import SimulationResult
from sim.scheme import Fills
from sim.sessions import Sessions
from topology.errors import InputError, Problem

UPPER = 0.975
"""Quantile of the upper ends: intervals are of 95 %."""
FEWEST = 40
"""Titles of the smallest sample: a fleet scaled to fewer has room for so few files and sessions that little follows for the whole."""


def sample_titles(titles: int, share: float, rng: np.random.Generator, weight: np.ndarray | None = None) -> np.ndarray:
    """(titles,) bool: a share of the titles: one by chance of every so many neighbours, from the most asked for to the least.

    So every sample has its share of the few titles that make most of the demand.

    Parameters
    ----------
    weight
        (titles,) float, >= 0: what is expected to be asked of each; without, neighbours are those of the table.

    Raises
    ------
    InputError
        If the share is not above 0 and at most 1, or comes to fewer than :data:`FEWEST` titles.
    """
    message, mend, fewest = "", "give a number above 0, at most 1", min(FEWEST, titles)
    if not 0 < share <= 1:
        message = "no share"
    elif round(share * titles) < fewest:
        message = f"{round(share * titles)} of {titles} titles are too few to tell how far off they may be"
        mend = f"give at least {math.ceil(1000 * fewest / titles) / 1000:g}, which is {fewest} titles"
    if message:
        raise InputError(
            Problem(table="arguments", column="--title-share", value=str(share), message=message, mend=mend)
        )
    kept = np.zeros(titles, bool)
    edges = np.linspace(0, titles, round(share * titles) + 1).astype(np.int64)
    kept[_by_weight(titles, weight)[rng.integers(edges[:-1], edges[1:])]] = True
    return kept


def halves(kept: np.ndarray, weight: np.ndarray | None = None) -> list[np.ndarray]:
    """Two samples, (titles,) bool each, of every second title of a sample, from the most asked for to the least."""
    order = _by_weight(len(kept), weight)
    order = order[kept[order]]
    parts = [np.zeros(len(kept), bool) for _ in range(2)]
    for which, part in enumerate(parts):
        part[order[which::2]] = True
    return parts


def _by_weight(titles: int, weight: np.ndarray | None) -> np.ndarray:
    return np.arange(titles) if weight is None else np.argsort(-weight, kind="stable")


def sampled(fleet: Fleet, sessions: Sessions, title_of: np.ndarray, kept: np.ndarray) -> tuple[Fleet, Sessions]:
    """The sessions of the titles kept, and the fleet scaled to them.

    Storage shrinks to the share of the titles, so that reactive caches hold the same share of what is asked for; throughput to the share of the bytes, so
    that sites are as full as they were. A placement stays as it is: its copies of other titles are never asked for.

    Parameters
    ----------
    title_of
        (F,) int: the title of each file.
    kept
        As :func:`sample_titles` gives it.
    """
    mine = kept[title_of[sessions.file]]
    storage_share = float(kept.mean())
    byte_share = float(sessions.bytes[mine].sum() / max(int(sessions.bytes.sum()), 1))

    def scaled(values: np.ndarray, share: float) -> np.ndarray:
        return np.rint(values * share).astype(np.int64)

    return (
        dataclasses.replace(
            fleet,
            appliance_storage_bytes=scaled(fleet.appliance_storage_bytes, storage_share),
            site_storage_bytes=scaled(fleet.site_storage_bytes, storage_share),
            appliance_throughput_bps=scaled(fleet.appliance_throughput_bps, byte_share),
            site_throughput_bps=scaled(fleet.site_throughput_bps, byte_share),
        ),
        sessions[mine],
    )


def estimate(
    fleet: Fleet, sessions: Sessions, title_of: np.ndarray, kept: np.ndarray,
    run: Callable[[Fleet, Sessions, np.ndarray], SimulationResult], *, weight: np.ndarray | None = None, caches: bool = False,
) -> tuple[SimulationResult, pd.DataFrame]:  # fmt: skip
    """Simulate a sample, and say what it tells of the whole.

    Parameters
    ----------
    run
        Simulates the fleet and sessions of some titles, (titles,) bool, as :func:`sampled` makes them, and keeps the log.
    weight
        As :func:`sample_titles` had it.
    caches
        Whether the scheme has caches: then, and where sessions met full appliances, the halves of the sample are simulated too (:func:`without_bias`).

    Returns
    -------
    What the sample came to, and its ratios as :func:`sampled_ratios` gives them.
    """

    def tried(which: np.ndarray) -> tuple[SimulationResult, pd.DataFrame]:
        less, part = sampled(fleet, sessions, title_of, which)
        result = run(less, part, which)
        assert result.log is not None
        return result, sampled_ratios(less, part, result.log, title_of, which)

    result, ratios = tried(kept)
    if not kept.all() and (caches or result.figures["misses"]["health"]):
        ratios = without_bias(ratios, [tried(half)[1] for half in halves(kept, weight)])
    return result, ratios


def slowed(fills: Fills, part: Sessions, whole: Sessions) -> Fills:
    """The night's fills as a fleet scaled to a part of the sessions makes them: all of them, at the part's share of their bytes.

    So they take the same share of every appliance's throughput; a tenth of them at their full rate would take all of a few appliances.
    """
    share = int(part.bytes.sum()) / max(int(whole.bytes.sum()), 1)
    return dataclasses.replace(fills, bytes=np.maximum(np.rint(fills.bytes * share), 1).astype(np.int64))


def sampled_ratios(
    fleet: Fleet, sessions: Sessions, log: SessionLog, title_of: np.ndarray, kept: np.ndarray
) -> pd.DataFrame:
    """Ratios of a sampled simulation, and their error.

    The titles are the sample, so a ratio r of two sums over titles has the standard error ``sqrt((1 - f) / n) * sd((y - r x) / (1 - h)) / mean(x)`` with n
    titles kept, the share f of all: it is 0 when all are kept. A title's share h of x pulls r towards itself, which 1 - h undoes (the jackknife's error);
    the interval is Student's, as few titles that weigh much leave few degrees of freedom. One title more is taken to have come out the other way, for what
    few titles agree on is not certain: of n titles that all hit, up to 3 / n of the others may not. (As if titles were drawn without looking at what they
    weigh: drawn as they are, the error is less.)
    What a smaller fleet does comes on top: :func:`without_bias`.

    Parameters
    ----------
    sessions, log
        Those of the sample, with the log that the engine was asked to keep.

    Returns
    -------
    metric (request_hit_ratio, byte_hit_ratio, edge_offload), value, standard_error, degrees_of_freedom, ci_low, ci_high (95 %, within 0..1).
    """
    title, titles = title_of[sessions.file], len(kept)
    delivering = fleet.candidate[fleet.rows(sessions.region, sessions.start_ms), log.candidate]
    from_edge = ~fleet.is_origin[np.where(log.source >= 0, log.source, delivering)]
    hit, size = log.outcome == HIT, sessions.bytes
    everything = np.ones(len(sessions))
    rows = []
    for metric, part, whole in (
        ("request_hit_ratio", hit, everything),
        ("byte_hit_ratio", hit * size, size),
        ("edge_offload", from_edge * size, size),
    ):
        y, x = (np.bincount(title, values, titles)[kept] for values in (part, whole))
        value = float(y.sum() / x.sum()) if x.sum() else 0.0
        share = x / x.sum() if x.sum() else np.zeros(len(x))
        unlike = x.mean() * max(value, 1 - value)
        residual = np.append((y - value * x) / np.maximum(1 - share, 1 / len(x)), unlike)
        spread = float(np.std(residual, ddof=1))
        error = np.sqrt((1 - kept.mean()) / len(x)) * spread / x.mean() if x.sum() else 0.0
        rows.append((metric, value, error, degrees_of_freedom(residual)))
    return _with_ends(pd.DataFrame(rows, columns=["metric", "value", "standard_error", "degrees_of_freedom"]))


def degrees_of_freedom(residual: np.ndarray) -> float:
    """Degrees of freedom of a variance estimated from residuals, (n,): Satterthwaite's, ``2 / (relative variance of the estimate)``.

    That relative variance is ``(kurtosis - 1) / n``: a few titles that weigh much leave few degrees, n equal ones about n.
    """
    square = (residual - residual.mean()) ** 2
    fourth = float((square**2).sum())
    kurtosis = len(square) * fourth / float(square.sum()) ** 2 if fourth > 0 else 3.0
    return min(2 * len(square) / max(kurtosis - 1, 1.0), len(square) - 1.0) if len(square) > 1 else 1.0


def _with_ends(ratios: pd.DataFrame) -> pd.DataFrame:
    """Ratios with their interval: Student's t, by the degrees of freedom of each error."""
    value, error = ratios["value"].to_numpy(), ratios["standard_error"].to_numpy()
    reach = stdtrit(ratios["degrees_of_freedom"].to_numpy(), UPPER) * error
    return ratios.assign(ci_low=np.maximum(value - reach, 0), ci_high=np.minimum(value + reach, 1))


def without_bias(ratios: pd.DataFrame, of_halves: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Ratios, less what the smaller fleet does to them.

    A small cache of whole files serves worse than a large one, and an appliance with room for few sessions refuses more of them than one with room for many that
    is as full. What halving the sample, and with it the fleet, took from a ratio is about what sampling took from it before; it is given back, and as it is
    itself uncertain it counts as an error, beside the sample's.

    Parameters
    ----------
    ratios
        Of the sample, as :func:`sampled_ratios` gives them.
    of_halves
        Of its :func:`halves`, each simulated by itself.

    Returns
    -------
    As :func:`sampled_ratios`.

    References
    ----------
    M. Quenouille, "Notes on bias in estimation", Biometrika 1956 (an error in proportion to 1/n shows in samples of half the size).
    """
    value = ratios["value"].to_numpy()
    lost = value - np.mean([half["value"].to_numpy() for half in of_halves], axis=0)
    better = np.clip(value + lost, 0, 1)
    sample, freedom = ratios["standard_error"].to_numpy(), ratios["degrees_of_freedom"].to_numpy()
    return _with_ends(ratios.assign(value=better, standard_error=np.hypot(sample, lost), degrees_of_freedom=freedom))

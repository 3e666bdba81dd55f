"""Key sampling: simulate a share of the titles on a fleet scaled to it, and say how far off that may be.

References
----------
C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad, "Efficient MRC construction with SHARDS", FAST 2015 (sampling by key, caches scaled down).
W. Cochran, "Sampling Techniques", 1977, chapter 6 (the error of a ratio).
R. Valliant, A. Dorfman, R. Royall, "Finite Population Sampling and Inference", 2000 (what is known of those not drawn foretells them; its error).
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
NEIGHBOURS = 4
"""What became of a title that was not drawn is foretold by so many drawn ones on either side of it, by demand."""


def sample_titles(titles: int, share: float, rng: np.random.Generator, weight: np.ndarray | None = None) -> np.ndarray:
    """(titles,) bool: a share of the titles: one by chance of every so many neighbours, from the most asked for to the least.

    So every sample has its share of the few titles that make most of the demand. Of more than half the titles, one by chance of every so many is left out.

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
    many = round(share * titles)
    edges = np.linspace(0, titles, min(many, titles - many) + 1).astype(np.int64)
    drawn = np.zeros(titles, bool)
    drawn[_by_weight(titles, weight)[rng.integers(edges[:-1], edges[1:])]] = True
    return drawn if many <= titles - many else ~drawn


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
        return result, sampled_ratios(less, part, result.log, title_of, which, sessions, weight)

    result, ratios = tried(kept)
    if not kept.all() and (caches or result.figures["misses"]["health"]):
        of_halves = [tried(half)[1] for half in halves(kept, weight)]
        ratios = without_bias(ratios, of_halves, float(kept.mean()))
    return result, ratios


def slowed(fills: Fills, part: Sessions, whole: Sessions) -> Fills:
    """The night's fills as a fleet scaled to a part of the sessions makes them: all of them, at the part's share of their bytes.

    So they take the same share of every appliance's throughput; a tenth of them at their full rate would take all of a few appliances.
    """
    share = int(part.bytes.sum()) / max(int(whole.bytes.sum()), 1)
    return dataclasses.replace(fills, bytes=np.maximum(np.rint(fills.bytes * share), 1).astype(np.int64))


def sampled_ratios(
    fleet: Fleet, sessions: Sessions, log: SessionLog, title_of: np.ndarray, kept: np.ndarray, whole: Sessions, weight: np.ndarray | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Ratios of all titles as a sampled simulation foretells them, and their error.

    What is asked of every title, x, is known without simulating; what comes of it, y, only of the titles kept. Those left out are taken to do as
    their neighbours by demand that were kept (:data:`NEIGHBOURS`): of what is asked of them the same part. So which titles were drawn matters only as far
    as neighbours differ, and nothing is uncertain where all are kept. :func:`_foretold` has the error; the interval is Student's, as few titles that weigh
    much leave few degrees of freedom. One title more is taken to have come out the other way, for what few titles agree on is not certain: of n titles
    that all hit, some of the others may not. What a smaller fleet does comes on top: :func:`without_bias`.

    Parameters
    ----------
    sessions, log
        Those of the sample, with the log that the engine was asked to keep.
    kept
        (titles,) bool: those of the sample.
    whole
        The sessions of all titles.
    weight
        As :func:`sample_titles` had it.

    Returns
    -------
    metric (request_hit_ratio, byte_hit_ratio, edge_offload), value, standard_error, degrees_of_freedom, ci_low, ci_high (95 %, within 0..1).
    """
    delivering = fleet.candidate[fleet.rows(sessions.region, sessions.start_ms), log.candidate]
    from_edge = ~fleet.is_origin[np.where(log.source >= 0, log.source, delivering)]
    hit, titles = log.outcome == HIT, len(kept)
    order = _by_weight(titles, weight)

    def of_titles(some: Sessions, values: np.ndarray) -> np.ndarray:
        return np.asarray(np.bincount(title_of[some.file], values, titles)[order])

    asked, gb = of_titles(whole, np.ones(len(whole))), of_titles(whole, whole.bytes)
    rows = []
    for metric, part, x in (
        ("request_hit_ratio", hit, asked),
        ("byte_hit_ratio", hit * sessions.bytes, gb),
        ("edge_offload", from_edge * sessions.bytes, gb),
    ):
        value, variance = _foretold(x, of_titles(sessions, part), kept[order])
        rows.append((metric, value, math.sqrt(variance.sum()), degrees_of_freedom(variance)))
    return _with_ends(pd.DataFrame(rows, columns=["metric", "value", "standard_error", "degrees_of_freedom"]))


def _foretold(x: np.ndarray, y: np.ndarray, kept: np.ndarray) -> tuple[float, np.ndarray]:
    """The ratio of the sums of y and x over all titles, and the parts of its variance.

    A title's y is a part of its x that differs from its neighbours' by chance, with the variance ``s^2``: that of the kept titles around it, each held
    against the others. It is in the error once for every title left out, times its own x, and once for every title kept, times what was foretold by it.

    Parameters
    ----------
    x, y, kept
        (titles,) each, from the most asked for to the least; y is not looked at where kept is false.

    Returns
    -------
    The ratio, 0 of nothing; (kept + 1,) float: a part of its variance each.
    """
    mine, all_of_it = x[kept], float(x.sum())
    if not mine.any():
        return 0.0, np.zeros(len(mine) + 1)
    got, at = y[kept], np.flatnonzero(kept)
    nearest = np.searchsorted((at[1:] + at[:-1]) / 2, np.flatnonzero(~kept))
    left, left_squared = (np.bincount(nearest, values[~kept], len(at)) for values in (x, x**2))
    around, got_around = _around(mine), _around(got)
    overall = float(got.sum() / mine.sum())
    ratio = _part(got_around, around, overall)
    value = float(got.sum() + left @ ratio) / all_of_it
    strange = got - mine * _part(got_around - got, around - mine, overall)
    variance = _part(_around(strange**2), _around(mine**2), 0.0)
    foretold_by_it = mine * _around(_part(left, around, 0.0))
    unlike = (1 - len(at) / len(x)) * (max(value, 1 - value) / len(at)) ** 2
    return value, np.append(variance * (left_squared + foretold_by_it**2) / all_of_it**2, unlike)


def _around(values: np.ndarray) -> np.ndarray:
    """(n,) float: the sum of each value and its :data:`NEIGHBOURS` on either side."""
    return np.asarray(np.convolve(values, np.ones(2 * NEIGHBOURS + 1))[NEIGHBOURS : NEIGHBOURS + len(values)])


def _part(part: np.ndarray, of: np.ndarray, otherwise: float) -> np.ndarray:
    """(n,) float: part / of, what is said where that is nothing of nothing."""
    found = np.full(len(of), otherwise)
    np.divide(part, of, out=found, where=of > 0)
    return found


def degrees_of_freedom(variance: np.ndarray) -> float:
    """Degrees of freedom of a sum of variances, (n,): Satterthwaite's, had each one degree; at most n - 1, at least two.

    A few titles that weigh much leave few. With two, n titles that agree leave room for others on 3 in n, as the rule of three has it.
    """
    squares = float((variance**2).sum())
    found = float(variance.sum()) ** 2 / squares if squares > 0 else math.inf
    return max(2.0, min(found, len(variance) - 1.0))


def _with_ends(ratios: pd.DataFrame, bias: np.ndarray | float = 0.0) -> pd.DataFrame:
    """Ratios with their interval: Student's t, by the degrees of freedom of each error, and twice what a bias may be."""
    value, error = ratios["value"].to_numpy(), ratios["standard_error"].to_numpy()
    reach = stdtrit(ratios["degrees_of_freedom"].to_numpy(), UPPER) * error + 2 * bias
    return ratios.assign(
        standard_error=error + bias, ci_low=np.maximum(value - reach, 0), ci_high=np.minimum(value + reach, 1)
    )


def without_bias(ratios: pd.DataFrame, of_halves: Sequence[pd.DataFrame], share: float) -> pd.DataFrame:
    """Ratios, less what the smaller fleet does to them.

    A small cache of whole files serves worse than a large one, and an appliance with room for few sessions refuses more of them than one with room for many that
    is as full. If that goes with one over the number of titles, and halving a sample of the share f takes c, then sampling took (1 - f) c before: this
    is given back. Room for a few files or sessions goes by leaps, so it may as well be nothing, or more than twice as much: c itself counts as an error,
    and of more than half the titles the part 2 (1 - f) of it. It comes on top of the sample's, for samples that come out high lose most by halving.

    Parameters
    ----------
    ratios
        Of the sample, as :func:`sampled_ratios` gives them.
    of_halves
        Of its :func:`halves`, each simulated by itself.
    share
        Of the titles, those in the sample.

    Returns
    -------
    As :func:`sampled_ratios`.

    References
    ----------
    M. Quenouille, "Notes on bias in estimation", Biometrika 1956 (an error in proportion to 1/n shows in samples of half the size).
    """
    value = ratios["value"].to_numpy()
    lost = value - np.mean([half["value"].to_numpy() for half in of_halves], axis=0)
    better = ratios.assign(value=np.clip(value + (1 - share) * lost, 0, 1))
    return _with_ends(better, min(1.0, 2 * (1 - share)) * np.abs(lost))

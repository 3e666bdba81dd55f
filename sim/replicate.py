"""Replications: the same comparison on several draws, every scheme of it on the same sessions, with 95 % intervals."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from topology.errors import InputError, Problem

CONFIDENCE = 0.95
Figures = Mapping[str, Mapping[str, Any]]
"""Scheme -> what :meth:`sim.metrics.SimulationResult.totals` gives."""


def replicate(
    run: Callable[[np.random.Generator], Figures], replications: int, *, seed: int = 0, workers: int = 2
) -> pd.DataFrame:
    """Repeat a comparison on independent draws.

    Parameters
    ----------
    run
        Draws sessions with the generator it is given and simulates every scheme on them (common random numbers). It may run in several threads at once:
        the kernels let each other go on, so two take two cores.
    replications
        >= 2: one alone has no interval.
    seed
        Replication i draws from the i-th child of this seed, whatever the number of workers.

    Returns
    -------
    One row a replication, scheme and numeric figure: replication (from 0), scheme, metric, value. Figures within figures are named ``misses.content``
    and so on.

    Raises
    ------
    InputError
        Fewer than two replications.
    """
    if replications < 2:
        mend = "ask for at least 2"
        raise InputError(
            [
                Problem(
                    table="arguments", column="replications", value=str(replications), message="no interval", mend=mend
                )
            ]
        )
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(replications)]
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(run, generators))
    rows = [
        (i, scheme, metric, value)
        for i, one in enumerate(found)
        for scheme, figures in one.items()
        for metric, value in flat_figures(figures).items()
    ]
    return pd.DataFrame(rows, columns=["replication", "scheme", "metric", "value"])


def intervals(figures: pd.DataFrame) -> pd.DataFrame:
    """Means and 95 % intervals over what :func:`replicate` gave, or a like table of replications that share their random numbers.

    Returns
    -------
    One row a scheme and figure: scheme, metric, value (the mean), ci_low, ci_high; and against the first scheme, pairwise: delta, delta_low, delta_high.
    """
    values = figures.pivot(index="replication", columns=["scheme", "metric"], values="value")
    base = figures["scheme"].iloc[0]
    rows = []
    for scheme, metric in figures[["scheme", "metric"]].drop_duplicates().itertuples(index=False):
        own, against = (values[name, metric].to_numpy(float) for name in (scheme, base))
        rows.append((scheme, metric, *interval(own), *interval(own - against)))
    columns = ["scheme", "metric", "value", "ci_low", "ci_high", "delta", "delta_low", "delta_high"]
    return pd.DataFrame(rows, columns=columns)


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of independent values, (N, …), and the ends of its 95 % interval, by Student's t; the ends are NaN of one value, which says nothing of spread.

    Examples
    --------
    >>> [round(float(x), 3) for x in interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.484, 4.484]
    """
    count, mean = len(values), np.mean(values, axis=0)
    if count < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = stdtrit(count - 1, (1 + CONFIDENCE) / 2) * np.std(values, axis=0, ddof=1) / np.sqrt(count)
    return mean, mean - half, mean + half


def flat_figures(totals: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a simulation's totals by name; figures within figures are named ``misses.content`` and so on."""
    flat: dict[str, float] = {}
    for name, value in totals.items():
        if isinstance(value, Mapping):
            flat |= flat_figures(value, f"{prefix}{name}.")
        elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
            flat[prefix + name] = float(value)
    return flat

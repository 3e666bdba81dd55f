"""Scenario against base: differences of every figure, with intervals over replications."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from sim.replicate import flat_figures, interval


def compare(base: Sequence[Mapping[str, object]], scenario: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """How a scenario differs from the base.

    Parameters
    ----------
    base, scenario
        The totals of a simulation, one mapping a replication; replication i of both ran on the same random numbers. Mappings within
        (misses by class) become ``misses.content`` and so on. Figures that are not numbers, or not in every mapping, are left out.

    Returns
    -------
    One row a metric: metric, base, value (means over the replications), delta (of the pairs), ci_low, ci_high (95 % limits of the
    delta, None with a single replication).
    """
    if len(base) != len(scenario) or not base:
        raise ValueError(
            f"{len(base)} replications of the base and {len(scenario)} of the scenario: they must pair, at least one"
        )
    ours, theirs = [flat_figures(t) for t in base], [flat_figures(t) for t in scenario]
    metrics = [m for m in ours[0] if all(m in t for t in (*ours, *theirs))]
    before = np.array([[t[m] for m in metrics] for t in ours])
    after = np.array([[t[m] for m in metrics] for t in theirs])
    delta, low, high = interval(after - before)
    return pd.DataFrame(
        {
            "metric": metrics,
            "base": before.mean(axis=0),
            "value": after.mean(axis=0),
            "delta": delta,
            "ci_low": _or_none(low),
            "ci_high": _or_none(high),
        }
    )


def _or_none(values: np.ndarray) -> np.ndarray:
    return np.array([None if np.isnan(v) else float(v) for v in values], dtype=object)

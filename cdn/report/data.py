"""What the report is made from: plain frames and figures, so that it knows neither solvers nor the simulator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

POLICY_COLUMNS = ("policy", "hour", "sessions", "hits", "gb", "hit_gb", "origin_gb")
LINK_COLUMNS = (
    "link",
    "towards",
    "gb",
    "peak_gbps",
    "p95_gbps",
    "capacity_gbps",
    "lat",
    "lon",
    "towards_lat",
    "towards_lon",
)
LOAD_COLUMNS = ("link", "towards", "minute", "gbps", "capacity_gbps")
SITE_COLUMNS = ("site", "kind", "lat", "lon", "storage_gb", "used_gb", "throughput_gbps", "peak_gbps")
BACKTEST_COLUMNS = ("model", "wape", "bias", "coverage")

FORESIGHT = ("oracle", "plan-filled")
"""Policies that no operator could run: they know the day, or start it with every file in place."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportData:
    """Everything a report shows. Any part may be empty: the page then says so in a sentence.

    Parameters
    ----------
    network, date
        What was planned, and for which day (ISO).
    summary
        The plan's summary: objective_cost, lower_bound, gap, serving_cost, fill_cost, origin_only_cost, method, seconds …
    policies
        One mapping a policy: ``policy`` and the contract's keys of ``simulate`` (ratios in 0..1, ``misses`` by class as sessions).
    decomposition
        (label, cost a day or None, explanation): what planning gained over reacting, and how the rest divides.
    by_hour
        ``POLICY_COLUMNS``; hour of the day in UTC.
    links
        ``LINK_COLUMNS``, one row a direction; optional ``price`` per Gbit/s.
    link_load
        ``LOAD_COLUMNS``: the rate of the busiest few directions through the day, minute of the day in UTC.
    sites
        ``SITE_COLUMNS``, optional ``served_gb``, ``hit_share`` (part of the bytes served to regions that rank the site first),
        ``storage_price`` (per GB) and ``throughput_price`` (per Gbit/s).
    backtest
        ``BACKTEST_COLUMNS``; ratios in 0..1, coverage is the share of outcomes between the 10 and 90 % quantiles.
    notes
        What is wrong with the log and how the forecast took it, a sentence each.
    fill
        The fill's summary: transfers, gb, finished_share, latest_end, gb_by_source …
    cost_unit
        What the network counts cost in.
    """

    network: str
    date: str
    summary: Mapping[str, object] = field(default_factory=dict)
    policies: Sequence[Mapping[str, object]] = ()
    decomposition: Sequence[tuple[str, float | None, str]] = ()
    by_hour: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(POLICY_COLUMNS)))
    links: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(LINK_COLUMNS)))
    link_load: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(LOAD_COLUMNS)))
    sites: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SITE_COLUMNS)))
    backtest: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(BACKTEST_COLUMNS)))
    notes: Sequence[str] = ()
    fill: Mapping[str, object] = field(default_factory=dict)
    cost_unit: str = "cost units"

    def policy(self, name: str) -> Mapping[str, object] | None:
        """The figures of one policy, or None if it was not rehearsed."""
        return next((p for p in self.policies if p.get("policy") == name), None)

    def reactive(self) -> Mapping[str, object] | None:
        """The policy the plan is compared with: LRU, or else the best cache that only reacts."""
        pure = [p for p in self.policies if "plan" not in str(p.get("policy")) and p.get("policy") not in FORESIGHT]
        named = [p for p in pure if p.get("policy") == "lru"]
        best = sorted(pure, key=lambda p: -value_of(p, "byte_hit_ratio", 0.0))
        return next(iter([*named, *best]), None)


def value_of(figures: Mapping[str, object] | None, key: str, otherwise: float = float("nan")) -> float:
    """A figure as a float; ``otherwise`` where it is absent or no finite number."""
    value = None if figures is None else figures.get(key)
    if not isinstance(value, int | float) or value != value or value in (float("inf"), float("-inf")):
        return otherwise
    return float(value)

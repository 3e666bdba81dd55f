"""What the verbs print: lines and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from cdn import console
from cdn.nightly import NightResult
from cdn.placement.lagrangian import Report
from cdn.report.numbers import column, counts, number, percent, percents


def policies_tables(policies: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Ratios, traffic and cost of the policies side by side, and their misses by class."""
    names, totals = list(policies), list(policies.values())

    def each(key: str) -> list[object]:
        return [t[key] for t in totals]

    measures = [
        ("request\nhits %", percents(each("request_hit_ratio"), 2)),
        ("byte\nhits %", percents(each("byte_hit_ratio"), 2)),
        ("edge\noffload %", percents(each("edge_offload"), 2)),
        ("backbone\nGB", column(each("backbone_gb"))),
        ("filled\nGB", column([t["fill_gb"] + t["fetched_gb"] for t in totals])),
        ("backbone\ncost", column(each("backbone_cost"))),
        ("cost of\nwatched", column(each("backbone_cost_watched"))),
        ("peak\nGbit/s", column(each("peak_link_gbps"))),
    ]
    misses = [
        ("content\nmisses", counts([t["misses"]["content"] for t in totals])),
        ("not yet\nfilled", counts([t["misses"]["not_yet_filled"] for t in totals])),
        ("\nhealth", counts([t["misses"]["health"] for t in totals])),
        ("of all\nsessions", counts([t["sessions"] for t in totals])),
        ("mean\nkbit/s", column(each("mean_kbps"))),
        ("start-up\nms", column(each("startup_ms_mean"))),
    ]
    return [console.columns([("\npolicy", names), *part]) for part in (measures, misses)]


def differences_table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """One scenario against the base, a metric a row."""
    keys = ("base", "value", "delta", "ci_low", "ci_high")
    cells = [column([row[key] for key in keys], 5) for row in rows]
    heads = ("base", "scenario", "difference", "95 % from", "to")
    parts = [(head, [row[i] for row in cells]) for i, head in enumerate(heads)]
    return console.columns([(name, [str(row["metric"]) for row in rows]), *parts])


SHOWN = (
    "request_hit_ratio",
    "byte_hit_ratio",
    "edge_offload",
    "backbone_cost",
    "backbone_cost_watched",
    "peak_link_gbps",
)
"""Figures whose intervals are printed; the JSON has those of all."""


def intervals_table(rows: Sequence[Mapping[Any, Any]]) -> Table:
    """Means and their 95 % intervals, and the differences from the first policy."""
    shown = [row for row in rows if row["metric"] in SHOWN]
    heads = {
        "value": "mean",
        "ci_low": "95 % from",
        "ci_high": "to",
        "delta": "less the first",
        "delta_low": "95 % from",
        "delta_high": "to",
    }
    parts = [(head, [number(row[key]) for row in shown]) for key, head in heads.items()]
    return console.columns(
        [("policy", [row["policy"] for row in shown]), ("figure", [row["metric"] for row in shown]), *parts]
    )


def sample_table(rows: Sequence[Mapping[Any, Any]]) -> Table:
    """Ratios of a sample of titles and their errors."""
    heads = {"value": "of the sample %", "standard_error": "standard error", "ci_low": "95 % from", "ci_high": "to"}
    parts = [(head, percents([row[key] for row in rows], 2)) for key, head in heads.items()]
    return console.columns(
        [("policy", [row["policy"] for row in rows]), ("ratio", [row["metric"] for row in rows]), *parts]
    )


def decomposition_table(rows: Sequence[Any]) -> list[Table]:
    """What separates the plan from reacting and from perfect foresight, in cost a day."""
    there = [row for row in rows if row[1] is not None]
    if not there:
        return []
    labels, values, meanings = zip(*there, strict=True)
    parts = [("where the cost goes", labels), ("cost a day", column(values)), ("meaning", meanings)]
    return [console.columns(parts, prose=2)]


def search_line(report: Report) -> str:
    """How far a search is."""
    cost = f"cost {report.cost:,.6g}" if np.isfinite(report.cost) else "no plan yet"
    gap = f"  gap {percent(report.gap)}" if np.isfinite(report.cost) else ""
    return f"{cost}  bound {report.bound:,.6g}{gap}  {report.seconds:,.0f} s"


def cost_line(summary: Mapping[str, Any]) -> str:
    """Cost, bound and gap of a plan."""
    cost, bound, bare = column([summary[key] for key in ("objective_cost", "lower_bound", "origin_only_cost")], 6)
    return f"cost {cost} a day, proven bound {bound}, gap {percent(summary['gap'])}; without any cache {bare}"


def night_lines(result: NightResult) -> list[str | Table]:
    """What a night came to."""
    plan, fill = result.metrics["plan"], result.metrics["fill"]
    return [
        *policies_tables(result.metrics["policies"]),
        *decomposition_table(result.metrics["decomposition"]),
        f"fill: {fill['transfers']:,} transfers, {fill['gb']:,.1f} GB, {percent(fill['finished_share'])} inside the windows",
        f"plan ({plan['method']}): {cost_line(plan)}",
        f"{'published' if result.published else 'already in force'}: {result.plan_id} -> {result.folder}",
    ]

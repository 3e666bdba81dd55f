"""What the verbs print: lines and tables."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from cdn import console
from cdn.nightly import NightResult
from cdn.placement.lagrangian import Report
from cdn.placement.verify import Verification
from cdn.report.numbers import column, counts, number, percent, percents
from cdn.report.words import foresight_words
from demand.playback import playback_dates


def policies_tables(
    policies: Mapping[str, Mapping[str, Any]], offline: Mapping[str, Mapping[str, Any]] | None = None
) -> list[str | Table]:
    """Ratios, traffic and cost of the policies side by side, and their misses by class; of caches that know the future, the few figures they have."""
    names, totals = [*policies, *(offline or {})], [*policies.values(), *(offline or {}).values()]

    def each(key: str) -> list[object]:
        return [t.get(key) for t in totals]

    measures = [
        ("request\nhits %", percents(each("request_hit_ratio"), 2)),
        ("byte\nhits %", percents(each("byte_hit_ratio"), 2)),
        ("edge\noffload %", percents(each("edge_offload"), 2)),
        ("backbone\nGB", column(each("backbone_gb"))),
        ("filled\nGB", column([t["fill_gb"] + t["fetched_gb"] if "fill_gb" in t else None for t in totals])),
        ("backbone\ncost", column(each("backbone_cost"))),
        ("cost of\nwatched", column(each("backbone_cost_watched"))),
        ("peak\nGbit/s", column(each("peak_link_gbps"))),
    ]
    misses = [
        ("content\nmisses", counts([t["misses"].get("content") for t in totals])),
        ("not yet\nfilled", counts([t["misses"].get("not_yet_filled") for t in totals])),
        ("\nhealth", counts([t["misses"].get("health") for t in totals])),
        ("of all\nsessions", counts(each("sessions"))),
        ("mean\nkbit/s", column(each("mean_kbps"))),
        ("start-up\nms", column(each("startup_ms_mean"))),
    ]
    why = foresight_words([{"policy": name, **totals} for name, totals in policies.items()])
    return [*(console.columns([("\npolicy", names), *part]) for part in (measures, misses)), *why]


MOST_SITES = 15


def offline_tables(offline: Mapping[str, Mapping[str, Any]]) -> list[str | Table]:
    """The caches of each site had they known the future: those that are asked for most, and what the figures mean."""
    parts: list[str | Table] = []
    for name, figures in offline.items():
        rows = sorted(figures["by_site"], key=lambda row: -row["sessions"])
        shown = rows[:MOST_SITES]

        def hits(key: str, missed: str, rows: Sequence[Mapping[str, Any]] = shown) -> list[str]:
            return percents([1 - row[missed] / row[key] if row[key] else None for row in rows], 2)

        cells = [
            (f"\n{name} at", [row["site_name"] for row in shown]),
            ("cache\nGB", column([row["cache_gb"] for row in shown])),
            ("\nsessions", counts([row["sessions"] for row in shown])),
            ("of planned\nfiles", counts([row["planned_sessions"] for row in shown])),
            ("\nmisses", counts([row["misses"] for row in shown])),
            ("request\nhits %", hits("sessions", "misses")),
            ("byte\nhits %", hits("gb", "missed_gb")),
        ]
        rest = f"; {len(rows) - len(shown)} sites with fewer sessions are not shown" if len(rows) > len(shown) else ""
        word = "the fewest misses of any cache" if figures["bound"] else "no bound, for files differ in size"
        parts += [
            console.columns(cells),
            f"{name}: what comes is known beforehand, throughput and failures are left out; {word}{rest}",
        ]
    return parts


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
    """Cost, bound and gap of a plan, which gap was asked for, and what ended the search."""
    cost, bound, bare = column([summary[key] for key in ("objective_cost", "lower_bound", "origin_only_cost")], 6)
    asked = f" ({summary['status']}; {percent(summary['gap_asked'])} asked for)" if "gap_asked" in summary else ""
    return f"cost {cost} a day, proven bound {bound}, gap {percent(summary['gap'])}{asked}; without any cache {bare}"


def unproven_lines(found: Verification) -> list[str]:
    """What a plan claims beyond what its prices prove, if anything."""
    short = percent(found.unproven)
    return [f"the claimed bound {found.claimed_bound:,.6g} is not reproduced: the plan's prices prove {short} less"] * (
        found.unproven > 0
    )


def next_night(folder: Path) -> str:
    """The night to try on a log: its last day, whose sessions can be replayed; where the log lacks the day before that, the day after."""
    dates = playback_dates(folder)
    one = dt.timedelta(days=1)
    night = dates[-1] if dates[-1] - one in dates else dates[-1] + one
    return f"Next: fillplan nightly {folder} --for {night}"


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

"""Charts of what ``simulate -o FOLDER`` writes, made with Altair: for notebooks and scripts, and for the report.

Each takes one of the Parquet tables as pandas reads it (docs/simulation.md) and gives an Altair chart: show it, ``save`` it, change it.
"""

from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np
import pandas as pd

from topology.errors import InputError, Problem

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette, which colour-blind readers tell apart too."""
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
FORESIGHT_COLOUR = "#8a8a8a"
MISS_COLOURS = {"content": SERIES[0], "not yet filled": SERIES[4], "health": SERIES[1]}
TRAFFIC_COLOURS = {"serving": SERIES[0], "fetches": SERIES[1], "fills": SERIES[2]}
MOST_LINKS = 6
WIDTH = 600
"""Pixels."""


def hit_ratio_chart(by_hour: pd.DataFrame, *, legend: bool = True) -> alt.Chart:
    """Byte hit ratio (%) through the day, one line a policy, the plan's on top; hours of no bytes are left out.

    Parameters
    ----------
    by_hour
        policy, hour, gb, hit_gb.
    legend
        Whether the chart names its policies itself.

    Raises
    ------
    InputError
        A column is missing, as of every chart here.
    """
    rows = hit_ratio_rows(by_hour)
    names = list(dict.fromkeys(rows["policy"]))
    colours, dashes = policy_styles(names)
    drawn_last = rows.sort_values("policy", key=lambda names: names == "plan", kind="stable")
    key = alt.Legend(title="Policy") if legend else None
    chart: alt.Chart = (
        alt.Chart(inline(drawn_last))
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=22))
        .encode(
            x=alt.X(
                "hour:Q",
                title="Hour of the day (UTC)",
                axis=alt.Axis(tickCount=8, grid=False),
                scale=alt.Scale(nice=False),
            ),
            y=alt.Y("ratio:Q", title="Byte hit ratio (%)", scale=alt.Scale(zero=False, nice=True, padding=6)),
            color=alt.Color("policy:N", scale=alt.Scale(domain=names, range=colours), legend=key),
            strokeDash=alt.StrokeDash("policy:N", scale=alt.Scale(domain=names, range=dashes), legend=key),
            tooltip=[
                alt.Tooltip("policy:N", title="Policy"),
                alt.Tooltip("hour:Q", title="Hour (UTC)"),
                alt.Tooltip("ratio:Q", title="Byte hit ratio (%)"),
                alt.Tooltip("gb:Q", title="Asked for (GB)"),
            ],
        )
        .properties(width=WIDTH, height=300)
    )
    return chart


def hit_ratio_rows(by_hour: pd.DataFrame) -> pd.DataFrame:
    """What :func:`hit_ratio_chart` draws: policy, hour, ratio (byte hit ratio in %), gb."""
    _need("by_hour", by_hour, "policy", "hour", "gb", "hit_gb")
    frame = by_hour[by_hour["gb"].to_numpy(float) > 0]
    ratio = 100 * frame["hit_gb"].to_numpy(float) / frame["gb"].to_numpy(float)
    return pd.DataFrame(
        {
            "policy": frame["policy"].astype(str),
            "hour": frame["hour"].astype(int),
            "ratio": np.round(ratio, 2),
            "gb": shorten(frame["gb"]),
        }
    )


def misses_chart(by_hour: pd.DataFrame) -> alt.Chart:
    """Sessions missed, by class, one bar a policy.

    Parameters
    ----------
    by_hour
        policy, content, not_yet_filled, health.
    """
    classes = {"content": "content", "not_yet_filled": "not yet filled", "health": "health"}
    _need("by_hour", by_hour, "policy", *classes)
    sums = by_hour.groupby("policy", sort=False, observed=True)[list(classes)].sum().rename(columns=classes)
    return _stacked(sums, MISS_COLOURS, "Class", "Misses (sessions)")


def traffic_chart(by_arc: pd.DataFrame) -> alt.Chart:
    """Backbone traffic (GB, once for every link crossed): sessions served, pulls of caches and fills, one bar a policy.

    Parameters
    ----------
    by_arc
        policy, serving_gb, fetch_gb, fill_gb.
    """
    kinds = {"serving_gb": "serving", "fetch_gb": "fetches", "fill_gb": "fills"}
    _need("by_arc", by_arc, "policy", *kinds)
    sums = by_arc.groupby("policy", sort=False, observed=True)[list(kinds)].sum().rename(columns=kinds)
    return _stacked(sums, TRAFFIC_COLOURS, "Traffic", "Backbone traffic (GB)")


def offload_chart(by_hour: pd.DataFrame) -> alt.Chart:
    """Edge offload (%): the share of the bytes that no origin had to provide, one bar a policy.

    Parameters
    ----------
    by_hour
        policy, gb, origin_gb.
    """
    _need("by_hour", by_hour, "policy", "gb", "origin_gb")
    sums = by_hour.groupby("policy", sort=False, observed=True)[["gb", "origin_gb"]].sum()
    share = 100 * _share(sums["gb"] - sums["origin_gb"], sums["gb"])
    rows = pd.DataFrame({"policy": sums.index.astype(str), "offload": np.round(share, 2)})
    chart: alt.Chart = (
        alt.Chart(inline(rows))
        .mark_bar(color=SERIES[0], height={"band": 0.65})
        .encode(
            x=alt.X("offload:Q", title="Edge offload (%)", scale=alt.Scale(domain=[0, 100])),
            y=alt.Y("policy:N", title=None, sort=None),
            tooltip=[alt.Tooltip("policy:N", title="Policy"), alt.Tooltip("offload:Q", title="Edge offload (%)")],
        )
        .properties(width=WIDTH, height=30 * max(len(rows), 1))
    )
    return chart


def site_hit_ratio_chart(by_site_hour: pd.DataFrame) -> alt.Chart:
    """Request hit ratio (%) of the sessions that rank a site first, one point a site and policy; sites that none ranks first are left out.

    Parameters
    ----------
    by_site_hour
        policy, site_name, hits, content, not_yet_filled, health.
    """
    asked = ["hits", "content", "not_yet_filled", "health"]
    _need("by_site_hour", by_site_hour, "policy", "site_name", *asked)
    sums = by_site_hour.groupby(["policy", "site_name"], sort=False, observed=True)[asked].sum().reset_index()
    sums["sessions"] = sums[asked].sum(axis=1)
    sums = sums[sums["sessions"] > 0]
    rows = pd.DataFrame(
        {
            "policy": sums["policy"].astype(str),
            "site": sums["site_name"].astype(str),
            "ratio": np.round(100 * _share(sums["hits"], sums["sessions"]), 2),
            "sessions": sums["sessions"].astype(int),
        }
    )
    names = list(dict.fromkeys(rows["policy"]))
    chart: alt.Chart = (
        alt.Chart(inline(rows))
        .mark_point(filled=True, size=70, opacity=0.9)
        .encode(
            x=alt.X("ratio:Q", title="Request hit ratio (%)", scale=alt.Scale(zero=False, nice=True, padding=6)),
            y=alt.Y("site:N", title=None, sort=None, axis=alt.Axis(labelLimit=140, grid=True)),
            color=alt.Color(
                "policy:N",
                scale=alt.Scale(domain=names, range=policy_styles(names)[0]),
                legend=alt.Legend(title="Policy"),
            ),
            tooltip=[
                alt.Tooltip("site:N", title="Site"),
                alt.Tooltip("policy:N", title="Policy"),
                alt.Tooltip("ratio:Q", title="Request hit ratio (%)"),
                alt.Tooltip("sessions:Q", title="Sessions that rank it first"),
            ],
        )
        .properties(width=WIDTH, height=22 * max(rows["site"].nunique(), 1))
    )
    return chart


def link_load_charts(
    arc_gbps: pd.DataFrame, by_arc: pd.DataFrame, *, policy: str = "plan", most: int = MOST_LINKS
) -> Mapping[str, alt.LayerChart]:
    """The load through the days of the busiest link directions, by peak over capacity, with their peak and 95th percentile as billed.

    Parameters
    ----------
    arc_gbps
        policy, arc, minute, gbps.
    by_arc
        policy, arc, link, towards, peak_gbps, p95_gbps, capacity_gbps.
    policy
        Whose.
    most
        How many directions.

    Returns
    -------
    ``LINK towards NODE`` -> its chart, busiest first.

    Raises
    ------
    InputError
        A column is missing, or the tables do not have the policy.
    """
    _need("arc_gbps", arc_gbps, "policy", "arc", "minute", "gbps")
    _need("by_arc", by_arc, "policy", "arc", "link", "towards", "peak_gbps", "p95_gbps", "capacity_gbps")
    mine = by_arc[by_arc["policy"] == policy]
    if mine.empty:
        known = ", ".join(dict.fromkeys(by_arc["policy"].astype(str)))
        mend = f"give one of {known}" if known else "simulate a network that has links"
        raise InputError(
            Problem(table="by_arc", column="policy", value=policy, message="no such policy in the table", mend=mend)
        )
    use = mine["peak_gbps"] / mine["capacity_gbps"]
    busiest = mine.loc[use.sort_values(ascending=False, kind="stable").index[:most]]
    loads = arc_gbps[(arc_gbps["policy"] == policy) & arc_gbps["arc"].isin(busiest["arc"])]
    return {
        f"{row['link']} towards {row['towards']}": link_load_chart(
            loads[loads["arc"] == row["arc"]], float(row["capacity_gbps"]), p95_gbps=float(row["p95_gbps"])
        )
        for row in busiest.to_dict("records")
    }


def link_load_chart(load: pd.DataFrame, capacity_gbps: float, *, p95_gbps: float | None = None) -> alt.LayerChart:
    """The load of one link direction (Gbit/s) over time, with its capacity where it comes near and, if given, its peak and 95th percentile.

    Parameters
    ----------
    load
        minute (from the first midnight, UTC), gbps.
    """
    _need("arc_gbps", load, "minute", "gbps")
    minutes, peak = load["minute"].to_numpy(float), float(load["gbps"].max())
    table = pd.DataFrame({"hour": np.round(minutes / 60, 3), "gbps": shorten(load["gbps"])})
    top = max(peak * 1.1, capacity_gbps * 1.05) if capacity_gbps <= 2.5 * peak else peak * 1.15
    hours = 24 * max(1, int(np.ceil((minutes.max(initial=0) + 1) / 1440)))
    base = alt.Chart(inline(table)).encode(
        x=alt.X(
            "hour:Q",
            title="Hour of the day (UTC)",
            scale=alt.Scale(domain=[0, hours]),
            axis=alt.Axis(values=list(range(0, hours + 1, 6 * (hours // 24))), grid=False),
        ),
        y=alt.Y(
            "gbps:Q",
            title="Load (Gbit/s)",
            scale=alt.Scale(domain=[0, top or 1.0], nice=False),
            axis=alt.Axis(tickCount=4),
        ),
    )
    area = base.mark_area(line={"color": SERIES[0], "strokeWidth": 1.5}, color=SERIES[0], opacity=0.25).encode(
        tooltip=[
            alt.Tooltip("hour:Q", title="Hour (UTC)", format=".2f"),
            alt.Tooltip("gbps:Q", title="Load (Gbit/s)"),
        ]
    )
    limit = (
        alt.Chart(inline(pd.DataFrame({"capacity": [capacity_gbps]})))
        .mark_rule(color=SERIES[1], strokeDash=[5, 3], strokeWidth=1.5, clip=True)
        .encode(y="capacity:Q")
    )
    layers: list[alt.Chart] = [area, limit] if capacity_gbps <= top else [area]
    if p95_gbps is not None:
        layers += _marks({"peak": peak, "95th percentile": p95_gbps})
    return alt.LayerChart(layer=layers).properties(width=WIDTH, height=150)


def interval_chart(intervals: pd.DataFrame, *, metric: str, less_the_first: bool = False) -> alt.LayerChart:
    """Mean and 95 % interval of a figure over replications, one line a policy.

    Parameters
    ----------
    intervals
        policy, metric, value, ci_low, ci_high, delta, delta_low, delta_high.
    metric
        Which figure: ``backbone_cost``, ``request_hit_ratio``, ``misses.content`` …
    less_the_first
        Instead what it differs from the first policy's, which is left out: replication by replication, so that it is known better than either.

    Raises
    ------
    InputError
        A column is missing, or the table does not have the figure.
    """
    columns = ["delta", "delta_low", "delta_high"] if less_the_first else ["value", "ci_low", "ci_high"]
    _need("intervals", intervals, "policy", "metric", *columns)
    mine = intervals[intervals["metric"] == metric]
    if mine.empty:
        mend = f"give one of {', '.join(dict.fromkeys(intervals['metric'].astype(str)))}"
        raise InputError(
            Problem(table="intervals", column="metric", value=metric, message="no such figure in the table", mend=mend)
        )
    first = str(mine["policy"].iloc[0])
    rows = pd.DataFrame({"policy": mine["policy"].astype(str)})
    for name, column in zip(("mean", "low", "high"), columns, strict=True):
        rows[name] = shorten(mine[column])
    rows = rows[rows["policy"] != first] if less_the_first else rows
    title = f"{metric}, less that of {first}" if less_the_first else metric
    tips = {"policy:N": "Policy", "mean:Q": "Mean", "low:Q": "95 % from", "high:Q": "to"}
    base = alt.Chart(inline(rows)).encode(
        y=alt.Y("policy:N", title=None, sort=None),
        tooltip=[alt.Tooltip(field, title=name) for field, name in tips.items()],
    )
    span = alt.X("low:Q", title=title, scale=alt.Scale(zero=less_the_first, nice=True, padding=6))
    rule = base.mark_rule(color=SERIES[0], strokeWidth=2).encode(x=span, x2="high:Q")
    point = base.mark_point(color=SERIES[0], filled=True, size=70, opacity=1).encode(x="mean:Q")
    return alt.LayerChart(layer=[rule, point]).properties(width=WIDTH, height=30 * max(len(rows), 1))


def _marks(levels: Mapping[str, float]) -> list[alt.Chart]:
    """Thin lines across a load, each with its name and value."""
    rows = pd.DataFrame({"level": shorten(pd.Series(list(levels.values()))), "name": list(levels)})
    rows["label"] = [f"{name} {level:g}" for name, level in zip(rows["name"], rows["level"], strict=True)]
    base = alt.Chart(inline(rows)).encode(y=alt.Y("level:Q", title="Load (Gbit/s)"))
    rule = base.mark_rule(color=SERIES[2], strokeWidth=1, clip=True)
    text = base.mark_text(align="left", baseline="bottom", dx=3, dy=-1, fontSize=10, color=SERIES[2])
    return [rule, text.encode(x=alt.value(0), text="label:N")]


def _stacked(sums: pd.DataFrame, colours: Mapping[str, str], key: str, title: str) -> alt.Chart:
    """One bar a policy, in parts: ``sums`` has a row a policy, a column a part."""
    rows = sums.rename_axis("policy").reset_index().melt("policy", var_name="part", value_name="amount")
    rows = rows.assign(policy=rows["policy"].astype(str), amount=shorten(rows["amount"]))
    chart: alt.Chart = (
        alt.Chart(inline(rows))
        .mark_bar(height={"band": 0.65})
        .encode(
            x=alt.X("amount:Q", title=title),
            y=alt.Y("policy:N", title=None, sort=None),
            color=alt.Color(
                "part:N",
                scale=alt.Scale(domain=list(colours), range=list(colours.values())),
                legend=alt.Legend(title=key),
            ),
            tooltip=[
                alt.Tooltip("policy:N", title="Policy"),
                alt.Tooltip("part:N", title=key),
                alt.Tooltip("amount:Q", title=title),
            ],
        )
        .properties(width=WIDTH, height=30 * max(len(sums), 1))
    )
    return chart


def policy_styles(names: Sequence[str]) -> tuple[list[str], list[list[int]]]:
    """Colours and dashes: the oracle in grey, every other policy the next of the palette."""
    others = [name for name in names if name != "oracle"]
    at = {name: i % len(SERIES) for i, name in enumerate(others)}
    colours = [SERIES[at[name]] if name in at else FORESIGHT_COLOUR for name in names]
    return colours, [list(DASHES[at[name]]) if name in at else [1, 0] for name in names]


def inline(rows: pd.DataFrame) -> alt.InlineData:
    """Rows as plain values: only JSON's own types, nothing missing written as a number."""
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    named = [{str(name): value for name, value in record.items()} for record in records]
    return alt.InlineData(values=named)


def shorten(values: pd.Series) -> np.ndarray:
    """Four significant digits: what a reader can use, and a smaller page. Infinite becomes missing."""
    found = values.to_numpy(float)
    return np.array([float(f"{v:.4g}") if np.isfinite(v) else np.nan for v in found])


def _share(part: pd.Series, of: pd.Series) -> np.ndarray:
    """How much a part is of each; 0 of nothing."""
    whole = of.to_numpy(float)
    found = np.zeros(len(whole))
    np.divide(part.to_numpy(float), whole, out=found, where=whole > 0)
    return found


def _need(table: str, frame: pd.DataFrame, *columns: str) -> None:
    """Refuse a table without the columns that are drawn."""
    missing = next((column for column in columns if column not in frame), None)
    if missing is not None:
        mend = f"give the table {table}.parquet that fillplan simulate -o writes"
        raise InputError(Problem(table=table, column=missing, message="the column is missing", mend=mend))

"""The report's charts as Vega-Lite specifications, made with Altair. Each has units on its axes and a description in words."""

import functools
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from cdn.report import plots
from cdn.report.data import ReportData
from cdn.report.numbers import number, percent
from cdn.report.plots import SERIES, inline, shorten

FONT = 'system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif'
"""The page's own, so that text is measured as it is drawn."""
MOST_BARS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One entry of a chart's legend: a line (with dashes), a circle or a square of a colour."""

    label: str
    colour: str
    shape: str = "line"
    dash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One chart: its place on the page, its caption, its words for those who do not see it, and its specification."""

    id: str
    caption: str
    alternative: str
    spec: dict[str, Any]
    small: bool = False
    ratio: float = 0.0
    """Width over height of a chart that fills its frame; 0 where the chart decides its height."""
    keys: tuple["Key", ...] = ()


@functools.cache
def javascript() -> str:
    """Vega, Vega-Lite and vega-embed as one script (about 0.9 MB), of the version that Altair writes for."""
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return str(vl_convert.javascript_bundle(vl_version=version))  # type: ignore[call-arg] # the stub asks for a snippet


def hit_ratio_figure(data: ReportData) -> Figure:
    """Byte hit ratio over the day, one line a policy."""
    rows = plots.hit_ratio_rows(data.by_hour)
    names = list(dict.fromkeys(rows["policy"]))
    colours, dashes = plots.policy_styles(names)
    low = rows.loc[rows.groupby("policy", sort=False)["ratio"].idxmin()]
    words = "; ".join(
        f"{p}: lowest {number(r)} % in hour {h}" for p, r, h in low[["policy", "ratio", "hour"]].itertuples(index=False)
    )
    return Figure(
        id="hit-ratio",
        caption="Byte hit ratio through the day, by policy. The axis does not begin at zero.",
        alternative=f"Line chart of the byte hit ratio by hour and policy. {words}.",
        spec=specification(plots.hit_ratio_chart(data.by_hour, legend=False).properties(width="container")),
        keys=tuple(
            Key(label=n, colour=c, dash=",".join(map(str, d))) for n, c, d in zip(names, colours, dashes, strict=True)
        ),
    )


def load_figures(data: ReportData) -> list[Figure]:
    """The rate on each of the busiest link directions through the day, with its capacity where it comes near."""
    figures: list[Figure] = []
    groups = data.link_load.groupby(["link", "towards"], sort=False, observed=True)
    parts = sorted(((key, rows) for key, rows in groups), key=lambda part: -_peak_use(part[1]))
    for i, ((link, towards), rows) in enumerate(parts[: plots.MOST_LINKS]):
        peak, capacity = float(rows["gbps"].max()), float(rows["capacity_gbps"].iloc[0])
        figures.append(
            Figure(
                id=f"load-{i}",
                caption=f"{link} towards {towards}: peak {number(peak)} of {number(capacity)} Gbit/s ({percent(peak / capacity)})",
                alternative=f"Area chart of the load on {link} towards {towards} over the day; the peak is {number(peak)} Gbit/s, the capacity {number(capacity)}.",
                spec=specification(plots.link_load_chart(rows, capacity).properties(width="container")),
                small=True,
            )
        )
    return figures


def price_figures(data: ReportData) -> list[Figure]:
    """What one more unit of each limit would save, one chart a limit; none where no site has a price."""
    wanted = (
        ("storage_price", 1000.0, "storage", "TB of storage"),
        ("throughput_price", 1.0, "throughput", "Gbit/s of throughput"),
    )
    figures: list[Figure] = []
    for column, scale, id_, unit in wanted:
        if column not in data.sites:
            continue
        frame = pd.DataFrame(
            {"site": data.sites["site"].astype(str), "price": data.sites[column].to_numpy(float) * scale}
        )
        frame = frame[frame["price"] > 0].sort_values("price", ascending=False, kind="stable").head(MOST_BARS)
        if frame.empty:
            continue
        rows = frame.assign(price=shorten(frame["price"]))
        bars = (
            alt.Chart(inline(rows))
            .mark_bar(color=SERIES[0], height={"band": 0.65})
            .encode(
                x=alt.X("price:Q", title=f"{data.cost_unit} saved a day", axis=alt.Axis(tickCount=5)),
                y=alt.Y("site:N", title=None, sort=None, axis=alt.Axis(labelLimit=140, ticks=False)),
                tooltip=[alt.Tooltip("site:N", title="Site"), alt.Tooltip("price:Q", title="Saved a day")],
            )
            .properties(width="container", height=22 * len(rows))
        )
        figures.append(
            Figure(
                id=f"price-{id_}",
                caption=f"One more {unit} at each site: what it would save",
                alternative=f"Bar chart. The most is saved at {frame['site'].iloc[0]}: {number(frame['price'].iloc[0])} {data.cost_unit} a day.",
                spec=specification(bars),
            )
        )
    return figures


def _peak_use(rows: pd.DataFrame) -> float:
    return float(rows["gbps"].max() / rows["capacity_gbps"].iloc[0])


def specification(chart: alt.Chart | alt.LayerChart | alt.FacetChart, *, bare: bool = False) -> dict[str, Any]:
    """The chart as Vega-Lite, in the page's type and without a background; a ``bare`` one fills its frame to the edges."""
    spec: dict[str, Any] = (
        chart.configure(
            background="transparent",
            font=FONT,
            padding=0 if bare else 5,
            autosize=alt.AutoSizeParams(type="fit" if bare else "fit-x", contains="padding"),
        )
        .configure_view(stroke=None)
        .to_dict()
    )
    return spec

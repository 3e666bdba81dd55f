"""The report's charts as Vega-Lite specifications, made with Altair. Each has units on its axes and a description in words."""

import functools
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from cdn.report.data import ReportData
from cdn.report.numbers import number, percent

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette, which colour-blind readers tell apart too."""
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
FORESIGHT_COLOUR = "#8a8a8a"
FONT = 'system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif'
"""The page's own, so that text is measured as it is drawn."""
MOST_LOADS = 6
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
    frame = data.by_hour[data.by_hour["gb"].to_numpy(float) > 0]
    ratio = 100 * frame["hit_gb"].to_numpy(float) / frame["gb"].to_numpy(float)
    rows = pd.DataFrame(
        {
            "policy": frame["policy"].astype(str),
            "hour": frame["hour"].astype(int),
            "ratio": np.round(ratio, 2),
            "gb": shorten(frame["gb"]),
        }
    )
    names = list(dict.fromkeys(rows["policy"]))
    colours, dashes = _series(names)
    lines = (
        alt.Chart(
            inline(rows.sort_values("policy", key=lambda names: names == "plan", kind="stable"))
        )  # drawn last, on top
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=22))
        .encode(
            x=alt.X(
                "hour:Q",
                title="Hour of the day (UTC)",
                axis=alt.Axis(tickCount=8, grid=False),
                scale=alt.Scale(nice=False),
            ),
            y=alt.Y("ratio:Q", title="Byte hit ratio (%)", scale=alt.Scale(zero=False, nice=True, padding=6)),
            color=alt.Color("policy:N", scale=alt.Scale(domain=names, range=colours), legend=None),
            strokeDash=alt.StrokeDash("policy:N", scale=alt.Scale(domain=names, range=dashes), legend=None),
            tooltip=[
                alt.Tooltip("policy:N", title="Policy"),
                alt.Tooltip("hour:Q", title="Hour (UTC)"),
                alt.Tooltip("ratio:Q", title="Byte hit ratio (%)"),
                alt.Tooltip("gb:Q", title="Asked for (GB)"),
            ],
        )
        .properties(width="container", height=300)
    )
    low = rows.loc[rows.groupby("policy", sort=False)["ratio"].idxmin()]
    words = "; ".join(
        f"{p}: lowest {number(r)} % in hour {h}" for p, r, h in low[["policy", "ratio", "hour"]].itertuples(index=False)
    )
    return Figure(
        id="hit-ratio",
        caption="Byte hit ratio through the day, by policy. The axis does not begin at zero.",
        alternative=f"Line chart of the byte hit ratio by hour and policy. {words}.",
        spec=specification(lines),
        keys=tuple(
            Key(label=n, colour=c, dash=",".join(map(str, d))) for n, c, d in zip(names, colours, dashes, strict=True)
        ),
    )


def load_figures(data: ReportData) -> list[Figure]:
    """The rate on each of the busiest link directions through the day, with its capacity where it comes near."""
    figures: list[Figure] = []
    groups = data.link_load.groupby(["link", "towards"], sort=False, observed=True)
    parts = sorted(((key, rows) for key, rows in groups), key=lambda part: -_peak_use(part[1]))
    for i, ((link, towards), rows) in enumerate(parts[:MOST_LOADS]):
        peak, capacity = float(rows["gbps"].max()), float(rows["capacity_gbps"].iloc[0])
        table = pd.DataFrame({"hour": np.round(rows["minute"].to_numpy(float) / 60, 3), "gbps": shorten(rows["gbps"])})
        top = max(peak * 1.1, capacity * 1.05) if capacity <= 2.5 * peak else peak * 1.15
        base = alt.Chart(inline(table)).encode(
            x=alt.X(
                "hour:Q",
                title="Hour of the day (UTC)",
                scale=alt.Scale(domain=[0, 24]),
                axis=alt.Axis(values=list(range(0, 25, 6)), grid=False),
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
            alt.Chart(inline(pd.DataFrame({"capacity": [capacity]})))
            .mark_rule(color=SERIES[1], strokeDash=[5, 3], strokeWidth=1.5, clip=True)
            .encode(y="capacity:Q")
        )
        layers = [area, limit] if capacity <= top else [area]
        figures.append(
            Figure(
                id=f"load-{i}",
                caption=f"{link} towards {towards}: peak {number(peak)} of {number(capacity)} Gbit/s ({percent(peak / capacity)})",
                alternative=f"Area chart of the load on {link} towards {towards} over the day; the peak is {number(peak)} Gbit/s, the capacity {number(capacity)}.",
                spec=specification(alt.layer(*layers).properties(width="container", height=150)),
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


def _series(names: list[str]) -> tuple[list[str], list[list[int]]]:
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

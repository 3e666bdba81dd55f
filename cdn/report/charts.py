"""The report's charts as Vega-Lite specifications, made with Altair. Each has units on its axes and a description in words."""

import functools
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from cdn.report import map as geography
from cdn.report.data import ReportData
from cdn.report.numbers import number, percent
from cdn.report.tables import busiest

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette, which colour-blind readers tell apart too."""
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [1, 3])
FORESIGHT_COLOUR = "#8a8a8a"
FONT = 'system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif'
"""The page's own, so that text is measured as it is drawn."""
USE_STEPS = (0.25, 0.5, 0.75, 1.0)
USE_COLOURS = ("#7fb3d5", "#2c7fb8", "#e6a117", "#d95f0e", "#b2182b")
USE_LABELS = ("under 25 %", "25 to 50 %", "50 to 75 %", "75 to 100 %", "over capacity")
SITE_COLOURS = {"embedded": "#0072b2", "ix": "#009e73", "origin": "#3a3a3a"}
KIND_LABELS = {"embedded": "site in a provider's network", "ix": "site at an exchange", "origin": "origin"}
MOST_LOADS = 6
MOST_BARS = 15
MOST_LABELS = 25


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
            "gb": _short(frame["gb"]),
        }
    )
    names = list(dict.fromkeys(rows["policy"]))
    colours, dashes = _series(names)
    lines = (
        alt.Chart(_inline(rows))
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
        spec=_specification(lines),
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
        table = pd.DataFrame({"hour": np.round(rows["minute"].to_numpy(float) / 60, 3), "gbps": _short(rows["gbps"])})
        top = max(peak * 1.1, capacity * 1.05) if capacity <= 2.5 * peak else peak * 1.15
        base = alt.Chart(_inline(table)).encode(
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
            alt.Chart(_inline(pd.DataFrame({"capacity": [capacity]})))
            .mark_rule(color=SERIES[1], strokeDash=[5, 3], strokeWidth=1.5, clip=True)
            .encode(y="capacity:Q")
        )
        layers = [area, limit] if capacity <= top else [area]
        figures.append(
            Figure(
                id=f"load-{i}",
                caption=f"{link} towards {towards}: peak {number(peak)} of {number(capacity)} Gbit/s ({percent(peak / capacity)})",
                alternative=f"Area chart of the load on {link} towards {towards} over the day; the peak is {number(peak)} Gbit/s, the capacity {number(capacity)}.",
                spec=_specification(alt.layer(*layers).properties(width="container", height=150)),
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
        rows = frame.assign(price=_short(frame["price"]))
        bars = (
            alt.Chart(_inline(rows))
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
                spec=_specification(bars),
            )
        )
    return figures


def map_figure(data: ReportData) -> Figure:
    """Sites sized by what they serve, links coloured and widened by their peak use, on country outlines."""
    sites = data.sites.dropna(subset=["lat", "lon"])
    links = _undirected(data.links.dropna(subset=["lat", "lon", "towards_lat", "towards_lon"]))
    lat = np.concatenate(
        [sites["lat"].to_numpy(float), links["lat"].to_numpy(float), links["towards_lat"].to_numpy(float)]
    )
    lon = np.concatenate(
        [sites["lon"].to_numpy(float), links["lon"].to_numpy(float), links["towards_lon"].to_numpy(float)]
    )
    view = geography.fit_view(lat, lon)
    fit = f"min(width / {view.right - view.left:.6g}, height / {view.top - view.bottom:.6g})"
    x, y = (view.left + view.right) / 2, (view.bottom + view.top) / 2
    projection = {
        "type": "identity",
        "reflectY": True,
        "scale": {"expr": fit},
        "translate": {"expr": f"[width / 2 - {x:.6g} * {fit}, height / 2 + {y:.6g} * {fit}]"},
    }
    land = alt.Chart(alt.InlineData(values=geography.outlines(view))).mark_geoshape(
        clip=True, strokeWidth=0.7, style="land"
    )
    layers = [
        land,
        *([_link_layer(links, view)] if len(links) else []),
        *(_site_layers(sites, view) if len(sites) else []),
    ]
    chart = alt.layer(*layers).properties(width="container", height=480)
    spec = _specification(chart, bare=True)
    for layer in spec["layer"]:
        layer["projection"] = projection
    worst = links.iloc[0] if len(links) else None
    words = (
        ""
        if worst is None
        else f" The busiest link is {worst['link']} with a peak of {percent(worst['use'])} of its capacity."
    )
    return Figure(
        id="map",
        caption="Links by peak use of their busier direction; sites by bytes served. Point at a line or a circle for its figures.",
        alternative=f"Map of {len(sites)} sites and {len(links)} links.{words}",
        spec=spec,
        keys=(
            *(Key(label=label, colour=colour) for label, colour in zip(USE_LABELS, USE_COLOURS, strict=True)),
            *(
                Key(label=KIND_LABELS[kind], colour=SITE_COLOURS[kind], shape=_shape(kind))
                for kind in SITE_COLOURS
                if kind in set(sites["kind"])
            ),
        ),
    )


def _link_layer(links: pd.DataFrame, view: geography.View) -> alt.Chart:
    """Lines, the busiest last and so on top."""
    x, y = view.place(links["lat"].to_numpy(float), links["lon"].to_numpy(float))
    x2, y2 = view.place(links["towards_lat"].to_numpy(float), links["towards_lon"].to_numpy(float))
    use = links["use"].to_numpy(float)
    rows = pd.DataFrame(
        {
            "x": np.round(x, 4), "y": np.round(y, 4), "x2": np.round(x2, 4), "y2": np.round(y2, 4),
            "link": links["link"].astype(str), "towards": links["towards"].astype(str), "peak": _short(links["peak_gbps"]),
            "capacity": _short(links["capacity_gbps"]), "gb": _short(links["gb"]), "use": np.round(100 * np.nan_to_num(use), 1),
            "step": [USE_LABELS[i] for i in np.searchsorted(USE_STEPS, np.nan_to_num(use), side="left")],
        }
    )  # fmt: skip
    layer: alt.Chart = (
        alt.Chart(_inline(rows[::-1]))
        .mark_rule(clip=True, strokeCap="round")
        .encode(
            longitude="x:Q", latitude="y:Q", longitude2="x2:Q", latitude2="y2:Q",
            color=alt.Color("step:N", scale=alt.Scale(domain=list(USE_LABELS), range=list(USE_COLOURS)), legend=None),
            strokeWidth=alt.StrokeWidth("use:Q", legend=None, scale=alt.Scale(domain=[0, 100], range=[1.5, 5], clamp=True)),
            tooltip=[
                alt.Tooltip("link:N", title="Link"),
                alt.Tooltip("towards:N", title="Busier towards"),
                alt.Tooltip("peak:Q", title="Peak (Gbit/s)"),
                alt.Tooltip("capacity:Q", title="Capacity (Gbit/s)"),
                alt.Tooltip("use:Q", title="Peak use (%)"),
                alt.Tooltip("gb:Q", title="Traffic a day, both ways (GB)"),
            ],
        )
    )  # fmt: skip
    return layer


def _site_layers(sites: pd.DataFrame, view: geography.View) -> list[alt.Chart]:
    x, y = view.place(sites["lat"].to_numpy(float), sites["lon"].to_numpy(float))
    served = sites["served_gb"] if "served_gb" in sites else pd.Series(0.0, sites.index)
    rows = pd.DataFrame(
        {
            "x": np.round(x, 4), "y": np.round(y, 4), "site": sites["site"].astype(str), "kind": sites["kind"].astype(str),
            "served": _short(served), "storage": _short(sites["storage_gb"]), "peak": _short(sites["peak_gbps"]),
            "throughput": _short(sites["throughput_gbps"]),
        }
    ).sort_values("served", ascending=False, kind="stable")  # fmt: skip
    kinds = [kind for kind in SITE_COLOURS if kind in set(rows["kind"])]
    base = alt.Chart(_inline(rows)).encode(longitude="x:Q", latitude="y:Q")
    circles = base.mark_point(filled=True, opacity=0.95, stroke="white", strokeWidth=1.2, clip=True).encode(
        size=alt.Size("served:Q", scale=alt.Scale(range=[40, 700], zero=True), legend=None),
        shape=alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=[_shape(k) for k in kinds]), legend=None),
        fill=alt.Fill("kind:N", scale=alt.Scale(domain=kinds, range=[SITE_COLOURS[k] for k in kinds]), legend=None),
        tooltip=[
            alt.Tooltip("site:N", title="Site"),
            alt.Tooltip("kind:N", title="Kind"),
            alt.Tooltip("served:Q", title="Served a day (GB)"),
            alt.Tooltip("storage:Q", title="Storage (GB)"),
            alt.Tooltip("peak:Q", title="Peak (Gbit/s)"),
            alt.Tooltip("throughput:Q", title="Throughput (Gbit/s)"),
        ],
    )
    apart_x, apart_y = (view.right - view.left) * 0.16, (view.top - view.bottom) * 0.045
    layers = [circles]
    for origin, offset in (
        (False, -14),
        (True, 18),
    ):  # an origin often stands where an edge site does: its name goes below
        part = _apart(rows[(rows["kind"] == "origin") == origin], apart_x, apart_y)
        if len(part):
            text = alt.Chart(_inline(part[["x", "y", "site"]])).mark_text(dy=offset, fontSize=11, clip=True)
            layers.append(text.encode(longitude="x:Q", latitude="y:Q", text="site:N"))
    return layers


def _apart(rows: pd.DataFrame, apart_x: float, apart_y: float) -> pd.DataFrame:
    """Of the first sites, those whose names do not cover one of a larger site."""
    kept: list[int] = []
    x, y = rows["x"].to_numpy(), rows["y"].to_numpy()
    for i in range(min(len(rows), MOST_LABELS)):
        if all(abs(x[i] - x[j]) > apart_x or abs(y[i] - y[j]) > apart_y for j in kept):
            kept.append(i)
    return rows.iloc[kept]


def _shape(kind: str) -> str:
    return "square" if kind == "origin" else "circle"


def _undirected(links: pd.DataFrame) -> pd.DataFrame:
    """One row a link: its busier direction, with the bytes of both; busiest first."""
    ordered = busiest(links, len(links))
    both = ordered.groupby("link", sort=False, observed=True)["gb"].transform("sum")
    return ordered.assign(gb=both).drop_duplicates("link").reset_index(drop=True)


def _peak_use(rows: pd.DataFrame) -> float:
    return float(rows["gbps"].max() / rows["capacity_gbps"].iloc[0])


def _series(names: list[str]) -> tuple[list[str], list[list[int]]]:
    """Colours and dashes: the oracle in grey, every other policy the next of the palette."""
    others = [name for name in names if name != "oracle"]
    at = {name: i % len(SERIES) for i, name in enumerate(others)}
    colours = [SERIES[at[name]] if name in at else FORESIGHT_COLOUR for name in names]
    return colours, [list(DASHES[at[name]]) if name in at else [1, 0] for name in names]


def _inline(rows: pd.DataFrame) -> alt.InlineData:
    """Rows as plain values: only JSON's own types, nothing missing written as a number."""
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    named = [{str(name): value for name, value in record.items()} for record in records]
    return alt.InlineData(values=named)


def _short(values: pd.Series) -> np.ndarray:
    """Four significant digits: what a reader can use, and a smaller page. Infinite becomes missing."""
    found = values.to_numpy(float)
    return np.array([float(f"{v:.4g}") if np.isfinite(v) else np.nan for v in found])


def _specification(chart: alt.Chart | alt.LayerChart | alt.FacetChart, *, bare: bool = False) -> dict[str, Any]:
    spec: dict[str, Any] = (
        chart.configure(
            background="transparent",
            font=FONT,
            padding=0 if bare else 5,
            autosize=alt.AutoSizeParams(type="fit-x", contains="padding"),
        )
        .configure_view(stroke=None)
        .to_dict()
    )
    return spec

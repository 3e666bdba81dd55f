"""The map: sites and link load on country outlines."""

import altair as alt
import numpy as np
import pandas as pd

from cdn.report import geography
from cdn.report.charts import Figure, Key, specification
from cdn.report.data import ReportData
from cdn.report.numbers import percent
from cdn.report.plots import inline, shorten
from cdn.report.tables import busiest

USE_STEPS = (0.25, 0.5, 0.75, 1.0)
USE_COLOURS = ("#7fb3d5", "#2c7fb8", "#e6a117", "#d95f0e", "#b2182b")
USE_LABELS = ("under 25 %", "25 to 50 %", "50 to 75 %", "75 to 100 %", "over capacity")
SITE_COLOURS = {"embedded": "#0072b2", "ix": "#009e73", "origin": "#3a3a3a"}
KIND_LABELS = {"embedded": "site in a provider's network", "ix": "site at an exchange", "origin": "origin"}
MOST_LABELS = 25
ABOVE, BELOW = -17, 18
"""Pixels from a site to its name; an origin often stands where an edge site does."""
HEIGHT = 480
"""About how many pixels the map is high on a wide screen: where a name stands, in degrees."""


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
    chart = alt.layer(*layers).properties(width="container", height="container")
    spec = specification(chart, bare=True)
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
        ratio=min(2.0, max(1.0, (view.right - view.left) / (view.top - view.bottom))),
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
    turn = 360 * np.round((x2 - x) / 360)  # a link over the view's edge leaves on one side and comes in on the other
    rows = pd.DataFrame(
        {
            "x": np.round(x, 4), "y": np.round(y, 4), "x2": np.round(x2, 4), "y2": np.round(y2, 4),
            "link": links["link"].astype(str), "towards": links["towards"].astype(str), "peak": shorten(links["peak_gbps"]),
            "capacity": shorten(links["capacity_gbps"]), "gb": shorten(links["gb"]), "use": np.round(100 * np.nan_to_num(use), 1),
            "step": [USE_LABELS[i] for i in np.searchsorted(USE_STEPS, np.nan_to_num(use), side="left")],
        }
    )  # fmt: skip
    over = rows[turn != 0]
    over = over.assign(x=over["x"] + turn[turn != 0])
    rows = pd.concat([rows.assign(x2=rows["x2"] - turn), over], ignore_index=True)
    layer: alt.Chart = (
        alt.Chart(inline(rows[::-1]))
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
            "served": shorten(served), "storage": shorten(sites["storage_gb"]), "peak": shorten(sites["peak_gbps"]),
            "throughput": shorten(sites["throughput_gbps"]),
        }
    ).sort_values("served", ascending=False, kind="stable")  # fmt: skip
    kinds = [kind for kind in SITE_COLOURS if kind in set(rows["kind"])]
    base = alt.Chart(inline(rows)).encode(longitude="x:Q", latitude="y:Q")
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
    layers = [circles]
    named = _apart(rows.assign(offset=np.where(rows["kind"] == "origin", BELOW, ABOVE)), view)
    for offset in (ABOVE, BELOW):
        part = named[named["offset"] == offset]
        if len(part):
            text = alt.Chart(inline(part[["x", "y", "site"]])).mark_text(dy=offset, fontSize=11, clip=True)
            layers.append(text.encode(longitude="x:Q", latitude="y:Q", text="site:N"))
    return layers


def _apart(rows: pd.DataFrame, view: geography.View) -> pd.DataFrame:
    """Of the origins and the first sites, those whose names do not cover one before them; an origin's name, in ``offset`` pixels, stands below it."""
    first = rows.iloc[:MOST_LABELS]
    first = pd.concat([first[first["kind"] == "origin"], first[first["kind"] != "origin"]])
    tall, wide = view.top - view.bottom, view.right - view.left
    x, y = first["x"].to_numpy(), first["y"].to_numpy() - first["offset"].to_numpy() / HEIGHT * tall
    kept: list[int] = []
    for i in range(len(first)):
        if all(abs(x[i] - x[j]) > 0.16 * wide or abs(y[i] - y[j]) > 0.045 * tall for j in kept):
            kept.append(i)
    return first.iloc[kept]


def _shape(kind: str) -> str:
    return "square" if kind == "origin" else "circle"


def _undirected(links: pd.DataFrame) -> pd.DataFrame:
    """One row a link: its busier direction, with the bytes of both; busiest first."""
    ordered = busiest(links, len(links))
    both = ordered.groupby("link", sort=False, observed=True)["gb"].transform("sum")
    return ordered.assign(gb=both).drop_duplicates("link").reset_index(drop=True)

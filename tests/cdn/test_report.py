"""The report: what stands on the page, what it never does, and the arithmetic of its map."""

import base64
import dataclasses
import hashlib
import importlib.util
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn.cli.words import policies_tables
from cdn.report import ReportData, build_report, geography, write_report
from cdn.report.charts import hit_ratio_figure
from cdn.report.map import map_figure
from cdn.report.numbers import column, number, percent, percents
from cdn.report.tables import backtest_table, policies_table, sites_table
from cdn.report.words import GLOSSARY, headlines, in_short, limits

HOSTILE = "</script><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


def _sample_module():
    spec = importlib.util.spec_from_file_location("sample_report", Path(__file__).with_name("sample_report.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sample() -> ReportData:
    return _sample_module().sample_report()


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, table cells by table, and scripts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if "script" in self._open:
            attrs, text = self.scripts[-1]
            self.scripts[-1] = (attrs, text + data)
        elif "style" not in self._open:
            self.text += data
            if "td" in self._open or "th" in self._open:
                self.tables[-1][-1][-1] += data

    def of(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(sample) -> str:
    return build_report(sample)


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_every_policy_and_its_figures_stand_in_the_table(page):
    head, *rows = page.tables[0]
    assert [row[0] for row in rows] == ["plan", "lru", "plan+lru", "plan-filled", "oracle"]
    ratio = next(i for i, cell in enumerate(head) if cell.startswith("Byte hit ratio"))
    assert [row[ratio] for row in rows] == ["88.0", "81.0", "88.5 (best)", "89.2", "91.5"]
    cost = next(i for i, cell in enumerate(head) if cell.startswith("Backbone cost"))
    assert [row[cost] for row in rows] == ["15,040", "17,980", "14,830 (best)", "14,536", "13,570"]


def test_sections_charts_and_words_are_there(page, html):
    charts = json.loads(next(text for attrs, text in page.scripts if attrs.get("id") == "charts"))
    holders = [a["id"] for a in page.of("div") if a.get("class") == "chart"]
    assert (
        list(charts)
        == holders
        == ["hit-ratio", *(f"load-{i}" for i in range(6)), "map", "price-storage", "price-throughput"]
    )
    assert all(a["aria-label"] for a in page.of("div") if a.get("role") == "img")
    for heading in ("policies", "links", "geography", "sites", "forecast", "fill", "terms"):
        assert any(a.get("id") == heading for a in page.of("section"))
    assert all(a.get("scope") in ("col", "row") for a in page.of("th"))
    for word in ("Busiest links", "smoothing", "edge offload", "2026-01-15 09:40:00", "Köln-Frankfurt"):
        assert word.lower() in page.text.lower()
    assert html.count("window.vegaEmbed=") == 1, "the scripts are inlined once"


def test_every_axis_has_a_title_with_its_unit(page):
    charts = json.loads(next(text for attrs, text in page.scripts if attrs.get("id") == "charts"))
    quantities = 0
    for spec in charts.values():
        for layer in spec.get("layer", [spec]):
            for axis in ("x", "y"):
                encoding = layer["encoding"].get(axis) if "encoding" in layer else None
                if encoding and encoding.get("type") == "quantitative" and encoding["field"] != "capacity":
                    quantities += 1
                    assert re.search(r"\(.+\)|a day", encoding["title"]), encoding
    assert quantities >= 2 + 6 * 2 + 2


def test_nothing_is_fetched_and_only_the_two_own_scripts_may_run(page, html):
    for tag, attrs in page.elements:
        for name in ("src", "href", "data", "action"):
            target = attrs.get(name)
            assert target is None or target.startswith(("#", "data:")), (tag, target)
    assert "@import" not in html.split("</style>")[0] and "url(" not in html.split("</style>")[0]
    policy = next(a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    run = [text for attrs, text in page.scripts if attrs.get("type") != "application/json"]
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    assert {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in run} == allowed and len(
        run
    ) == 2


def test_hostile_names_stay_names(sample):
    hostile = dataclasses.replace(
        sample,
        network=HOSTILE,
        sites=sample.sites.assign(site=HOSTILE),
        links=sample.links.assign(link=HOSTILE, towards=HOSTILE),
        link_load=sample.link_load.assign(link=HOSTILE),
        policies=[{**p, "policy": f"{p['policy']}{HOSTILE}"} for p in sample.policies],
        decomposition=[(HOSTILE, 1.0, HOSTILE)],
        backtest=sample.backtest.assign(model=HOSTILE),
        notes=[HOSTILE],
        fill={"gb_by_source": {HOSTILE: 1.0}, "latest_end": HOSTILE},
        cost_unit=HOSTILE,
    )
    page = Page(build_report(hostile))
    assert len(page.scripts) == 3 and not page.of("img")
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert HOSTILE in page.text
    charts = json.loads(next(text for attrs, text in page.scripts if attrs.get("id") == "charts"))
    assert HOSTILE in json.dumps(charts, ensure_ascii=False).replace('\\"', '"')


def test_an_empty_report_says_what_is_missing():
    page = Page(build_report(ReportData(network="empty", date="2026-01-01")))
    assert page.tables == [] and not [a for a in page.of("div") if a.get("class") == "chart"]
    for words in (
        "No policy was rehearsed",
        "no figures by hour",
        "No link load",
        "there is no map",
        "No prices",
        "no backtest",
        "No fill",
    ):
        assert words in page.text


def test_each_part_may_be_missing_alone(sample):
    empty = ReportData(network="x", date="2026-01-01")
    for field in dataclasses.fields(ReportData):
        if field.name not in ("network", "date", "cost_unit"):
            text = build_report(dataclasses.replace(sample, **{field.name: getattr(empty, field.name)}))
            assert "undefined" not in Page(text).text


def test_a_backtest_of_a_few_days_has_no_coverage(sample):
    short = sample.backtest.assign(coverage=np.full(len(sample.backtest), None, object))
    heads = [column.head for column in backtest_table(dataclasses.replace(sample, backtest=short)).columns]
    assert heads == ["Model", "WAPE", "Bias"]


def test_a_backtest_shows_every_score_it_has(sample):
    scores = {"mase": [0.7, 1.0, 0.9], "precision_at_10": [0.8, 0.7, 0.6], "ndcg_at_10": [0.9, 0.8, 0.8], "regret": [0.08, 0.135, 0.14], "seconds": [7.2, 0.04, 0.01]}  # fmt: skip
    table = backtest_table(dataclasses.replace(sample, backtest=sample.backtest.assign(**scores)))
    cells = {column.head: column.cells for column in table.columns}
    assert [*cells][4:] == ["MASE", "Precision@10", "NDCG@10", "Regret of the plan", "Time"]
    assert cells["Regret of the plan"] == ["8.0", "13.5", "14.0"]
    assert (table.columns[-1].unit, len(set(cells["Time"]))) == ("s", 3)


def test_missing_figures_are_dashes(sample):
    bare = dataclasses.replace(
        sample,
        policies=[
            {"policy": "plan", "byte_hit_ratio": 0.5},
            {"policy": "lru", "byte_hit_ratio": None, "backbone_gb": float("nan")},
        ],
        sites=sample.sites.drop(columns=["served_gb", "hit_share", "throughput_price"]).assign(
            storage_gb=np.nan, used_gb=np.nan
        ),
    )
    table = policies_table(bare)
    assert [c.head for c in table.columns] == ["Policy", "Byte hit ratio"] and list(table.columns[1].cells) == [
        "50.0",
        "–",
    ]
    assert "Full" not in [c.head for c in sites_table(bare).columns]
    assert "nan" not in Page(build_report(bare)).text.lower()


def test_the_page_of_fifty_sites_stays_small(sample):
    rng = np.random.default_rng(0)
    sites = pd.concat([sample.sites] * 6, ignore_index=True).iloc[:50].assign(site=[f"site {i}" for i in range(50)])
    sites = sites.assign(lat=rng.uniform(-40, 65, 50), lon=rng.uniform(-180, 180, 50))
    links = pd.concat([sample.links] * 20, ignore_index=True).assign(link=[f"link {i // 2}" for i in range(600)])
    links = links.assign(**{name: rng.uniform(-40, 65, 600) for name in ("lat", "lon", "towards_lat", "towards_lon")})
    text = build_report(dataclasses.replace(sample, sites=sites, links=links))
    assert len(text.encode()) < 3_000_000


def test_writes_the_page_whole(sample, tmp_path):
    for _ in range(2):  # the second over the first
        write_report(sample, tmp_path / "deep" / "report.html")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["report.html"]
    assert (tmp_path / "deep" / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


# Words


def test_the_first_lines_say_whether_the_plan_is_good(sample):
    text = " ".join(in_short(sample)).replace("\u00a0", " ")
    assert (
        "costs 18,433 cost units a day" in text
        and "less than 18,311" in text
        and "at most 0.659 %" in text
        and "fills make up 7.72 %" in text
    )  # 1 - 17010.4 / 18432.7
    assert "the plan serves 88.0 % of the bytes" in text and "LRU on every site serves 81.0 %" in text
    assert "16.4 % less than LRU" in text  # 1 - 15040 / 17980
    assert "byte hit ratio of 91.5 %" in text and "9.77 % below the plan's" in text  # 1 - 13570 / 15040
    assert [h.label for h in headlines(sample)] == [
        "Proven gap",
        "Saved by caching",
        "Byte hit ratio of the plan",
        "Backbone cost against LRU",
    ]
    assert headlines(sample)[1].value.startswith("82.3")  # 1 - 17010.4 / 96120


def test_the_dearest_limit_is_the_one_whose_tenth_saves_most(sample):
    sites = sample.sites.iloc[:3].assign(storage_gb=[1000.0, 1000, np.inf], throughput_gbps=[10.0, 20, np.inf])
    sites = sites.assign(storage_price=[0.1, 0.2, np.nan], throughput_price=[0.0, 1.0, np.nan])
    data = dataclasses.replace(sample, sites=sites, links=sample.links.assign(price=0.0))
    found = {kind: (total, name, part) for kind, total, name, part in limits(data)}
    assert (
        found["storage"][0] == pytest.approx(30)
        and found["storage"][1] == f"site {sites['site'].iloc[1]}"
        and found["storage"][2] == pytest.approx(20)
    )
    assert found["throughput"][0] == pytest.approx(2) and found["link capacity"][0] == 0
    assert "storage" in in_short(data)[-1] and "30.0" in in_short(data)[-1]
    free = dataclasses.replace(data, sites=sites.assign(storage_price=0.0, throughput_price=0.0))
    assert "No limit binds" in in_short(free)[-1]


def test_a_worse_plan_is_called_worse(sample):
    policies = [{**p, "backbone_cost": 100.0 if p["policy"] == "plan" else 80.0} for p in sample.policies]
    data = dataclasses.replace(sample, policies=policies)
    assert "25.0\u00a0% more than LRU" in " ".join(in_short(data))
    assert headlines(data)[-1].value.endswith("dearer")


# Numbers


def test_numbers_of_a_column_have_the_same_decimals():
    assert column([1234.5, 1.0, None, float("nan"), 0]) == ["1,234", "1", "–", "–", "0"]
    assert column([12.345, -0.5]) == ["12.35", "−0.50"]
    assert column([0.000123]) == ["0.000123"] and column([]) == [] and column([0.0]) == ["0"]
    assert percents([0.1234, None, -0.00001]) == ["12.3", "–", "0.0"]
    assert (number(0.1234), percent(0.00659), percent(None)) == ("0.123", "0.659\u00a0%", "–")


# The map


def test_mercator_of_known_latitudes():
    np.testing.assert_allclose(
        geography.mercator(np.array([0.0, 45, -45])),
        [0, np.degrees(np.log(1 + np.sqrt(2))), -np.degrees(np.log(1 + np.sqrt(2)))],
    )


def test_a_network_across_the_date_line_is_shown_in_one_piece():
    view = geography.fit_view(np.array([-41.0, 21.3, 37.8]), np.array([174.8, -157.9, -122.4]))
    x, _ = view.place(np.array([-41.0, 21.3, 37.8]), np.array([174.8, -157.9, -122.4]))
    assert view.right - view.left < 80 and (x > view.left).all() and (x < view.right).all() and (np.diff(x) > 0).all()


@given(st.lists(st.tuples(st.floats(-80, 80), st.floats(-180, 180)), min_size=1, max_size=20))
def test_a_view_holds_all_its_places(places):
    lat, lon = np.array(places).T
    view = geography.fit_view(lat, lon)
    x, y = view.place(lat, lon)
    assert (x >= view.left).all() and (x <= view.right).all() and (y >= view.bottom).all() and (y <= view.top).all()
    np.testing.assert_allclose((x - lon + 180) % 360, 180, atol=1e-6)


def test_a_link_across_the_views_edge_is_drawn_from_both_sides(sample):
    """Los Angeles to Tokyo the short way, on a map that is cut between them."""
    places = {
        "lax": (34.0, -118.0),
        "tyo": (35.7, 139.7),
        "fra": (50.1, 8.7),
        "nyc": (40.7, -74.0),
        "del": (28.6, 77.2),
    }
    ends = [("lax", "nyc"), ("nyc", "fra"), ("fra", "del"), ("del", "tyo"), ("lax", "tyo")]
    rows = [(f"{a}-{b}", b, 1.0, 1.0, 1.0, 10.0, *places[a], *places[b]) for a, b in ends]
    links = pd.DataFrame(
        rows,
        columns=[
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
        ],
    )
    spec = map_figure(dataclasses.replace(sample, links=links, sites=sample.sites.iloc[:0])).spec
    drawn_rows = spec["datasets"][spec["layer"][1]["data"]["name"]]
    drawn = [(row["x"], row["x2"]) for row in drawn_rows if row["link"] == "lax-tyo"]
    np.testing.assert_allclose(sorted(drawn), [(-118.0, 139.7 - 360), (-118.0 + 360, 139.7)], atol=1e-3)
    assert sum(row["link"] != "lax-tyo" for row in drawn_rows) == 4


def area(ring):
    if not ring:
        return 0.0
    x, y = np.array(ring).T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=3, max_size=12), st.floats(-8, 8))
def test_the_two_halves_of_a_cut_ring_have_its_area(points, at):
    ring = [*points, points[0]]
    left, right = geography.clip(ring, (-10, -10, at, 10)), geography.clip(ring, (at, -10, 10, 10))
    assert area(left) + area(right) == pytest.approx(area(ring), abs=1e-6)
    assert all(x <= at + 1e-9 for x, _ in left) and all(x >= at - 1e-9 for x, _ in right)


def test_a_square_is_cut_to_the_corner_it_shares_with_the_box():
    square = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0), (0.0, 0.0)]
    cut = geography.clip(square, (1, 3, 9, 9))
    assert abs(area(cut)) == pytest.approx(3) and geography.clip(square, (5, 5, 6, 6)) == []
    assert abs(area(geography.clip(square, (361, 3, 369, 9), shift=360.0))) == pytest.approx(3)


def inside(x, y, polygons):
    crossings = 0
    for rings in polygons:
        for ring in rings:
            (ax, ay), (bx, by) = np.array(ring[:-1]).T, np.array(ring[1:]).T
            spans = (ay > y) != (by > y)
            with np.errstate(divide="ignore", invalid="ignore"):
                crossings += int((spans & (x < ax + (y - ay) * (bx - ax) / (by - ay))).sum())
    return crossings % 2 == 1


def test_countries_across_the_date_line_and_around_the_pole_do_not_smear():
    view = geography.fit_view(np.array([-60.0, 75, 0]), np.array([-170.0, 0, 170]))
    polygons = geography.outlines(view)["geometry"]["coordinates"]
    assert (
        max(
            np.abs(np.diff(np.array(ring)[:, 0])).max()
            for rings in polygons
            for ring in rings
            if max(y for _, y in ring) > -60
        )
        < 45
    )
    for lat, lon, land in (
        (67.0, 178.0, True),
        (67.0, -178.0, True),
        (68.0, 0.0, False),
        (-80.0, 0.0, True),
        (-80.0, 179.0, False),
        (-82, 100.0, True),
    ):
        (x,), (y,) = view.place(np.array([lat]), np.array([lon]))
        assert inside(x, y, polygons) == land, (lat, lon)


def test_land_is_land_and_sea_is_sea():
    view = geography.fit_view(np.array([47.0, 55.0]), np.array([6.0, 15.0]))
    polygons = geography.outlines(view)["geometry"]["coordinates"]
    for lat, lon, land in (
        (52.5, 13.4, True),
        (48.1, 11.6, True),
        (50.8, 4.4, True),
        (54.5, 6.0, False),
        (55.2, 15.6, False),
    ):
        (x,), (y,) = view.place(np.array([lat]), np.array([lon]))
        assert inside(x, y, polygons) == land, (lat, lon)


def test_the_plan_is_drawn_on_top_and_stays_first_in_the_legend(sample):
    figure = hit_ratio_figure(sample)
    (values,) = figure.spec["datasets"].values()
    drawn = list(dict.fromkeys(row["policy"] for row in values))
    assert drawn[-1] == "plan"
    assert figure.keys[0].label == "plan"


def test_every_policy_and_score_is_explained(sample):
    terms = " ".join(term for term, _ in GLOSSARY).lower()
    heads = [c.head for c in backtest_table(sample).columns[1:]] + list(sample.by_hour["policy"].unique())
    assert not [head for head in heads if head.lower() not in terms and head not in ("Time", "plan")]


@pytest.mark.parametrize(
    ("better", "said"), [({}, False), ({"backbone_cost": 0.5}, True), ({"byte_hit_ratio": 0.99}, True)]
)
def test_a_plan_better_than_the_oracle_is_explained(sample, better, said):
    policies = [{**p, **better} if p["policy"] == "plan" else p for p in sample.policies]
    assert ("The oracle is no bound" in build_report(dataclasses.replace(sample, policies=policies))) == said
    figures = {str(p["policy"]): {"misses": {}, "fetched_gb": 0.0, **p} for p in policies}
    assert any("The oracle is no bound" in str(part) for part in policies_tables(figures)) == said
    del figures["oracle"]
    assert not any("The oracle" in str(part) for part in policies_tables(figures))

"""The report in a real browser, without a network."""

import dataclasses
import importlib.util
import shutil
from pathlib import Path

import pytest

from cdn.report import ReportData, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

HOSTILE = "</script><script>window.hurt=1</script><img src=x onerror='window.hurt=2'>"


@pytest.fixture(scope="module")
def sample() -> ReportData:
    spec = importlib.util.spec_from_file_location(
        "sample_report", Path(__file__).parents[1] / "cdn" / "sample_report.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.sample_report()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class Visit:
    """A page opened offline, with all it asked for and said."""

    def __init__(self, browser, path: Path, **options) -> None:
        self.context = browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.on("console", lambda m: self.messages.append(f"{m.type}: {m.text}"))
        self.page.on("pageerror", lambda e: self.messages.append(f"error: {e}"))
        self.page.goto(path.as_uri())

    def charts(self, count: int) -> None:
        self.page.wait_for_function(f"document.querySelectorAll('.chart svg').length >= {count}", timeout=20_000)


@pytest.fixture
def visit(browser):
    visits: list[Visit] = []

    def open_page(path: Path, **options) -> Visit:
        visits.append(Visit(browser, path, **options))
        return visits[-1]

    yield open_page
    for v in visits:
        v.context.close()


def test_the_page_draws_everything_and_fetches_nothing(sample, visit, tmp_path):
    write_report(sample, tmp_path / "report.html")
    seen = visit(tmp_path / "report.html", viewport={"width": 1280, "height": 900})
    seen.charts(10)
    assert seen.messages == []
    assert all(url.startswith(("file:", "data:")) for url in seen.requests), seen.requests
    page = seen.page
    for chart, marks in (("hit-ratio", "path"), ("load-0", "path"), ("map", "path"), ("price-storage", "path")):
        box = page.locator(f"#{chart} svg").bounding_box()
        assert box["width"] > 200 and box["height"] > 100, chart
        assert page.locator(f"#{chart} svg {marks}").count() > 3, chart
    rows = page.locator("#policies table").first.locator("tbody th").all_inner_texts()
    assert rows == ["plan", "lru", "plan+lru", "plan-filled", "oracle"]
    assert "Byte hit ratio (%)" in page.locator("#hit-ratio").text_content()
    assert "Hamburg edge" in page.locator("#map").text_content()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_pointing_at_a_site_shows_its_figures(sample, visit, tmp_path):
    write_report(sample, tmp_path / "report.html")
    seen = visit(tmp_path / "report.html", viewport={"width": 1280, "height": 900})
    seen.charts(10)
    site = seen.page.locator("#map .mark-symbol path").first
    site.scroll_into_view_if_needed()
    site.hover(force=True)
    tip = seen.page.locator("#vg-tooltip-element")
    tip.wait_for(state="visible", timeout=5_000)
    assert "Served a day (GB)" in tip.inner_text() and "edge" in tip.inner_text()


def test_a_phone_needs_no_sideways_scrolling(sample, visit, tmp_path):
    write_report(sample, tmp_path / "report.html")
    seen = visit(tmp_path / "report.html", viewport={"width": 390, "height": 844}, color_scheme="dark")
    seen.charts(10)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert seen.messages == []


def test_hostile_names_run_nothing(sample, visit, tmp_path):
    hostile = dataclasses.replace(
        sample, network=HOSTILE, sites=sample.sites.assign(site=HOSTILE), links=sample.links.assign(link=HOSTILE)
    )
    write_report(hostile, tmp_path / "report.html")
    seen = visit(tmp_path / "report.html", viewport={"width": 1280, "height": 900})
    seen.charts(8)
    site = seen.page.locator("#map .mark-symbol path").first
    site.scroll_into_view_if_needed()
    site.hover(force=True)
    seen.page.locator("#vg-tooltip-element").wait_for(state="visible", timeout=5_000)
    assert seen.page.evaluate("window.hurt") is None and seen.page.locator("img").count() == 0
    assert HOSTILE in seen.page.locator("h1").inner_text()
    assert seen.messages == []


def test_an_empty_report_opens_quietly(visit, tmp_path):
    write_report(ReportData(network="empty", date="2026-01-01"), tmp_path / "report.html")
    seen = visit(tmp_path / "report.html")
    assert "No policy was rehearsed" in seen.page.locator("#policies").inner_text()
    assert seen.messages == [] and seen.page.locator(".chart").count() == 0

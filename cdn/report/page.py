"""The page: figures, tables and words put into the template, with everything inlined."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import jinja2

from cdn.documents import obstacle
from cdn.report import charts, tables, words
from cdn.report.charts import Figure
from cdn.report.data import ReportData
from cdn.report.map import map_figure
from cdn.report.tables import Table
from topology.errors import InputError, Problem

SIGNED = b"Written by fillplan."
"""What every report says at its end."""

SCRIPT = """(() => {
  const options = { actions: false, ast: true, renderer: "svg", defaultStyle: false, tooltip: { offsetX: 12, offsetY: 12 } };
  const charts = JSON.parse(document.getElementById("charts").textContent);
  for (const [id, spec] of Object.entries(charts)) {
    window.vegaEmbed(document.getElementById(id), spec, options).catch((error) => {
      console.error(id, error);
      document.getElementById(id).textContent = "This chart could not be drawn; the tables hold its figures.";
    });
  }
})();
"""


def build_report(report: ReportData) -> str:
    """The report as one HTML page that fetches nothing.

    Every chart's data, the scripts and the styles are inline; the page's own content policy forbids everything else, so a name
    that looks like markup stays a name.

    Parameters
    ----------
    report
        What to show; empty parts are left out with a sentence.
    """
    places = report.sites["lat"].notna().any() or report.links["lat"].notna().any()
    figures = {
        "hit_ratio": [charts.hit_ratio_figure(report)] if (report.by_hour["gb"].astype(float) > 0).any() else [],
        "loads": charts.load_figures(report),
        "map": [map_figure(report)] if places else [],
        "prices": charts.price_figures(report),
    }
    engine, specs = charts.javascript(), _specs([f for part in figures.values() for f in part])
    template = _environment().get_template("template.html.j2")
    return template.render(
        report=report,
        headlines=words.headlines(report),
        sentences=words.in_short(report),
        glossary=words.GLOSSARY,
        figures=figures,
        tables=_tables(report),
        specs=specs,
        engine=engine,
        script=SCRIPT,
        policy=_content_policy(engine, SCRIPT),
    )


def refuse_no_report(path: Path) -> None:
    """Raise InputError unless a report could be written there: over nothing, or over a report. Asked before the work."""
    if path.is_dir():
        message = "a folder has this name"
    elif not path.exists():
        message = obstacle(path.parent)
    else:
        page = path.read_bytes()
        message = "" if page.startswith(b"<!DOCTYPE html>") and SIGNED in page else "the file is there and no report"
    if message:
        mend = "write under another name, or remove what is in the way"
        raise InputError(Problem(table="arguments", column="--output", value=str(path), message=message, mend=mend))


def write_report(report: ReportData, path: Path) -> None:
    """Write the page whole or not at all.

    Raises
    ------
    InputError
        If something else is in its place (:func:`refuse_no_report`).
    """
    refuse_no_report(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(build_report(report), "utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _tables(report: ReportData) -> dict[str, Table | None]:
    return {
        "policies": tables.policies_table(report) if report.policies else None,
        "misses": tables.misses_table(report),
        "decomposition": tables.decomposition_table(report) if report.decomposition else None,
        "links": tables.links_table(report) if len(report.links) else None,
        "sites": tables.sites_table(report) if len(report.sites) else None,
        "backtest": tables.backtest_table(report) if len(report.backtest) else None,
        "fill": tables.fill_table(report) if report.fill else None,
    }


def _specs(figures: Sequence[Figure]) -> str:
    """All specifications as JSON that may stand inside a script element."""
    text = json.dumps({f.id: f.spec for f in figures}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return (
        text.replace("&", "\\u0026")
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )


def _content_policy(*scripts: str) -> str:
    """Only these two scripts may run, and nothing may be fetched."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def _environment() -> jinja2.Environment:
    template = (resources.files("cdn.report") / "template.html.j2").read_text("utf-8")
    return jinja2.Environment(
        loader=jinja2.DictLoader({"template.html.j2": template}),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

"""The night as a whole, its report, and why a file is where it is."""

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cdn import console
from cdn.cli.options import AsJson, NetworkFolder, app, refuse_unwritable
from cdn.cli.words import (
    night_lines,
)
from cdn.explain import explain as explain_file
from cdn.gather import gather, gather_rehearsal
from cdn.nightly import BEFORE, run_night
from cdn.plan import read_placement, read_plan
from cdn.report import write_report
from cdn.settings import read_settings
from demand.catalogue import read_catalogue
from topology.errors import InputError, Problem
from topology.network import read_network


@app.command()
def nightly(
    folder: NetworkFolder,
    date: Annotated[
        dt.datetime,
        typer.Option("--for", formats=["%Y-%m-%d"], help="The day to plan for; only earlier days of the log are used."),
    ],
    as_json: AsJson = False,
) -> None:
    """Run the whole night: ingest, forecast, place, fill, rehearse, publish. Safe to kill and to run again."""
    settings = read_settings(folder)
    result = run_night(folder, date.date(), settings, progress=console.say)
    console.emit(asdict(result), as_json, night_lines(result))


@app.command()
def report(
    folder: NetworkFolder,
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write; it works offline.")],
    plan: Annotated[
        Path | None, typer.Option(help="Plan folder, with --rehearsal; default: the published plan.")
    ] = None,
    rehearsal: Annotated[
        Path | None, typer.Option(help="Folder that simulate -o wrote for --plan; default: the rehearsal of the night.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the capacity-planning report of the published plan, or of a plan and its rehearsal, as one HTML file."""
    if (plan is None) != (rehearsal is None):
        given, other = ("--rehearsal", "--plan") if plan is None else ("--plan", "--rehearsal")
        message, mend = f"{given} without {other}", "give both, or neither for the published plan"
        raise InputError(Problem(table="arguments", column=given, message=message, mend=mend))
    refuse_unwritable("--output", output.parent)
    with console.stage("report"):
        found = (
            gather_rehearsal(folder, plan, rehearsal) if plan and rehearsal else gather(folder, read_settings(folder))
        )
        write_report(found, output)
    console.emit({"path": output}, as_json, [f"report: {output}"])


@app.command()
def explain(
    folder: NetworkFolder,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan folder.")],
    site: Annotated[str, typer.Option(help="Site.")],
    file: Annotated[str, typer.Option(help="File.")],
    previous: Annotated[
        Path | None,
        typer.Option(
            help="Plan folder of the night before, whose copies need no fill; by default PLAN/before where there is one."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say why a file is, or is not, at a site: what it would save there, the site's price, its rank, what would have to change."""
    network, catalogue = read_network(folder), read_catalogue(folder)
    earlier = previous or (plan / BEFORE if (plan / BEFORE).is_dir() else None)
    before = None if earlier is None else read_placement(earlier, network, catalogue)
    found = explain_file(network, catalogue, read_plan(plan, network, catalogue), site, file, before)
    console.emit(asdict(found), as_json, [found.sentence.replace(": ", ":\n  ", 1).replace("; ", ";\n  ")])

"""The command itself, and the arguments that several verbs share."""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from cdn.documents import obstacle
from topology.errors import InputError, Problem

app = typer.Typer(
    name="fillplan",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="""Plan which files go to which edge appliances tonight, with a proven gap, and rehearse the plan before it is filled.

A first evening: `fillplan new demo`, then `fillplan nightly demo --for 2026-01-15`, then `fillplan report demo -o report.html`.

Every verb takes `--json`: stdout is then one JSON document. Exit status: 0 done, 2 wrong input, 3 no feasible plan, 4 refused by a guardrail, 1 a defect.
""",
)


importers = typer.Typer(
    no_args_is_help=True, help="Bring in real inputs: topologies, demand, playback logs, benchmark instances."
)


app.add_typer(importers, name="import")


NetworkFolder = Annotated[Path, typer.Argument(metavar="NETWORK", help="Folder of a network.")]


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


DemandFile = Annotated[Path, typer.Option("--demand", help="Demand table, .csv or .parquet.")]


Seed = Annotated[int, typer.Option(min=0, help="Seed of every random draw.")]


Day = Annotated[dt.datetime, typer.Option(formats=["%Y-%m-%d"])]


def refuse_unwritable(option: str, folder: Path) -> None:
    """Raise InputError if a folder can be neither made nor written to; asked before long work whose result goes there."""
    if message := obstacle(folder):
        mend = "give another folder"
        raise InputError(Problem(table="arguments", column=option, value=str(folder), message=message, mend=mend))

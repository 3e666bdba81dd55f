"""``fillplan import``: real inputs from elsewhere."""

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from cdn import console
from cdn.cli.options import AsJson, NetworkFolder, Seed, importers
from cdn.cli.words import next_night
from cdn.hashcode import import_hashcode
from cdn.sample import new_folder, refuse_to_overwrite, regrow_fleet, write_backbone
from cdn.trace import BITRATE_KBPS, OBJECT_MB, TIME_UNITS, import_trace
from demand.logs import import_log
from demand.netflix import import_netflix
from sim.traces import FORMATS
from topology.errors import InputError, Problem
from topology.importers import Backbone, read_graphml, read_sndlib, read_topohub


@importers.command("graphml")
def import_graphml(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="GraphML file (Topology Zoo), or ARCHIVE.tar.xz:member.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New network folder.")],
    sites: Annotated[int, typer.Option(min=1, help="Edge sites to grow.")] = 10,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """A backbone from GraphML, with a sample fleet grown on it; every node becomes a region."""
    _write_topology(read_graphml(source), folder, sites, seed, as_json)


@importers.command("sndlib")
def import_sndlib(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="SNDlib XML file, or ARCHIVE.tar.xz:member.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New network folder.")],
    sites: Annotated[int, typer.Option(min=1, help="Edge sites to grow.")] = 10,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """A backbone from SNDlib XML, with a sample fleet grown on it; every node becomes a region."""
    _write_topology(read_sndlib(source), folder, sites, seed, as_json)


@importers.command("topohub")
def import_topohub(
    key: Annotated[str, typer.Argument(metavar="KEY", help="TopoHub key: sndlib/germany50, topozoo/Abilene, …")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New network folder.")],
    sites: Annotated[int, typer.Option(min=1, help="Edge sites to grow.")] = 10,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """A backbone from TopoHub, with a sample fleet grown on it; every node becomes a region."""
    _write_topology(read_topohub(key), folder, sites, seed, as_json)


@importers.command("netflix")
def import_netflix_files(
    source: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Folder with the Top 10 files and the engagement report, at any depth."),
    ],
    folder: NetworkFolder,
    week: Annotated[
        dt.datetime, typer.Option(formats=["%Y-%m-%d"], help="Last week, named by its Sunday as in the file.")
    ],
    country: Annotated[
        str | None,
        typer.Option(help="ISO code whose list every region follows; default: each region its nearest country's."),
    ] = None,
    weeks: Annotated[int, typer.Option(min=1, help="Weeks of log, ending with that one.")] = 3,
    titles: Annotated[int, typer.Option(min=20, help="Titles of the catalogue, the most viewed.")] = 1500,
    sessions_per_day: Annotated[int, typer.Option(min=1, help="Sessions a day, all regions together.")] = 40_000,
    fit_fleet: Annotated[bool, typer.Option(help="Grow the fleet anew for this catalogue and this peak.")] = True,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """A catalogue and a playback log drawn from Netflix's published Top 10 lists and engagement reports."""
    with console.stage("import netflix"):
        counts = import_netflix(
            source, folder, country=country, week=week.date(), weeks=weeks, titles=titles, sessions_per_day=sessions_per_day,
            seed=seed, progress=console.say,
        )  # fmt: skip
        if fit_fleet:
            regrow_fleet(folder, seed=seed)
    text = [", ".join(f"{n:,} {what}" for what, n in counts.items()), next_night(folder)]
    console.emit({"path": folder, "counts": counts}, as_json, text)


@importers.command("log")
def import_playback_log(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Log of sessions: .csv, .csv.gz or .parquet.")],
    folder: NetworkFolder,
    column: Annotated[
        list[str] | None, typer.Option(help="OURS=THEIRS for each of start, region, title, profile, seconds, gb.")
    ] = None,
    gb_per_unit: Annotated[float, typer.Option(help="GB in one unit of the size column: 1e-9 for bytes.")] = 1.0,
    profile: Annotated[str | None, typer.Option(help="Profile of every session where the log names none.")] = None,
    as_json: AsJson = False,
) -> None:
    """A playback log of your own, with a column map."""
    pairs = [part.partition("=") for part in column or []]
    wrong = next((ours + sign + theirs for ours, sign, theirs in pairs if not (sign and theirs)), None)
    if wrong:
        raise InputError(
            Problem(
                table="arguments",
                column="--column",
                value=wrong,
                message="not a column map",
                mend="write --column start=ts",
            )
        )
    with console.stage(f"import {source}"):
        counts = import_log(
            source, folder, {ours: theirs for ours, _, theirs in pairs}, gb_per_unit=gb_per_unit, profile=profile
        )
    text = f"{counts['sessions']:,} sessions, {counts['days']:,} days"
    if counts["left_out"]:
        text += f"; {counts['left_out']:,} rows of zero bytes left out"
    console.emit({"path": folder, "counts": counts}, as_json, [text])


@importers.command("trace")
def import_request_trace(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="Request trace, as it is or packed (.gz, .bz2, .zst), oldest request first."
        ),
    ],
    folder: NetworkFolder,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", help=f"One of {', '.join(FORMATS)}; default: guessed from the name and the first bytes."
        ),
    ] = None,
    time_col: Annotated[
        int | None, typer.Option(min=1, help="CSV: column of the time, counted from 1 [default: 1].")
    ] = None,
    obj_id_col: Annotated[
        int | None, typer.Option(min=1, help="CSV: column of the object's name [default: 2].")
    ] = None,
    obj_size_col: Annotated[
        int | None, typer.Option(min=0, help="CSV: column of the bytes, 0 if there is none [default: 3].")
    ] = None,
    client_col: Annotated[int | None, typer.Option(min=1, help="CSV: column of the client, if there is one.")] = None,
    delimiter: Annotated[str | None, typer.Option(help="CSV: what stands between columns [default: a comma].")] = None,
    has_header: Annotated[bool, typer.Option("--has-header", help="CSV: the first row names the columns.")] = False,
    time_unit: Annotated[str, typer.Option(help=f"Unit of the times: {', '.join(TIME_UNITS)}.")] = "s",
    start: Annotated[
        dt.datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"],
            help="When the first request came (UTC). Default: as the trace has it if it counts from 1970, else 2026-01-01.",
        ),
    ] = None,
    bitrate_kbps: Annotated[
        float, typer.Option(help="Bit rate of every session: how long it lasts for its bytes.")
    ] = BITRATE_KBPS,
    object_mb: Annotated[
        float | None,
        typer.Option(help=f"Size of every object of a trace without sizes, in MB [default: {OBJECT_MB:g}]."),
    ] = None,
    fit_fleet: Annotated[
        bool,
        typer.Option(
            help="Grow sites and appliances anew for this catalogue and this peak: for imported topologies, whose fleet has a nominal size."
        ),
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """A catalogue and a playback log from a request trace: libCacheSim's oracleGeneral and CSV, or the YouTube traces of UMass.

    Each object becomes a title with one file, as large as the largest request for it; each request a session of its bytes, on the day it came.
    Clients are drawn to the regions in proportion to subscribers, each once for all its requests; where the trace names no clients, every request
    is drawn by itself.
    """
    columns = {
        "time": time_col, "file": obj_id_col, "size": obj_size_col, "client": client_col,
        "delimiter": None if delimiter is None else delimiter.replace("\\t", "\t"), "header": has_header or None,
    }  # fmt: skip
    with console.stage(f"import {source}"):
        counts = import_trace(
            source, folder, form=form, columns={name: given for name, given in columns.items() if given is not None},
            time_unit=time_unit, object_mb=object_mb, bitrate_kbps=bitrate_kbps, first=start, seed=seed,
        )  # fmt: skip
        if fit_fleet:
            regrow_fleet(folder, seed=seed)
    left_out = counts["left_out"]
    told = [f"{n:,} {what}" for what, n in counts.items() if what != "left_out" and (n or what != "clients")]
    text = [
        ", ".join(told) + (f"; {left_out:,} requests of zero bytes left out" if left_out else ""),
        "Sites and appliances "
        + ("were grown anew for it" if fit_fleet else "stay as they are; --fit-fleet would have grown them for it"),
        next_night(folder),
    ]
    console.emit({"path": folder, "counts": counts}, as_json, text)


@importers.command("hashcode")
def import_hashcode_instance(
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="Instance of Hash Code 2017 'Streaming videos', .in or .in.gz.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="New network folder; its demand is DIR/demand.parquet.")
    ],
    as_json: AsJson = False,
) -> None:
    """A placement benchmark instance as a network: cost is latency paid, sizes count against storage only."""
    refuse_to_overwrite(folder)
    with console.stage(f"import {source}"), new_folder(folder) as draft:
        counts = import_hashcode(source, draft)
    text = [
        ", ".join(f"{n:,} {what}" for what, n in counts.items()),
        f"Next: fillplan place {folder} --demand {folder}/demand.parquet -o plan",
    ]
    console.emit({"path": folder, "counts": counts}, as_json, text)


def _write_topology(backbone: Backbone, folder: Path, sites: int, seed: int, as_json: bool) -> None:
    counts = write_backbone(folder, backbone, sites=sites, seed=seed)
    text = [
        ", ".join(f"{n:,} {what}" for what, n in counts.items()),
        f"Next: import a demand, such as fillplan import netflix DATA {folder} --week 2022-07-31 or fillplan import trace TRACE {folder} --fit-fleet",
    ]
    console.emit({"path": folder, "counts": counts}, as_json, text)

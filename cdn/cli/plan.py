"""Verbs that make a network, a forecast, a plan and its fills."""

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from cdn import console
from cdn.check import check as check_network
from cdn.cli.lists import ListOptions, is_list_file, run_list_forecast
from cdn.cli.options import AsJson, DemandFile, NetworkFolder, Seed, app, refuse_unwritable
from cdn.cli.words import (
    cost_line,
    next_night,
    search_line,
    unproven_lines,
)
from cdn.gather import published_plan
from cdn.jobs import make_forecast, place_demand, schedule_night
from cdn.nightly import NIGHT
from cdn.placement.verify import TOLERANCE
from cdn.placement.verify import verify as verify_plan
from cdn.plan import read_placement, read_plan, read_prices, refuse_foreign, refuse_overfull, write_plan
from cdn.report.numbers import column, number, percent, percents
from cdn.robust import place_robust
from cdn.sample import SampleSize, write_sample
from cdn.settings import read_settings
from demand.catalogue import read_catalogue
from demand.demand import read_demand, write_demand
from demand.forecast import BASELINES, FORECASTERS, available_forecasters
from demand.forecast.lists import LIST_MODELS
from demand.playback import playback_dates
from demand.scenarios import demand_quantile
from topology.errors import InputError, Problem
from topology.network import read_network
from topology.placement import Placement
from topology.tables import find_table, refuse_no_table


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the network.")],
    topology: Annotated[
        str, typer.Option(help="TopoHub key of the backbone: sndlib/germany50, topozoo/Abilene, …")
    ] = "sndlib/nobel-germany",
    sites: Annotated[int, typer.Option(min=1, help="Edge sites, at the best-connected nodes.")] = 8,
    regions: Annotated[int, typer.Option(min=1, help="Regions, one a node.")] = 12,
    titles: Annotated[int, typer.Option(min=1, help="Titles; each has one file a rung of the ladder.")] = 150,
    days: Annotated[int, typer.Option(min=1, help="Days of playback log, from 2026-01-01.")] = 15,
    sessions_per_day: Annotated[int, typer.Option(min=1, help="Mean playback sessions a day.")] = 20_000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Write a complete sample network: topology, fleet, catalogue and playback log.

    The laws behind the log (popularity, taste, launches, the day's curve) are fitted to published data: docs/workload.md.
    """
    refuse_unwritable("DIR", folder)
    size = SampleSize(sites=sites, regions=regions, titles=titles, days=days, sessions_per_day=sessions_per_day)
    with console.stage(f"sample network on {topology}"):
        counts = write_sample(folder, size, topology=topology, seed=seed, progress=console.say)
    text = [", ".join(f"{n:,} {what}" for what, n in counts.items()), next_night(folder)]
    console.emit({"path": folder, "counts": counts}, as_json, text)


@app.command()
def check(folder: NetworkFolder, as_json: AsJson = False) -> None:
    """Validate everything in a network folder and say all that is wrong at once, each with its mend.

    Rows are counted from 1 below the header.
    """
    with console.stage(f"check {folder}"):
        problems = check_network(folder)
    document = {"ok": not problems, "problems": [p.as_dict() for p in problems]}
    console.emit(document, as_json, [str(p) for p in problems] or ["ok: nothing is wrong"])
    if problems:
        raise typer.Exit(console.WRONG_INPUT)


@app.command()
def forecast(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="NETWORK|LISTS",
            help="Folder of a network, or a file of weekly Top 10 lists by country: .tsv or .csv, also .gz, in the form of Netflix's all-weeks-countries.tsv.",
        ),
    ],
    date: Annotated[
        dt.datetime | None,
        typer.Option(
            "--for",
            formats=["%Y-%m-%d"],
            help="The day to predict; only earlier days are read. Of lists, a day of the week to predict; only weeks that end before it are used. "
            "Default: the day, or week, after the last one.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Table to write, .csv or .parquet: the demand, or the lists; may be left out with --backtest, and of lists.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(FORECASTERS)}; default: the setting forecast.model. "
            f"Of lists: {', '.join(LIST_MODELS)}; default: boosted-calendar with --calendar, else boosted."
        ),
    ] = None,
    calendar: Annotated[
        Path | None,
        typer.Option(
            help="Of lists: release calendar, a CSV with title and release_date (optionally kind, runtime_minutes), such as Netflix's engagement report. "
            "Releases after the week to predict are not used."
        ),
    ] = None,
    origins: Annotated[
        int, typer.Option(min=0, help="Days, or weeks, of the rolling-origin backtest; 0 for none.")
    ] = 5,
    full_backtest: Annotated[
        bool,
        typer.Option(
            "--backtest",
            help="Of a network: test every model that can run here, and cost the plan made from each forecast (regret).",
        ),
    ] = False,
    save_model: Annotated[Path | None, typer.Option(help="Folder to write the fitted model to.")] = None,
    load_model: Annotated[
        Path | None, typer.Option(help="Folder of a fitted model to predict with, instead of fitting one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict a day's demand from the playback log of a network, or next week's published lists, and test models on the days or weeks before.

    Of a network: `fillplan forecast mynet --for 2026-01-10 -o demand.parquet`. The table is what `place` plans for.

    Of lists: `fillplan forecast all-weeks-countries.tsv.gz --calendar ENGAGEMENT.csv.gz -o next.csv`. The table has, for each country and category that has a list in
    the last week, ten rows: week (the day it ends), country, category, rank, title, chance (that the title is listed at all), weeks_before (in this list so far).
    It needs the extra `fillplan[forecast]`, except for --model last-value, which tells no chance. The backtest shows the model beside last-value, the list of the week before.
    """
    _refuse_two_models(model, load_model)
    if output is not None:
        refuse_no_table(output)
        refuse_unwritable("--output", output.parent)
    if save_model is not None:
        refuse_unwritable("--save-model", save_model)
    day = date.date() if date else None
    if is_list_file(source):
        if full_backtest:
            message, mend = (
                "a forecast of lists costs no plan",
                "leave --backtest: --origins says how many weeks are tested",
            )
            raise InputError(Problem(table="arguments", column="--backtest", message=message, mend=mend))
        options = ListOptions(
            date=day, calendar=calendar, output=output, model=model, origins=origins, save_model=save_model, load_model=load_model
        )  # fmt: skip
        run_list_forecast(source, options, as_json)
        return
    if calendar is not None:
        message = "a network has no use for --calendar"
        mend = "leave it (release dates of a network stand in its table titles), or give a file of weekly lists"
        raise InputError(
            Problem(table="arguments", column="--calendar", value=str(calendar), message=message, mend=mend)
        )
    _forecast_demand(
        source, day, output, model=model, origins=origins, full_backtest=full_backtest, save_model=save_model, load_model=load_model, as_json=as_json
    )  # fmt: skip


def _refuse_two_models(model: str | None, load_model: Path | None) -> None:
    if model is not None and load_model is not None:
        message, mend = "both --model and --load-model", "give one of them: a saved model knows its name"
        raise InputError(Problem(table="arguments", column="--load-model", message=message, mend=mend))


def _forecast_demand(
    folder: Path, date: dt.date | None, output: Path | None, *, model: str | None, origins: int, full_backtest: bool, save_model: Path | None,
    load_model: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """``forecast`` of a network."""
    settings = read_settings(folder)
    network, catalogue = read_network(folder), read_catalogue(folder)
    if output is None and not full_backtest:
        message, mend = "nowhere to write the demand", "add -o demand.parquet, or ask for --backtest alone"
        raise InputError(Problem(table="arguments", column="--output", message=message, mend=mend))
    day = date or _day_after_log(folder)
    with console.stage(f"forecast {day}"):
        made = make_forecast(
            folder, network, catalogue, day, settings, model=model or settings.forecast.model, origins=origins,
            against=available_forecasters() if full_backtest else BASELINES, regret=full_backtest, saved=load_model,
            save=save_model,
        )  # fmt: skip
    for note in made.notes:
        console.say(f"note: {note}")
    if output is not None:
        write_demand(made.demand, network.region_ids, catalogue.file_ids, output)
    rows = made.backtest.to_dict("records")
    scores = console.columns(
        [
            ("backtest", [r["model"] for r in rows]),
            ("WAPE %", percents([r["wape"] for r in rows])),
            ("bias %", percents([r["bias"] for r in rows])),
            ("MASE", column([r["mase"] for r in rows], 3)),
            ("p10-p90 holds %", percents([r["coverage"] for r in rows])),
            ("prec@10", column([r["precision_at_10"] for r in rows], 3)),
            ("NDCG@10", column([r["ndcg_at_10"] for r in rows], 3)),
            *([("regret %", percents([r["regret"] for r in rows]))] if full_backtest else []),
            ("s", column([r["seconds"] for r in rows], 3)),
        ]
    )
    written = "" if output is None else f" -> {output}"
    summary = f"{made.model}: {len(made.demand):,} rows, {made.demand.gb.sum():,.0f} GB for {day}{written}"
    console.emit(
        {
            "model": made.model,
            "date": day,
            "rows": len(made.demand),
            "backtest": rows,
            "notes": [note.as_dict() for note in made.notes],
            "path": output,
        },
        as_json,
        [scores, summary] if rows else [summary],
    )


@app.command()
def place(
    folder: NetworkFolder,
    demand: DemandFile,
    output: Annotated[Path, typer.Option("-o", "--output", help="Plan folder to write.")],
    previous: Annotated[
        Path | None,
        typer.Option(help="Last night's plan folder: what it holds costs no fill, and its prices are the start."),
    ] = None,
    gap: Annotated[
        float | None, typer.Option(min=0, help="Stop at this proven gap; default: the setting placement.gap.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(min=0, help="Seconds the solver may take; default: placement.time_limit_s.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="auto, exact, lagrangian or greedy; default: the setting placement.method.")
    ] = None,
    solver: Annotated[str | None, typer.Option(help="highs or cbc; default: the setting placement.solver.")] = None,
    quantile: Annotated[
        float | None,
        typer.Option(
            "--demand-quantile", help="Plan for this quantile of the demand's band, 0.1 to 0.9, not its mean."
        ),
    ] = None,
    scenarios: Annotated[
        int | None, typer.Option(help="Draw so many days from the band, and take the plan that costs least on average.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Decide which appliance stores which file, at least cost, with a proven gap.

    Ctrl-C ends the search and writes the best plan so far with its gap; a second one leaves without a plan.
    With --demand-quantile or --scenarios the plan is made for another demand than the one given: it stands in the plan folder.
    """
    if quantile is not None and scenarios is not None:
        message, mend = "both --demand-quantile and --scenarios", "give one of them"
        raise InputError(Problem(table="arguments", column="--scenarios", message=message, mend=mend))
    settings = read_settings(
        folder, {"placement": {"gap": gap, "time_limit_s": time_limit, "method": method, "solver": solver}}
    )
    network, catalogue = read_network(folder), read_catalogue(folder)
    wanted = read_demand(demand, network.region_ids, catalogue.file_ids, peak_to_mean=settings.demand.peak_to_mean)
    refuse_foreign(output)
    _refuse_published(output)
    refuse_unwritable("--output", output.parent)
    before = read_placement(previous, network, catalogue, own=True) if previous else None
    prices = read_prices(previous, network) if previous and find_table(previous, "prices") else None
    candidates: list[dict[str, Any]] = []
    with (
        console.live(f"place {len(catalogue.files):,} files at {len(network.sites):,} sites") as show,
        console.interrupt() as stop,
    ):
        if scenarios is not None:
            robust = place_robust(
                network, catalogue, wanted, settings, before, scenarios=scenarios, seed=seed, stop=stop
            )
            plan, candidates = robust.plan, robust.candidates
        else:
            planned = wanted if quantile is None else demand_quantile(wanted, quantile)
            plan = place_demand(
                network, catalogue, planned, settings, before, prices=prices, stop=stop,
                progress=lambda r: show(search_line(r)),
            )  # fmt: skip
    write_plan(plan, network, catalogue, output)
    s = plan.summary
    text = [
        f"{s['method']}: {s['reason']}",
        cost_line(s),
        f"{len(plan.placement):,} copies stored -> {output}   ({s['seconds']:.1f} s)",
    ]
    text += [
        f"rates {c['rates']}: mean cost of {scenarios} scenarios {c['mean_cost']:,.6g}, worst {c['worst_cost']:,.6g}"
        + (" (chosen)" if c["chosen"] else "")
        for c in candidates
    ]
    extra = {"candidates": candidates} if candidates else {}
    console.emit({**s, **extra, "path": output}, as_json, text)


@app.command()
def verify(
    folder: NetworkFolder,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan folder.")],
    demand: DemandFile,
    previous: Annotated[
        Path | None,
        typer.Option(
            help="Last night's plan folder, if the plan was made with one; default: PLAN/before, which published plans keep."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute a plan's cost, limits and bound from the files alone; exit status 3 if a limit is broken."""
    before = plan / "before"
    with console.stage(f"verify {plan}"):
        rules = read_settings(folder)
        found = verify_plan(
            folder, demand, plan, previous=previous or (before if before.is_dir() else None), peak_to_mean=rules.demand.peak_to_mean,
            **rules.problem_rules(),
        )  # fmt: skip
    text = [
        f"{'feasible' if found.feasible else 'NOT FEASIBLE'}: cost {found.objective_cost:,.6g}, bound {found.lower_bound:,.6g}",
        *found.violations,
        *unproven_lines(found),
    ]
    console.emit(asdict(found), as_json, text)
    if not found.feasible:
        raise typer.Exit(console.INFEASIBLE)


@app.command()
def fill(
    folder: NetworkFolder,
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan folder; the fills are written into it.")],
    previous: Annotated[
        Path | None, typer.Option(help="What the appliances hold now; absent: the published plan, or nothing.")
    ] = None,
    date: Annotated[
        dt.datetime | None,
        typer.Option("--for", formats=["%Y-%m-%d"], help="The night's date; default: today."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Schedule the transfers that turn last night's content into the plan's: source and time of each, inside the fill windows."""
    network, catalogue, settings = read_network(folder), read_catalogue(folder), read_settings(folder)
    made = read_plan(plan, network, catalogue)
    _refuse_published(plan)
    refuse_unwritable("PLAN", plan.parent)
    used = np.bincount(made.placement.appliance, catalogue.size_gb[made.placement.file], len(network.appliances))
    room = network.appliances["storage_gb"].to_numpy(float)
    refuse_overfull(network, used, room, used - room * (1 + TOLERANCE))
    held = previous or (published_plan(folder, settings).folder if (folder / "plans").is_dir() else None)
    before = (
        read_placement(held, network, catalogue, own=previous is not None)
        if held
        else Placement.of(np.zeros(0), np.zeros(0))
    )
    night = date.date() if date else dt.datetime.now(dt.UTC).date()
    with console.stage(f"fill {plan} on {night}"):
        filled = schedule_night(network, catalogue, made, before, settings, night)
    write_plan(
        made, network, catalogue, plan, fills=filled.fills, evictions=filled.evictions, manifests=filled.manifests
    )
    s = filled.summary
    text = [
        f"{s['transfers']:,} transfers, {s['gb']:,.1f} GB; {percent(s['finished_share'])} done inside the windows, the last at {s['latest_end'] or '-'}",
        ", ".join(f"{number(gb)} GB from {kind}" for kind, gb in s["gb_by_source"].items()),
    ]
    console.emit(s, as_json, text)


def _refuse_published(plan: Path) -> None:
    """What a night has published stays as it was rehearsed and judged."""
    if (plan / NIGHT).is_file():
        mend = "give another folder, or a copy without its " + NIGHT
        raise InputError(Problem(table="arguments", value=str(plan), message="is a published plan", mend=mend))


def _day_after_log(folder: Path) -> dt.date:
    dates = playback_dates(folder)
    if not dates:
        raise InputError(Problem(table="playback", message="the log is empty", mend="import a log, or give --for"))
    return dates[-1] + dt.timedelta(days=1)

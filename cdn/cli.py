"""The command line: each verb reads, calls one function, and writes. Printing and exit statuses are in ``console``."""

import datetime as dt
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from cdn import console
from cdn.check import check as check_network
from cdn.explain import explain as explain_file
from cdn.gather import gather, published_plan
from cdn.hashcode import import_hashcode
from cdn.jobs import make_forecast, place_demand, schedule_night
from cdn.nightly import BEFORE, NightResult, run_night
from cdn.placement.lagrangian import Report
from cdn.placement.verify import verify as verify_plan
from cdn.plan import Plan, read_placement, read_plan, read_prices, refuse_foreign, write_plan
from cdn.rehearse import decomposition, rehearse, title_weight, write_rehearsal
from cdn.replications import draw_day, rehearse_replications
from cdn.report import write_report
from cdn.report.numbers import column, counts, number, percent, percents
from cdn.robust import place_robust
from cdn.sample import FIRST_DAY, SampleSize, refuse_to_overwrite, regrow_fleet, write_backbone, write_sample
from cdn.scenario import Scenario, SteeringEdit, read_scenarios, steering_changes
from cdn.settings import Settings, read_settings
from cdn.whatif import compare_scenarios
from demand.catalogue import Catalogue, read_catalogue
from demand.demand import read_demand, write_demand
from demand.forecast import BASELINES, FORECASTERS, available_forecasters
from demand.logs import import_log
from demand.netflix import import_netflix
from demand.playback import playback_dates
from demand.scenarios import demand_quantile
from sim.abr import read_sabre_traces
from sim.encode_mix import expected_rebuffering, rebuffering, switch_by_access
from sim.sampling import sample_titles
from sim.scheme import Fills
from sim.sessions import Sessions, sessions_from_playback
from sim.steering import SteeringChange
from topology.errors import InputError, Problem
from topology.importers import Backbone, read_graphml, read_sndlib, read_topohub
from topology.network import Network, read_network
from topology.placement import Placement
from topology.tables import refuse_unknown_kind

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
Seed = Annotated[int, typer.Option(help="Seed of every random draw.")]
Day = Annotated[dt.datetime, typer.Option(formats=["%Y-%m-%d"])]


def main() -> None:
    """Entry point of the ``fillplan`` command."""
    raise SystemExit(console.run(app))


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
    size = SampleSize(sites=sites, regions=regions, titles=titles, days=days, sessions_per_day=sessions_per_day)
    with console.stage(f"sample network on {topology}"):
        counts = write_sample(folder, size, topology=topology, seed=seed, progress=console.say)
    night = FIRST_DAY + dt.timedelta(days=days - 1)
    text = [", ".join(f"{n:,} {what}" for what, n in counts.items()), f"Next: fillplan nightly {folder} --for {night}"]
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
    folder: NetworkFolder,
    date: Annotated[
        dt.datetime | None,
        typer.Option(
            "--for",
            formats=["%Y-%m-%d"],
            help="The day to predict; only earlier days are read. Default: the day after the log.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Demand table to write, .csv or .parquet; may be left out with --backtest."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(FORECASTERS)}; default: the setting forecast.model."),
    ] = None,
    origins: Annotated[int, typer.Option(min=0, help="Days of the rolling-origin backtest; 0 for none.")] = 5,
    full_backtest: Annotated[
        bool,
        typer.Option(
            "--backtest", help="Test every model that can run here, and cost the plan made from each forecast (regret)."
        ),
    ] = False,
    save_model: Annotated[Path | None, typer.Option(help="Folder to write the fitted model to.")] = None,
    load_model: Annotated[
        Path | None, typer.Option(help="Folder of a fitted model to predict with, instead of fitting one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Predict a day's demand from the playback log, and test models on the days before."""
    settings = read_settings(folder)
    network, catalogue = read_network(folder), read_catalogue(folder)
    if output is None and not full_backtest:
        message, mend = "nowhere to write the demand", "add -o demand.parquet, or ask for --backtest alone"
        raise InputError(Problem(table="arguments", column="--output", message=message, mend=mend))
    if output is not None:
        refuse_unknown_kind(output)
    day = date.date() if date else _day_after_log(folder)
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
    before = read_placement(previous, network, catalogue) if previous else None
    prices = read_prices(previous, network) if previous else None
    candidates: list[dict[str, Any]] = []
    with (
        console.live(f"place {len(catalogue.files):,} files at {len(network.sites):,} sites") as show,
        console.interrupt() as stop,
    ):
        if scenarios is not None:
            robust = place_robust(network, catalogue, wanted, settings, before, scenarios=scenarios, seed=seed)
            plan, candidates = robust.plan, robust.candidates
        else:
            planned = wanted if quantile is None else demand_quantile(wanted, quantile)
            plan = place_demand(
                network, catalogue, planned, settings, before, prices=prices, stop=stop,
                progress=lambda r: show(_search_line(r)),
            )  # fmt: skip
    write_plan(plan, network, catalogue, output)
    s = plan.summary
    text = [
        f"{s['method']}: {s['reason']}",
        _cost_line(s),
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
    held = previous or (published_plan(folder, settings).folder if (folder / "plans").is_dir() else None)
    before = read_placement(held, network, catalogue) if held else Placement.of(np.zeros(0), np.zeros(0))
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


@app.command()
def simulate(
    folder: NetworkFolder,
    plan: Annotated[Path, typer.Option(help="Plan folder.")],
    playback: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Replay this day of the log; or give --demand.")
    ] = None,
    demand: Annotated[
        Path | None,
        typer.Option(help="Draw sessions from this demand table: PLAN/demand.parquet is what the plan was made for."),
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="May be given several times; default: the setting simulation.policies.")
    ] = None,
    replications: Annotated[
        int,
        typer.Option(min=1, help="Draw the sessions so many times; from 2 on every figure has its 95 % interval."),
    ] = 1,
    admission: Annotated[
        str | None,
        typer.Option(
            help="Files a cache lets in after a miss: all, second-hit (asked for before) or size (up to --largest-gb)."
        ),
    ] = None,
    largest_gb: Annotated[float | None, typer.Option(min=0, help="Largest file that --admission size lets in.")] = None,
    pull: Annotated[
        str | None,
        typer.Option(
            help="Where a cache takes a missed file from: next (site of the steering), or the first site that has it on the way to the origin, "
            "a copy kept by the edge, by all on the way (lce) or one site down (lcd)."
        ),
    ] = None,
    fetch: Annotated[
        str | None,
        typer.Option(help="What a pull brings: the whole file, or the bytes its session watches: file, session."),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(
            help="Plan that appliances hold at midnight: what the new one adds comes in fills while sessions run. Absent: all is there."
        ),
    ] = None,
    steering_at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HH:MM/REGION=SITE,…",
            help="From this time (UTC) on the region is steered to these sites, best first, an origin among them; may be given several times.",
        ),
    ] = None,
    traces: Annotated[
        Path | None,
        typer.Option(
            help="Archive of throughput traces (Sabre's): sessions switch encodes on the way. Kinds of access: simulation.access."
        ),
    ] = None,
    title_share: Annotated[
        float | None,
        typer.Option(
            help="Simulate a drawn share of the titles on a fleet scaled to it, and say the error of the ratios."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the tidy tables (per hour, site and link).")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Rehearse a plan beside reactive caches and perfect foresight, all on the same sessions.

    One of --playback and --demand says what is watched. What --admission, --pull and --fetch leave open, the settings of [simulation] say.
    """
    wishes = {"admission": admission, "largest_gb": largest_gb, "pull": pull, "fetch": fetch}
    settings = read_settings(folder, {"simulation": wishes})
    network, catalogue = read_network(folder), read_catalogue(folder)
    made = read_plan(plan, network, catalogue)
    began = time.perf_counter()
    day, names = playback.date() if playback else None, policy or settings.simulation.policies
    _one_source(day, demand, plan, replications, output)
    kept = None
    if title_share is not None:
        rng, weight = np.random.default_rng([seed, 2]), title_weight(made.demand, catalogue)
        kept = sample_titles(len(catalogue.title_ids), title_share, rng, weight)
    before, fills = _filling(network, catalogue, made, previous, settings, day or FIRST_DAY)
    more: dict[str, Any] = {
        "kept": kept,
        "before": before,
        "fills": fills,
        "steering": _steering(steering_at or [], network),
    }
    stalled = expected_rebuffering(settings.simulation.access)
    throughputs = None if traces is None else read_sabre_traces(traces)
    if replications > 1 and demand is not None:
        wanted = read_demand(demand, network.region_ids, catalogue.file_ids)
        several = rehearse_replications(
            network, catalogue, made, wanted, names, settings, replications=replications, date=FIRST_DAY, seed=seed, traces=throughputs, progress=console.say, **more
        )  # fmt: skip
        rows = several.intervals.rename(columns={"scheme": "policy"}).to_dict("records")
        document = {
            "policies": several.policies,
            "sessions": several.sessions,
            "replications": replications,
            "intervals": rows,
        }
        text: list[str | Table] = [*_policies_tables(several.policies), _intervals_table(rows)]
        if traces is not None:
            stalled = next(iter(several.policies.values()))["rebuffer_ratio"]
    else:
        sessions, warm_up = _sessions(folder, network, catalogue, playback=day, demand=demand, seed=seed)
        if throughputs is not None:
            rng = np.random.default_rng([seed, 3])
            sessions, more["stall_ms"] = switch_by_access(
                sessions, catalogue, throughputs, settings.simulation.access, rng
            )
            stalled = rebuffering(sessions, more["stall_ms"])
        rehearsal = rehearse(
            network, catalogue, made, sessions, names, settings, warm_up=warm_up, progress=console.say, **more
        )
        if output:
            write_rehearsal(rehearsal, output)
        document = {"policies": rehearsal.totals(), "sessions": len(sessions), "replications": 1}
        text = [*_policies_tables(rehearsal.totals()), *_decomposition_table(decomposition(rehearsal))]
        if kept is not None:
            rows = [{"policy": n, **row} for n, table in rehearsal.ratios.items() for row in table.to_dict("records")]
            document |= {"sampled": rows}
            text = [
                _sample_table(rows),
                f"{kept.sum():,} of {len(kept):,} titles; GB, cost and counts are theirs alone",
                *text,
            ]
    document |= {"rebuffer_ratio": stalled, "seconds": time.perf_counter() - began}
    text.append(f"sessions stall for {percent(stalled, 3)} of their playing time ({'played over the traces' if traces else 'expected of their kinds of access'})")  # fmt: skip
    console.emit(document | ({"title_share": title_share} if kept is not None else {}), as_json, text)


def _one_source(
    playback: dt.date | None,
    demand: Path | None,
    plan: Path,
    replications: int,
    output: Path | None,
) -> None:
    """Refuse a simulation of nothing, of two things at once, or of the same thing several times."""
    message, column, mend = "", "--demand", f"give one: --playback DATE, or --demand {plan / 'demand.parquet'}"
    if playback is None and demand is None:
        message = "neither --playback nor --demand"
    elif playback is not None and demand is not None:
        message, mend = "both --playback and --demand", "give one of them"
    elif playback is not None and replications > 1:
        message, column, mend = (
            "a replayed day is the same every time",
            "--replications",
            "give --demand, or one replication",
        )
    elif output is not None and output.exists() and not output.is_dir():
        message, column, mend = f"{output} is there and no folder", "--output", "give another folder for the tables"
    elif output is not None and replications > 1:
        message, column, mend = "tables are of one replication", "--output", "leave it out, or ask for one replication"
    if message:
        raise InputError(Problem(table="arguments", column=column, message=message, mend=mend))


def _filling(
    network: Network,
    catalogue: Catalogue,
    plan: Plan,
    previous: Path | None,
    settings: Settings,
    night: dt.date,
) -> tuple[Placement | None, Fills | None]:
    """What appliances hold at midnight, and the transfers that bring the rest of the plan."""
    if previous is None:
        return None, None
    before = read_placement(previous, network, catalogue)
    filled = schedule_night(network, catalogue, plan, before, settings, night)
    return before, filled.schedule.for_simulation()


def _steering(changes: Sequence[str], network: Network) -> list[SteeringChange]:
    """Changes of steering as the command line has them.

    Raises
    ------
    InputError
        A change of another form, an unknown name.
    """
    edits = []
    for change in changes:
        form = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)/(.+)=(.+)", change)
        if form is None:
            mend = "say HH:MM/REGION=SITE,SITE,ORIGIN, best site first"
            raise InputError(
                Problem(
                    table="arguments", column="--steering-at", value=change, message="no change of steering", mend=mend
                )
            )
        hour, minute, region, sites = form.groups()
        edits.append(SteeringEdit(region=region, sites=tuple(sites.split(",")), at=f"{hour}:{minute}"))
    return steering_changes(Scenario(name="--steering-at", steering=tuple(edits)), network)


@app.command()
def whatif(
    folder: NetworkFolder,
    scenarios: Annotated[
        Path, typer.Argument(metavar="SCENARIO.toml", help="Edits to try; docs/scenarios.md has the form.")
    ],
    plan: Annotated[Path | None, typer.Option(help="Base plan; default: the published one.")] = None,
    playback: Annotated[
        dt.datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Replay this day of the log.")
    ] = None,
    demand: Annotated[
        Path | None, typer.Option(help="Or draw sessions from this demand; default: the plan's own.")
    ] = None,
    replications: Annotated[int, typer.Option(min=1, help="Draws of the sessions; intervals need two or more.")] = 3,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare scenarios with the base on the same sessions: more storage, a site down, a region growing, a title promoted."""
    network, catalogue, settings = read_network(folder), read_catalogue(folder), read_settings(folder)
    made = read_plan(plan or published_plan(folder, settings).folder, network, catalogue)
    results = compare_scenarios(
        folder, network, catalogue, made, read_scenarios(scenarios), settings,
        playback=playback and playback.date(), demand=demand, replications=replications, seed=seed, progress=console.say,
    )  # fmt: skip
    tables = [_differences_table(name, rows) for name, rows in results.items()]
    document = {
        "scenarios": {
            name: {r["metric"]: {k: r[k] for k in ("base", "value", "delta", "ci_low", "ci_high")} for r in rows}
            for name, rows in results.items()
        }
    }
    console.emit(document, as_json, tables)


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
    console.emit(asdict(result), as_json, _night_lines(result))


@app.command()
def report(
    folder: NetworkFolder,
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file to write; it works offline.")],
    as_json: AsJson = False,
) -> None:
    """Write the capacity-planning report of the published plan as one HTML file."""
    with console.stage("report"):
        write_report(gather(folder, read_settings(folder)), output)
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
    dates = playback_dates(folder)
    text = [
        ", ".join(f"{n:,} {what}" for what, n in counts.items()),
        f"Next: fillplan nightly {folder} --for {dates[-1]}",
    ]
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
    with console.stage(f"import {source}"):
        counts = import_hashcode(source, folder)
    text = [
        ", ".join(f"{n:,} {what}" for what, n in counts.items()),
        f"Next: fillplan place {folder} --demand {folder}/demand.parquet -o plan",
    ]
    console.emit({"path": folder, "counts": counts}, as_json, text)


def _day_after_log(folder: Path) -> dt.date:
    dates = playback_dates(folder)
    if not dates:
        raise InputError(Problem(table="playback", message="the log is empty", mend="import a log, or give --for"))
    return dates[-1] + dt.timedelta(days=1)


def _write_topology(backbone: Backbone, folder: Path, sites: int, seed: int, as_json: bool) -> None:
    counts = write_backbone(folder, backbone, sites=sites, seed=seed)
    text = [
        ", ".join(f"{n:,} {what}" for what, n in counts.items()),
        f"Next: import a demand, such as fillplan import netflix DATA {folder} --week 2022-07-31",
    ]
    console.emit({"path": folder, "counts": counts}, as_json, text)


def _sessions(
    folder: Path,
    network: Network,
    catalogue: Catalogue,
    *,
    playback: dt.date | None,
    demand: Path | None,
    seed: int,
) -> tuple[Sessions, Sessions | None]:
    """Sessions to rehearse, and the day before as warm-up of reactive caches where the log has it."""
    if playback is None:
        assert demand is not None
        wanted = read_demand(demand, network.region_ids, catalogue.file_ids)
        return draw_day(wanted, network, catalogue, np.random.default_rng([seed, 0]), FIRST_DAY)
    yesterday = playback - dt.timedelta(days=1)
    warm_up = (
        sessions_from_playback(folder, yesterday, network, catalogue) if yesterday in playback_dates(folder) else None
    )
    return sessions_from_playback(folder, playback, network, catalogue), warm_up


def _policies_tables(policies: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Ratios, traffic and cost of the policies side by side, and their misses by class."""
    names, totals = list(policies), list(policies.values())

    def each(key: str) -> list[object]:
        return [t[key] for t in totals]

    measures = [
        ("request\nhits %", percents(each("request_hit_ratio"), 2)),
        ("byte\nhits %", percents(each("byte_hit_ratio"), 2)),
        ("edge\noffload %", percents(each("edge_offload"), 2)),
        ("backbone\nGB", column(each("backbone_gb"))),
        ("filled\nGB", column([t["fill_gb"] + t["fetched_gb"] for t in totals])),
        ("backbone\ncost", column(each("backbone_cost"))),
        ("cost of\nwatched", column(each("backbone_cost_watched"))),
        ("peak\nGbit/s", column(each("peak_link_gbps"))),
    ]
    misses = [
        ("content\nmisses", counts([t["misses"]["content"] for t in totals])),
        ("not yet\nfilled", counts([t["misses"]["not_yet_filled"] for t in totals])),
        ("\nhealth", counts([t["misses"]["health"] for t in totals])),
        ("of all\nsessions", counts([t["sessions"] for t in totals])),
        ("mean\nkbit/s", column(each("mean_kbps"))),
        ("start-up\nms", column(each("startup_ms_mean"))),
    ]
    return [console.columns([("\npolicy", names), *part]) for part in (measures, misses)]


def _differences_table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """One scenario against the base, a metric a row."""
    keys = ("base", "value", "delta", "ci_low", "ci_high")
    cells = [column([row[key] for key in keys], 5) for row in rows]
    heads = ("base", "scenario", "difference", "95 % from", "to")
    parts = [(head, [row[i] for row in cells]) for i, head in enumerate(heads)]
    return console.columns([(name, [str(row["metric"]) for row in rows]), *parts])


SHOWN = (
    "request_hit_ratio",
    "byte_hit_ratio",
    "edge_offload",
    "backbone_cost",
    "backbone_cost_watched",
    "peak_link_gbps",
)
"""Figures whose intervals are printed; the JSON has those of all."""


def _intervals_table(rows: Sequence[Mapping[Any, Any]]) -> Table:
    """Means and their 95 % intervals, and the differences from the first policy."""
    shown = [row for row in rows if row["metric"] in SHOWN]
    heads = {
        "value": "mean",
        "ci_low": "95 % from",
        "ci_high": "to",
        "delta": "less the first",
        "delta_low": "95 % from",
        "delta_high": "to",
    }
    parts = [(head, [number(row[key]) for row in shown]) for key, head in heads.items()]
    return console.columns(
        [("policy", [row["policy"] for row in shown]), ("figure", [row["metric"] for row in shown]), *parts]
    )


def _sample_table(rows: Sequence[Mapping[Any, Any]]) -> Table:
    """Ratios of a sample of titles and their errors."""
    heads = {"value": "of the sample %", "standard_error": "standard error", "ci_low": "95 % from", "ci_high": "to"}
    parts = [(head, percents([row[key] for row in rows], 2)) for key, head in heads.items()]
    return console.columns(
        [("policy", [row["policy"] for row in rows]), ("ratio", [row["metric"] for row in rows]), *parts]
    )


def _decomposition_table(rows: Sequence[Any]) -> list[Table]:
    """What separates the plan from reacting and from perfect foresight, in cost a day."""
    there = [row for row in rows if row[1] is not None]
    if not there:
        return []
    labels, values, meanings = zip(*there, strict=True)
    parts = [("where the cost goes", labels), ("cost a day", column(values)), ("meaning", meanings)]
    return [console.columns(parts, prose=2)]


def _search_line(report: Report) -> str:
    cost = f"cost {report.cost:,.6g}" if np.isfinite(report.cost) else "no plan yet"
    gap = f"  gap {percent(report.gap)}" if np.isfinite(report.cost) else ""
    return f"{cost}  bound {report.bound:,.6g}{gap}  {report.seconds:,.0f} s"


def _cost_line(summary: Mapping[str, Any]) -> str:
    cost, bound, bare = column([summary[key] for key in ("objective_cost", "lower_bound", "origin_only_cost")], 6)
    return f"cost {cost} a day, proven bound {bound}, gap {percent(summary['gap'])}; without any cache {bare}"


def _night_lines(result: NightResult) -> list[str | Table]:
    plan, fill = result.metrics["plan"], result.metrics["fill"]
    return [
        *_policies_tables(result.metrics["policies"]),
        *_decomposition_table(result.metrics["decomposition"]),
        f"fill: {fill['transfers']:,} transfers, {fill['gb']:,.1f} GB, {percent(fill['finished_share'])} inside the windows",
        f"plan ({plan['method']}): {_cost_line(plan)}",
        f"{'published' if result.published else 'already in force'}: {result.plan_id} -> {result.folder}",
    ]

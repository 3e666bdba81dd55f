"""The nightly job: ingest, forecast, place, fill, rehearse, publish. Safe to kill at any moment and to run again.

Nothing is written before the inputs are found sound. Then forecast and placement each write what they made, whole, into a work folder named after a
fingerprint of all inputs, and so do fill and rehearsal together; what is there is not made again. Until the last transaction of :meth:`~cdn.store.PlanStore.publish` the plan of the night before stays in force.
"""

import datetime as dt
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cdn.check import check
from cdn.documents import read_json, write_json
from cdn.draws import refuse_demand
from cdn.errors import GuardrailError
from cdn.jobs import Filled, days_before, make_forecast, place_demand
from cdn.placement.problem import Prices
from cdn.plan import Plan, placement_frame, read_placement, read_plan, read_prices, write_plan
from cdn.rehearse import decomposition, rehearse
from cdn.settings import FILLED, PREVIOUS, Settings
from cdn.settle import settle
from cdn.simulation_tables import write_rehearsal
from cdn.store import PlanStore, Published
from demand.catalogue import OPTIONAL, Catalogue, read_catalogue
from demand.demand import Demand, read_demand, write_demand
from demand.laws import load_laws
from demand.playback import playback_dates
from sim.draw import draw_sessions
from sim.sessions import PlaybackDay, Sessions, sessions_to_rehearse
from topology.errors import InputError, Problem
from topology.network import TABLES, Network, read_network
from topology.placement import Placement
from topology.tables import write_table

NIGHT = "night.json"
"""What a night found, beside the plan's own summary: fill, backtest, policies, what the rehearsal replayed."""
READ = (*TABLES, "steering", "titles", "files", *OPTIONAL, "events")
"""The tables a night reads."""
BEFORE = "before"
"""What the appliances held when the night began, in the plan's folder: ``verify PLAN --previous PLAN/before`` needs nothing else."""
SOUND = ".sound"
"""Names the inputs that ``check`` last found sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NightResult:
    """How a night went. ``published`` is false only where the same night was already published from the same inputs."""

    plan_id: str
    published: bool
    folder: Path
    stages: list[dict[str, Any]]
    metrics: dict[str, Any]


def run_night(
    folder: Path, date: dt.date, settings: Settings, *, progress: Callable[[str], None] | None = None
) -> NightResult:
    """Plan ``date`` from the days of the log before it, and put the plan in force.

    The rehearsal replays the log of ``date`` where it is there (a night run after the fact), otherwise sessions drawn from the forecast.

    Raises
    ------
    InputError
        If the network, its settings or its log are wrong, or another night is running.
    InfeasiblePlanError
        If no plan keeps the limits.
    GuardrailError
        If the plan must not be published; the last good plan stands.
    """
    with _lock(folder):
        return _Night(folder, date, settings, progress or (lambda _: None)).run()


class _Night:
    """One night's inputs, and its stages in order."""

    def __init__(self, folder: Path, date: dt.date, settings: Settings, progress: Callable[[str], None]) -> None:
        self.folder, self.date, self.settings, self.progress = folder, date, settings, progress
        self.stages: list[dict[str, Any]] = []
        self.inputs = _fingerprint(folder, date, settings)

    def run(self) -> NightResult:
        """Find the inputs sound before anything is written, then plan."""
        with self._stage("ingest"):
            network, catalogue = self._ingest()
        self.store = PlanStore(self.folder / "plans", self.settings.store.url)
        try:
            (self.store.folder / SOUND).write_text(self.inputs, "utf-8")
            return self._plan(network, catalogue)
        finally:
            self.store.close()

    def _plan(self, network: Network, catalogue: Catalogue) -> NightResult:
        """Every stage; what was made before a kill or a refusal is not made again."""
        earlier = sorted((p for p in self.store.plans() if p.date < self.date), key=lambda p: p.date)[-1:]
        fingerprint = hashlib.sha256("\n".join([self.inputs, *(p.fingerprint for p in earlier)]).encode()).hexdigest()
        plan_id = f"{self.date}-{fingerprint[:8]}"
        for done in self.store.plans():
            if done.fingerprint == fingerprint:
                return self._again(done)
        self.work = self.store.folder / ".work" / fingerprint[:16]
        self.work.mkdir(parents=True, exist_ok=True)
        with self._stage("forecast"):
            demand = self._forecast(
                network, catalogue, self.date, "demand", origins=self.settings.forecast.backtest_origins
            )
        with self._stage("place"):
            before = self._before(network, catalogue, earlier)
            prices = read_prices(earlier[-1].folder, network) if earlier else None
            plan = self._place(network, catalogue, demand, before, "plan", prices)
        draft = self.work / "draft"
        with self._stage("fill"):
            self.skipped = draft.exists()
            settled = None if self.skipped else settle(network, catalogue, plan, before, self.settings, self.date)
        with self._stage("rehearse"):
            self.skipped = settled is None
            if settled is not None:
                self._rehearse(network, catalogue, before, *settled, draft)
        metrics = read_json(draft / NIGHT)
        with self._stage("guardrails"):
            guard(self.settings, metrics)
        with self._stage("publish"):
            published = self.store.publish(draft, plan_id, self.date, fingerprint, metrics)
            self._tidy()
        return NightResult(
            plan_id=plan_id, published=True, folder=published.folder, stages=self.stages, metrics=metrics
        )

    def _again(self, done: Published) -> NightResult:
        """The same night was published from the same inputs: put it in force unless it is."""
        current = self.store.current()
        in_force = current is not None and current.plan_id == done.plan_id
        self.progress(f"{done.plan_id} was published from the same inputs")
        if not in_force:
            self.store.put_in_force(done.plan_id)
        self._tidy()
        return NightResult(
            plan_id=done.plan_id,
            published=not in_force,
            folder=done.folder,
            stages=self.stages,
            metrics=dict(done.metrics),
        )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        self.progress(f"{name} …")
        self.skipped = False
        yield
        self.stages.append({"stage": name, "seconds": round(time.perf_counter() - began, 3), "skipped": self.skipped})

    def _ingest(self) -> tuple[Network, Catalogue]:
        """Read the network; validate everything unless this very input was found sound before."""
        sound = self.folder / "plans" / SOUND
        self.skipped = sound.exists() and sound.read_text("utf-8") == self.inputs
        if not self.skipped:
            problems = check(self.folder)
            if problems:
                raise InputError(problems)
        days_before(self.folder, self.date)
        return read_network(self.folder), read_catalogue(self.folder)

    def _forecast(self, network: Network, catalogue: Catalogue, date: dt.date, name: str, *, origins: int) -> Demand:
        path = self.work / f"{name}.parquet"
        self.skipped = path.exists()
        if not self.skipped:
            made = make_forecast(
                self.folder,
                network,
                catalogue,
                date,
                self.settings,
                model=self.settings.forecast.model,
                origins=origins,
                regret=self.settings.forecast.backtest_regret,
            )
            facts = {
                "gb": float(made.demand.gb.sum()),
                "recent_gb": made.recent_gb,
                "days": made.days,
                "log_age_days": made.log_age_days,
                "backtest": made.backtest.to_dict("records"),
                "notes": [note.as_dict() for note in made.notes],
            }
            write_json(facts, self.work / f"{name}.json")
            write_demand(made.demand, network.region_ids, catalogue.file_ids, path)
        if name == "demand":  # the first night forecasts twice from one log
            for note in read_json(self.work / "demand.json")["notes"]:
                self.progress(f"note: {Problem(**note)}")
        return read_demand(path, network.region_ids, catalogue.file_ids, peak_to_mean=self.settings.demand.peak_to_mean)

    def _place(
        self,
        network: Network,
        catalogue: Catalogue,
        demand: Demand,
        before: Placement | None,
        name: str,
        prices: Prices | None = None,
    ) -> Plan:
        folder = self.work / name
        self.skipped = folder.exists()
        if not self.skipped:
            made = place_demand(network, catalogue, demand, self.settings, before, prices=prices)
            write_plan(made, network, catalogue, folder)
        return read_plan(folder, network, catalogue)

    def _before(self, network: Network, catalogue: Catalogue, earlier: list[Published]) -> Placement:
        """What the appliances hold now: the last night's plan, or before the first night the plan of the day before, as which they were shipped."""
        if earlier:
            return read_placement(earlier[-1].folder, network, catalogue)
        shipped = self.date - dt.timedelta(days=1)
        if not any(day < shipped for day in playback_dates(self.folder)):
            shipped = self.date
        demand = self._forecast(network, catalogue, shipped, "shipped-demand", origins=0)
        return self._place(network, catalogue, demand, None, "shipped").placement

    def _rehearse(
        self, network: Network, catalogue: Catalogue, before: Placement, plan: Plan, fill: Filled, folder: Path
    ) -> None:
        """Rehearse the plan that can be filled, and write the folder to publish: plan, transfers, rehearsal, figures, and what lay there before."""
        sessions, warm_up, replayed = night_sessions(
            self.folder, network, catalogue, plan.demand, self.date, self.settings
        )
        policies = ["plan", *self.settings.simulation.policies, FILLED, PREVIOUS]
        rehearsal = rehearse(
            network, catalogue, plan, sessions, policies, self.settings,
            warm_up=warm_up, fills=fill.schedule.for_simulation(), before=before, progress=self.progress,
        )  # fmt: skip
        metrics = {
            "date": self.date.isoformat(),
            "forecast": read_json(self.work / "demand.json"),
            "plan": plan.summary,
            "fill": fill.summary,
            "policies": rehearsal.totals(),
            "decomposition": decomposition(rehearsal),
            "replayed": replayed,
        }
        part = self.work / "part"
        write_plan(plan, network, catalogue, part, fills=fill.fills, evictions=fill.evictions, manifests=fill.manifests)
        write_rehearsal(rehearsal, network, part / "rehearsal")
        write_json(metrics, part / NIGHT)
        write_table(placement_frame(before, network, catalogue), part / BEFORE / "placement.parquet")
        part.rename(folder)

    def _tidy(self) -> None:
        """Remove the work of this night and of those before it, what kills left, and the oldest plans."""
        shutil.rmtree(self.store.folder / ".work", ignore_errors=True)
        self.store.tidy(self.settings.store.keep)


def night_sessions(
    folder: Path, network: Network, catalogue: Catalogue, demand: Demand, date: dt.date, settings: Settings
) -> tuple[Sessions | PlaybackDay, Sessions | PlaybackDay | None, bool]:
    """What a rehearsal of a day plays: the day's own log where it is there, else sessions drawn from the demand; and the day before as warm-up.

    Returns
    -------
    The sessions, the warm-up or None, and whether the log was replayed.
    """
    dates = playback_dates(folder)
    replayed = date in dates
    yesterday = date - dt.timedelta(days=1)
    warm_up = sessions_to_rehearse(folder, yesterday, network, catalogue) if yesterday in dates else None
    if replayed:
        return sessions_to_rehearse(folder, date, network, catalogue), warm_up, True
    refuse_demand(demand, catalogue)
    rng = np.random.default_rng(settings.simulation.seed)
    return (
        draw_sessions(demand, network, catalogue, rng, date=date, hourly_profile=load_laws().hourly_profile),
        warm_up,
        False,
    )


def guard(settings: Settings, metrics: Mapping[str, Any]) -> None:
    """Refuse to publish what no operator would want in force.

    Raises
    ------
    GuardrailError
        Naming the first guardrail that is broken, its value and its limit.
    """
    rules, forecast, policies = settings.guardrails, metrics["forecast"], metrics["policies"]
    ratio = forecast["gb"] / forecast["recent_gb"] if forecast["recent_gb"] > 0 else 1.0
    drop = policies[PREVIOUS]["edge_offload"] - policies[FILLED]["edge_offload"]
    checks = [
        ("min_history_days", forecast["days"], rules.min_history_days, forecast["days"] >= rules.min_history_days),
        ("max_log_age_days", forecast["log_age_days"], rules.max_log_age_days, forecast["log_age_days"] <= rules.max_log_age_days),
        ("max_demand_ratio", ratio, rules.max_demand_ratio, 1 / rules.max_demand_ratio <= ratio <= rules.max_demand_ratio),
        ("max_gap", metrics["plan"]["gap"], rules.max_gap, metrics["plan"]["gap"] <= rules.max_gap),
        ("min_finished_share", metrics["fill"]["finished_share"], rules.min_finished_share, metrics["fill"]["finished_share"] >= rules.min_finished_share),
        ("max_offload_drop", drop, rules.max_offload_drop, drop <= rules.max_offload_drop),
    ]  # fmt: skip
    for name, value, limit, kept in checks:
        if not kept:
            message = f"guardrail {name}: {value:.4g} against the limit {limit:g}; the last good plan stands. Mend the cause, or change guardrails.{name}"
            raise GuardrailError(message, guardrail=name, value=float(value), limit=float(limit))


def _fingerprint(folder: Path, date: dt.date, settings: Settings) -> str:
    """Hash of all that is read for a night: tables by content, log files up to the date by name, size and time, the settings that shape it."""
    rules = settings.model_dump_json(exclude={"guardrails", "store"})
    digest = hashlib.sha256(f"{date}\n{rules}\n".encode())
    for path in sorted(found for table in READ for found in folder.glob(f"{table}.*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in sorted((folder / "playback").glob("date=*/*.parquet")):
        if path.parent.name.removeprefix("date=") <= date.isoformat():
            facts = path.stat()
            digest.update(f"{path.parent.name}/{path.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Hold the network's lock, which is its folder's: two nights at once would undo each other.

    The lock goes with the process, however it ends, and leaves no file.
    """
    if not folder.is_dir():
        raise InputError(
            Problem(table="network", message=f"no such folder: {folder}", mend="give the folder of a network")
        )
    handle = os.open(folder, os.O_RDONLY)
    try:
        _take(handle)
        yield
    finally:
        os.close(handle)


def _take(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            Problem(
                table="plans",
                message="another night is running on this network",
                mend="wait for it to end, or stop it",
            )
        ) from error

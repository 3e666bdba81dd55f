"""``fillplan.toml``: every knob with its default. An absent file, section or key means the default; an unknown one is an error."""

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from sim.encode_mix import load_mix
from sim.policies import POLICIES
from topology.errors import InputError, Problem

FILE = "fillplan.toml"

FILLED = "plan-filled"
"""The plan with every file in place from the first minute."""
PREVIOUS = "previous"
"""Last night's plan, kept for another day."""
POLICY_NAMES = ("plan", FILLED, PREVIOUS, "oracle", *POLICIES, *(f"plan+{name}" for name in POLICIES))
"""Everything a rehearsal can measure."""
OFFLINE = ("belady", "plan+belady")
"""Caches that know what comes: no policies that could be run, and told of only where asked for by name."""


PAGE_HEAD = """# Settings

`fillplan.toml` in a network folder sets what it names; everything else has the default below. An unknown section or key is refused, with the nearest that exists.

```toml
[placement]
gap = 0.001             # prove more
time_limit_s = 600

[guardrails]
max_gap = 0.05          # and publish nothing worse than that
```

This page is made from `cdn/settings.py`.
"""


class Section(BaseModel):
    """A frozen section that knows its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Steering(Section):
    """How regions find sites where the network has no steering table."""

    candidates: int = Field(10, ge=1, description="Edge sites a region knows; its cheapest origin comes last.")


class DemandRules(Section):
    """How demand tables are read."""

    peak_to_mean: float = Field(
        2.5, ge=1, description="Busiest hour over mean rate, where a demand gives no peak_gbps."
    )


class Forecast(Section):
    """How tomorrow is predicted."""

    model: Literal[
        "pooled", "smoothing", "last-day", "same-weekday", "boosted", "autoets", "mstl", "ensemble", "reconciled"
    ] = Field("pooled", description="The model the nightly job uses.")
    seed: int = Field(0, ge=0, description="Seed of every random draw of a forecaster.")
    days: int = Field(14, ge=1, description="Days of history that the model smoothing looks at.")
    half_life_days: float = Field(3.0, gt=0, description="Age at which a day counts half.")
    backtest_origins: int = Field(5, ge=0, description="Days of the rolling-origin backtest of each night.")
    backtest_regret: bool = Field(
        False, description="Whether each night's backtest also plans from every forecast, to cost its errors."
    )


class Placement(Section):
    """How files are placed."""

    method: Literal["auto", "exact", "greedy", "lagrangian"] = Field(
        "auto", description="Solver; auto picks by size and says why."
    )
    solver: Literal["highs", "cbc"] = Field("highs", description="Engine of the exact solver.")
    gap: float = Field(0.005, ge=0, description="Proven relative gap at which a solver stops.")
    time_limit_s: float = Field(300.0, gt=0, description="Seconds a solver may take.")
    seed: int = Field(0, ge=0, description="Seed of the decomposition: the same seed gives the same plan.")
    workers: int = Field(
        0, ge=0, description="Workers of the decomposition; 0 for one a core. They change the time, not the plan."
    )
    worker_kind: Literal["threads", "processes"] = Field(
        "threads", description="What the workers are: threads share memory, processes each hold their own files."
    )
    fill_weight: float = Field(
        0.14, ge=0, description="Weight of tonight's fill cost: 1/7 pays a fill back over a week."
    )
    reactive_share: float = Field(
        0.0, ge=0, lt=1, description="Share of every site's storage the plan leaves to a reactive cache."
    )
    link_limits: bool = Field(
        False, description="Whether the peak over every link direction must stay within its capacity."
    )
    fill_limits: bool = Field(
        False, description="Whether what an appliance takes in tonight must fit into its fill window."
    )
    peak_slices: Literal[1, 2, 3, 4, 6, 8, 12, 24] = Field(
        1,
        description="Slices of the day in which throughput and links are limited one by one, so that regions of other time zones do not add up; 1: all busiest hours coincide.",
    )


class Fill(Section):
    """How transfers are scheduled."""

    source_gbps_factor: float = Field(
        1.0, gt=0, description="Rate at which an appliance may feed others, over its own fill_gbps."
    )
    tier_sources: int = Field(
        4, ge=0, description="Other edge sites that are asked for a file before the origin, the cheapest first."
    )
    tier_cost_factor: float = Field(
        1.0, ge=0, description="Dearest path of a tier source, over the path from the cheapest origin."
    )
    min_rate_share: float = Field(
        0.3, ge=0, le=1, description="A source that cannot give this share of the taker's fill_gbps counts as busy."
    )


class Simulation(Section):
    """What a rehearsal compares."""

    policies: tuple[str, ...] = Field(
        ("plan", "lru", "plan+lru", "oracle"), min_length=1, description="Policies measured on the same sessions."
    )
    reactive_share: float = Field(
        0.1, ge=0, le=1, description="Share of every site left to the reactive part of plan+lru and its like."
    )
    soft_limit: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of its throughput up to which an appliance takes sessions while another edge site could serve.",
    )
    fill_writes: float = Field(
        0.0, ge=0, description="Throughput that a fill takes from its target while it runs, in parts of its own rate."
    )
    admission: Literal["all", "second-hit", "size"] = Field(
        "all",
        description="Files a cache lets in after a miss: all, those asked for before, or those up to largest_gb.",
    )
    largest_gb: float = Field(5.0, ge=0, description="Largest file that the admission size lets in.")
    pull: Literal["next", "edge", "lce", "lcd"] = Field(
        "next",
        description="Where a cache takes a missed file from: the next site of the steering (next), or the first with it on the way to the origin, "
        "kept at the edge, everywhere on the way (lce) or one site down (lcd).",
    )
    fetch: Literal["file", "session"] = Field(
        "file", description="What a pull brings: the whole file, or the bytes its session watches."
    )
    access: tuple[str, ...] = Field(
        ("fixed-hd",),
        min_length=1,
        description="Kinds of access that sessions have, in equal parts: what they stall, and the traces they play over.",
    )
    seed: int = Field(0, ge=0, description="Seed of drawn sessions.")

    @field_validator("policies")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [name for name in names if name not in POLICY_NAMES]
        if wrong:
            raise ValueError(f"unknown policy {wrong[0]!r}; known are {', '.join(POLICY_NAMES)}")
        return names

    @field_validator("access")
    @classmethod
    def _measured(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        known = load_mix().kinds
        wrong = [kind for kind in kinds if kind not in known]
        if wrong:
            raise ValueError(f"no such kind of access {wrong[0]!r}; known are {', '.join(known)}")
        return kinds


class Guardrails(Section):
    """When a plan must not be published."""

    min_history_days: int = Field(1, ge=1, description="Days of log a forecast needs.")
    max_log_age_days: int = Field(
        7, ge=1, description="Most days from the end of the log to the day planned for; 1 where it ends the day before."
    )
    max_gap: float = Field(1.0, ge=0, description="Largest proven gap of the plan; 1 allows any.")
    max_demand_ratio: float = Field(
        3.0, gt=1, description="Largest forecast volume over the last days' mean; its inverse is the smallest."
    )
    max_offload_drop: float = Field(
        0.10, ge=0, le=1, description="Largest loss of edge offload against last night's plan on the same sessions."
    )
    min_finished_share: float = Field(
        0.0, ge=0, le=1, description="Smallest share of the fill's bytes that the windows must allow."
    )


class Store(Section):
    """Where plans are kept."""

    url: str = Field("", description="SQLAlchemy URL of the index; empty: SQLite in NETWORK/plans/index.db.")
    keep: int = Field(30, ge=1, description="Plans kept; older ones are removed, never the current one.")


class Settings(Section):
    """Every knob."""

    steering: Steering = Steering()
    demand: DemandRules = DemandRules()
    forecast: Forecast = Forecast()
    placement: Placement = Placement()
    fill: Fill = Fill()
    simulation: Simulation = Simulation()
    guardrails: Guardrails = Guardrails()
    store: Store = Store()

    def problem_rules(self) -> dict[str, Any]:
        """What :func:`cdn.placement.build.build_problem` must know, by its names."""
        p = self.placement
        return {
            "candidates": self.steering.candidates,
            "fill_weight": p.fill_weight,
            "reactive_share": p.reactive_share,
            "link_limits": p.link_limits,
            "fill_limits": p.fill_limits,
            "peak_slices": p.peak_slices,
        }


def read_settings(folder: Path, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Read ``fillplan.toml`` of a network folder, defaults where it says nothing.

    Parameters
    ----------
    overrides
        Section -> key -> value from the command line; None values say nothing.

    Raises
    ------
    InputError
        With every wrong or unknown key.
    """
    path = folder / FILE
    document: dict[str, Any] = {}
    if path.exists():
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(Problem(table=FILE, message=f"not TOML: {error}", mend="correct that line")) from error
    for section, values in (overrides or {}).items():
        given = {key: value for key, value in values.items() if value is not None}
        if given:
            document[section] = {**document.get(section, {}), **given}
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise InputError([_problem(detail, overrides or {}) for detail in error.errors()]) from error


def settings_table() -> list[tuple[str, str, str]]:
    """(key, default, description) of every knob, for the reference page."""
    rows = []
    for name, section in Settings.model_fields.items():
        for key, field in type(section.default).model_fields.items():
            rows.append((f"{name}.{key}", repr(field.default), field.description or ""))
    return rows


def settings_page() -> str:
    """The text of ``docs/settings.md``."""
    parts = [PAGE_HEAD]
    for name, field in Settings.model_fields.items():
        section = type(field.default)
        parts += [
            f"\n## [{name}]\n",
            f"\n{section.__doc__}\n\n",
            "| key | default | allowed | what it does |\n|---|---|---|---|\n",
        ]
        for key, knob in section.model_fields.items():
            parts.append(f"| `{key}` | `{_toml(knob.default)}` | {_allowed(knob)} | {knob.description} |\n")
    return "".join(parts)


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # of flags, numbers, texts and lists JSON is TOML


def _allowed(knob: FieldInfo) -> str:
    """What a knob takes, in words: its values, or its kind and range."""
    if get_origin(knob.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(knob.annotation))
    if knob.annotation is bool:
        return "`true`, `false`"
    kinds: dict[Any, str] = {int: "whole number", float: "number", str: "text"}
    kind = kinds.get(knob.annotation, "list of texts")
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [
        f"{sign} {getattr(part, name):g}"
        for part in knob.metadata
        for name, sign in signs.items()
        if hasattr(part, name)
    ]
    return " ".join([kind, ", ".join(limits)]).strip()


def _nearest(where: str) -> str | None:
    """The known key most like an unknown one: of its own section, else a section, else the same key in another section."""
    section, _, name = where.partition(".")
    keys = [key for key, _, _ in settings_table()]
    siblings = [key for key in keys if name and key.startswith(f"{section}.")] or list(Settings.model_fields)
    near = difflib.get_close_matches(where, siblings, 1, cutoff=0.75 if name else 0.6)
    same = [key for key in keys if key.endswith(f".{name or section}")]
    return next(iter([*near, *same]), None)


def _problem(detail: Any, overrides: Mapping[str, Mapping[str, Any]]) -> Problem:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = _nearest(where)
        hint = f"did you mean {near}?" if near else "docs/settings.md lists the known ones"
        return Problem(table=FILE, column=where, value=str(detail["input"]), message="unknown setting", mend=hint)
    section, key = str(detail["loc"][0]), str(detail["loc"][-1])
    option = overrides.get(section, {}).get(key) is not None
    return Problem(
        table="arguments" if option else FILE,
        column="--" + key.removesuffix("_s").replace("_", "-") if option else where,
        value=str(detail["input"]),
        message=detail["msg"],
        mend=f"the option replaces the setting {where}: see docs/settings.md for what is allowed"
        if option
        else "see docs/settings.md for what is allowed",
    )

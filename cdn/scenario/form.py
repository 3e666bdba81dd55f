"""The TOML form of scenarios, and whether the names in them are known."""

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from demand.catalogue import Catalogue
from sim.clock import NEVER
from topology.errors import InputError, Problem
from topology.network import Network

GUIDE = "see docs/scenarios.md"
Amount = Annotated[float, Field(strict=True, ge=0)]
Times = Annotated[float, Field(strict=True, ge=0, le=1e9)]
Positive = Annotated[float, Field(strict=True, gt=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]
Flag = Annotated[bool, Field(strict=True)]
Clock = Annotated[str, Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Loss(_Part):
    """Something may be out of service: all day, or from a time of the day (UTC) to another."""

    down: Flag = False
    at: Clock | None = None
    until: Clock | None = None

    @model_validator(mode="after")
    def _times_of_a_loss(self) -> Self:
        if self.is_timed and not self.down:
            raise ValueError("at and until are the times of a loss: they go with down = true")
        if self.until_ms() <= self.from_ms():
            raise ValueError("until does not come after at")
        return self

    @property
    def is_timed(self) -> bool:
        """Whether it comes as a surprise in the course of the day, which no plan can know of."""
        return self.at is not None or self.until is not None

    def from_ms(self) -> int:
        """Milliseconds from 00:00 to the failure."""
        return clock_ms(self.at or "00:00")

    def until_ms(self) -> int:
        """Milliseconds from 00:00 to the repair; without ``until`` there is none."""
        return NEVER if self.until is None else clock_ms(self.until)


class SiteEdit(_Loss):
    """Another size of a site, or its loss. A total is spread over the site's appliances as their sizes are."""

    site: Name
    storage_factor: Amount | None = None
    storage_gb: Amount | None = None
    throughput_factor: Amount | None = None
    throughput_gbps: Amount | None = None

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        _at_most_one(self, "storage_factor", "storage_gb")
        _at_most_one(self, "throughput_factor", "throughput_gbps")
        _something(self, "storage_factor", "storage_gb", "throughput_factor", "throughput_gbps", "down")
        return self


class ApplianceEdit(_Loss):
    """The loss of an appliance."""

    appliance: Name

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        _something(self, "down")
        return self


class LinkEdit(_Part):
    """Another capacity of a link (both directions), or its loss."""

    link: Name
    capacity_factor: Positive | None = None
    down: Flag = False

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        _something(self, "capacity_factor", "down")
        return self


class SteeringEdit(_Part):
    """Other sites, or another order, for a region from a time of the day (UTC) on."""

    region: Name
    sites: Annotated[tuple[Name, ...], Field(min_length=1)]
    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:00"

    def from_ms(self) -> int:
        """Milliseconds from 00:00."""
        return clock_ms(self.at)


class DemandEdit(_Part):
    """More or less demand of a region, a title, a title in a region, or (with neither) of everything."""

    factor: Times
    region: Name | None = None
    title: Name | None = None


class Promotion(_Part):
    """A title watched more: ``factor`` times its bytes, or a ``share`` of each region's bytes."""

    title: Name
    factor: Times | None = None
    share: Share | None = None
    region: Name | None = None
    total: Literal["kept", "grows"] = "kept"

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        _at_most_one(self, "factor", "share")
        _something(self, "factor", "share")
        if self.share is not None and self.total == "grows":
            raise ValueError("a share is of a region's present bytes: it goes with total = 'kept'")
        return self


class Scenario(_Part):
    """Edits that are tried together."""

    name: Name
    plan: Literal["keep", "replan"] = "keep"
    site: tuple[SiteEdit, ...] = ()
    appliance: tuple[ApplianceEdit, ...] = ()
    link: tuple[LinkEdit, ...] = ()
    steering: tuple[SteeringEdit, ...] = ()
    demand: tuple[DemandEdit, ...] = ()
    promote: tuple[Promotion, ...] = ()


class _Document(_Part):
    scenario: Annotated[tuple[Scenario, ...], Field(min_length=1)]


def read_scenarios(path: Path) -> list[Scenario]:
    """Read and validate a scenario file; whether its names exist is for :func:`check_scenario`.

    Raises
    ------
    InputError
        With everything that is wrong with the file.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(Problem(table=path.name, message="no such file", mend="check the path")) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(Problem(table=path.name, message=f"not a TOML file: {error}", mend=GUIDE)) from error
    try:
        scenarios = list(_Document.model_validate(document).scenario)
    except ValidationError as error:
        faults = [dict(fault) for fault in error.errors()]
        raise InputError([_problem(path.name, fault, document) for fault in faults if not _follows(fault, faults)]) from error  # fmt: skip
    names = [s.name for s in scenarios]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            [
                Problem(
                    table=path.name,
                    column="name",
                    value=name,
                    message="two scenarios have this name",
                    mend="give each its own",
                )
                for name in twice
            ]
        )
    return scenarios


def check_scenario(scenario: Scenario, network: Network, catalogue: Catalogue | None = None) -> None:
    """Refuse a scenario that names what is not there; titles are checked where a catalogue is given.

    Raises
    ------
    InputError
        With every unknown name, and the known names closest to it.
    """
    problems = [
        Problem(
            table=f"scenario {scenario.name!r}",
            column=column,
            value=name,
            message=f"unknown {kind}",
            mend=nearest(name, known),
        )
        for column, kind, name, known in _names(scenario, network, catalogue)
        if name not in known
    ]
    if catalogue is not None:
        problems += _without_files(scenario, catalogue)
    if problems:
        raise InputError(problems)


def _without_files(scenario: Scenario, catalogue: Catalogue) -> list[Problem]:
    """Promotions of titles that have nothing to play."""
    played = set(catalogue.title_ids[catalogue.title_of])
    return [
        Problem(
            table=f"scenario {scenario.name!r}",
            column="promote.title",
            value=p.title,
            message="the title has no files",
            mend="add its files to the catalogue, or promote another",
        )
        for p in scenario.promote
        if p.title in catalogue.title_ids and p.title not in played
    ]


def clock_ms(clock: str) -> int:
    """Milliseconds from 00:00 to HH:MM."""
    return (int(clock[:2]) * 60 + int(clock[3:])) * 60_000


def position(index: pd.Index, name: str) -> int:
    """Where a known name stands in its index."""
    return int(index.get_indexer(pd.Index([name], dtype=object))[0])


def _names(
    scenario: Scenario, network: Network, catalogue: Catalogue | None
) -> Iterator[tuple[str, str, str, pd.Index]]:
    """Every name a scenario uses: (where, of what kind, the name, the names known)."""
    for site in scenario.site:
        yield "site.site", "site", site.site, network.site_ids
    for appliance in scenario.appliance:
        yield "appliance.appliance", "appliance", appliance.appliance, network.appliance_ids
    for link in scenario.link:
        yield "link.link", "link", link.link, network.link_ids
    for change in scenario.steering:
        yield "steering.region", "region", change.region, network.region_ids
        for name in change.sites:
            yield "steering.sites", "site", name, network.site_ids
    parts: list[tuple[str, DemandEdit | Promotion]] = [("demand", d) for d in scenario.demand]
    parts += [("promote", p) for p in scenario.promote]
    for where, part in parts:
        if part.region is not None:
            yield f"{where}.region", "region", part.region, network.region_ids
        if part.title is not None and catalogue is not None:
            yield f"{where}.title", "title", part.title, catalogue.title_ids


def nearest(name: str, known: pd.Index) -> str:
    """The mend of an unknown name: those known that are written most alike."""
    close = difflib.get_close_matches(name, [str(k) for k in known], n=3, cutoff=0.5)
    return "perhaps " + ", ".join(repr(c) for c in close) if close else "use a name of the network's tables"


def _at_most_one(part: _Part, *names: str) -> None:
    if sum(getattr(part, name) is not None for name in names) > 1:
        raise ValueError(f"give {' or '.join(names)}, not both")


def _something(part: _Part, *names: str) -> None:
    values = [getattr(part, name) for name in names]
    if all(value is None or value is False for value in values):
        raise ValueError(f"nothing is changed: give {' or '.join(names)}")


def _follows(fault: dict[str, Any], faults: Sequence[dict[str, Any]]) -> bool:
    """Whether a list is too short only as what is wrong within it was left out."""
    where = fault["loc"]
    return fault["type"] == "too_short" and any(
        len(other["loc"]) > len(where) and other["loc"][: len(where)] == where for other in faults
    )


def _problem(table: str, fault: dict[str, Any], document: object) -> Problem:
    """One fault of the form as a problem: where it stands (counted from 1), what is wrong, and the mend."""
    where: Sequence[str | int] = fault["loc"]
    column = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in where).lstrip(".")
    message = str(fault["msg"]).removeprefix("Value error, ")
    mend = GUIDE
    if fault["type"] == "extra_forbidden":
        message = "unknown key"
        close = difflib.get_close_matches(str(where[-1]), _known_keys(where), n=1)
        mend = f"perhaps {close[0]!r}; {GUIDE}" if close else f"use one of {', '.join(_known_keys(where))}"
    elif fault["type"] == "missing":
        message, mend = "missing key", f"add it; {GUIDE}"
    elif fault["type"] == "string_pattern_mismatch":  # only times have a pattern
        message, mend = "no time of the day", f"say HH:MM; {GUIDE}"
    elif fault["type"] == "too_short":
        message, mend = "an empty list", f"give one at least; {GUIDE}"
    shown = fault["input"]
    plain = isinstance(shown, str | int | float) and document is not shown
    return Problem(table=table, column=column, value=str(shown) if plain else None, message=message, mend=mend)


def _known_keys(where: Sequence[str | int]) -> list[str]:
    """The keys allowed at the place of an unknown one."""
    models: dict[str, type[BaseModel]] = {
        "site": SiteEdit, "appliance": ApplianceEdit, "link": LinkEdit, "steering": SteeringEdit, "demand": DemandEdit, "promote": Promotion, "scenario": Scenario,
    }  # fmt: skip
    parents = [step for step in where[:-1] if isinstance(step, str)]
    return list((models[parents[-1]] if parents else _Document).model_fields)

"""What sites must store, must not store, and how many of a group must: the tables ``rules`` and ``replicas`` as arrays, and what they ask in vain."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cdn.errors import InfeasiblePlanError
from demand.catalogue import Catalogue
from topology.errors import InputError, Problem
from topology.network import Network
from topology.tables import index_of

MOST = 20
"""Faults of one table that are listed one by one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloorNames:
    """What floors are called: (F,) ``title``, ``profile`` and identifier ``file`` of every file, and (G,) names of the groups, empty for all edge sites."""

    title: np.ndarray
    profile: np.ndarray
    file: np.ndarray
    group: list[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Floors:
    """At least ``at_least`` (Q,) of the sites of ``group`` (Q,) store ``file`` (Q,).

    ``member`` (G, S) bool: the sites of each group. Group 0 holds all edge sites, the others do not overlap. Sorted by file; a file and group appear once.
    """

    file: np.ndarray
    group: np.ndarray
    at_least: np.ndarray
    member: np.ndarray
    names: FloorNames | None = None

    def say(self, q: int) -> str:
        """A floor in words: how many replicas of which encode of which title, in which group."""
        f, g, names = int(self.file[q]), int(self.group[q]), self.names
        if names is None:
            return f"{self.at_least[q]} replicas of file {f} in group {g}"
        where = f"in group {names.group[g]!r}" if names.group[g] else "at edge sites"
        return f"{self.at_least[q]} replicas of title {names.title[f]!r}, encode {names.profile[f]!r} (file {names.file[f]!r}), {where}"


def read_pins(network: Network, catalogue: Catalogue) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(S, F) bool each, pinned and forbidden, or None where nothing is.

    Raises
    ------
    InputError
        If a site is unknown or an origin, an encode is unknown, or two rows contradict each other.
    """
    frame = catalogue.rules
    if frame is None or frame.empty:
        return None, None
    site, title = _ids(network.site_ids, frame["site"]), _ids(catalogue.title_ids, frame["title"])
    profile, own = frame["profile"].fillna("").to_numpy(str), catalogue.files["profile"].to_numpy(str)
    edge = (site >= 0) & ~network.is_origin[np.maximum(site, 0)]
    asked = {name: np.zeros((len(network.sites), len(catalogue.files)), bool) for name in ("pinned", "forbidden")}
    files_of = catalogue.title_of.argsort(kind="stable")
    start = np.searchsorted(catalogue.title_of[files_of], np.arange(len(catalogue.titles) + 1))
    none = np.zeros(len(frame), bool)
    for i, rule in enumerate(frame["rule"]):
        files = files_of[start[title[i]] : start[title[i] + 1]] if title[i] >= 0 else files_of[:0]
        files = files[own[files] == profile[i]] if profile[i] else files
        none[i] = not len(files)
        if edge[i]:
            asked[rule][site[i], files] = True
    problems = _faults("rules", "site", frame, site < 0, "no such site", "name a site of the table sites")
    problems += _faults("rules", "site", frame, (site >= 0) & ~edge, "an origin stores every file", "name an edge site")
    problems += _faults(
        "rules", "profile", frame, none, "the title has no such encode", "name one of its profiles, or leave it empty"
    )
    s, f = np.nonzero(asked["pinned"] & asked["forbidden"])
    problems += [
        Problem(
            table="rules", column="rule", value=str(catalogue.file_ids[f[i]]), message=f"both pinned and forbidden at site {network.site_ids[s[i]]!r}",
            mend="keep one of the two rows",
        )
        for i in range(min(len(s), MOST))
    ]  # fmt: skip
    if problems:
        raise InputError(problems)
    return tuple(table if table.any() else None for table in asked.values())  # type: ignore[return-value]


def read_floors(network: Network, catalogue: Catalogue) -> Floors | None:
    """The floors on replicas, or None where there are none.

    Raises
    ------
    InputError
        If a group has no edge site, or fewer than are asked to store a copy.
    """
    frame = catalogue.replicas
    if frame is None or frame.empty:
        return None
    edge = ~network.is_origin
    of = (
        network.sites["group"].fillna("").to_numpy(str) if "group" in network.sites else np.full(len(network.sites), "")
    )
    names = ["", *sorted(set(of[edge]) - {""})]
    member = np.array([edge if not name else edge & (of == name) for name in names])
    group = pd.Index(names).get_indexer(pd.Index(frame["group"].fillna("").to_numpy(str)))
    at_least = frame["at_least"].to_numpy(np.int64)
    size = member.sum(axis=1)[group]
    problems = _faults(
        "replicas",
        "group",
        frame,
        group < 0,
        "no edge site is of this group",
        "give sites this name in the column group of the table sites",
    )
    few = (group >= 0) & (at_least > size)
    problems += _faults(
        "replicas", "at_least", frame, few, "more than the group has sites", "ask for fewer, or add sites to the group"
    )
    if problems:
        raise InputError(problems)
    title = _ids(catalogue.title_ids, frame["title"])
    row, file = _join(title, catalogue)
    order = np.lexsort((group[row], file))
    row, file = row[order], file[order]
    words = FloorNames(
        title=catalogue.files["title"].to_numpy(), profile=catalogue.files["profile"].to_numpy(), file=catalogue.file_ids.to_numpy(), group=names,
    )  # fmt: skip
    return Floors(
        file=file.astype(np.int64), group=group[row].astype(np.int64), at_least=at_least[row], member=member, names=words
    )  # fmt: skip


def check_rules(
    network: Network, catalogue: Catalogue, storage_gb: np.ndarray, fill_limit_gb: np.ndarray | None, previous: np.ndarray,
    pinned: np.ndarray | None, forbidden: np.ndarray | None, floors: Floors | None,
) -> None:  # fmt: skip
    """Raise InfeasiblePlanError, by name, for what can be seen to be asked in vain before anything is solved.

    Parameters
    ----------
    storage_gb, fill_limit_gb, previous
        (S,), (S,) or None, (S, F): as in :class:`cdn.placement.problem.Problem`.
    """
    found: list[str] = []
    names, size = network.site_ids, catalogue.size_gb
    if pinned is not None:
        limits = [("pinned files", "GB of storage", pinned @ size, storage_gb)]
        if fill_limit_gb is not None:
            limits.append(
                (
                    "pinned files not there yet",
                    "GB that a fill window brings",
                    (pinned & ~previous) @ size,
                    fill_limit_gb,
                )
            )
        own = network.appliances
        largest, brought = np.zeros(len(names)), np.zeros(len(names))
        np.maximum.at(largest, network.appliance_site, own["storage_gb"].to_numpy(float))
        np.maximum.at(brought, network.appliance_site, (own["fill_gbps"] * own["fill_hours"]).to_numpy(float) * 450)
        pieces = [(pinned, "of storage on one appliance", largest)]
        if fill_limit_gb is not None:
            pieces.append((pinned & ~previous, "that the fill window of one appliance brings", brought))
        for table, of, limit in pieces:
            for s, f in np.argwhere(table & (size[None, :] > limit[:, None] * (1 + 1e-12)))[:MOST].tolist():
                found.append(
                    f"site {names[s]!r}: pinned file {catalogue.file_ids[f]!r} takes {size[f]:,.6g} of {limit[s]:,.6g} GB {of}"
                )
        for what, of, need, limit in limits:
            over = np.flatnonzero(need > limit * (1 + 1e-12))
            found += [f"site {names[s]!r}: {what} take {need[s]:,.6g} of {limit[s]:,.6g} {of}" for s in over.tolist()]
    if floors is not None:
        able = floors.member[floors.group] & (size[floors.file][:, None] <= storage_gb)
        if forbidden is not None:
            able &= ~forbidden.T[floors.file]
        for q in np.flatnonzero(able.sum(axis=1) < floors.at_least)[:MOST]:
            found.append(f"{floors.say(q)}: only {able[q].sum()} of the sites may store it and have the room")
        missing = np.maximum(floors.at_least - (floors.member[floors.group] & previous.T[floors.file]).sum(axis=1), 0)
        limits = [("are asked for", "store", floors.at_least, storage_gb)]
        if fill_limit_gb is not None:
            limits.append(("that are not there yet are asked for", "take in at night", missing, fill_limit_gb))
        for what, verb, copies, limit in limits:
            need = np.bincount(floors.group, size[floors.file] * copies, len(floors.member))
            room = floors.member @ np.where(network.is_origin, 0.0, limit)
            for g in np.flatnonzero(need > room * (1 + 1e-12)).tolist():
                group = (
                    f"group {floors.names.group[g]!r}" if floors.names and floors.names.group[g] else "all edge sites"
                )
                found.append(f"replicas: {need[g]:,.6g} GB {what} in {group}, which {verb} {room[g]:,.6g} GB")
    if found:
        raise InfeasiblePlanError("the rules ask for more than there is", found)


def _join(title: np.ndarray, catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """Every (row, file) whose titles are the same."""
    files_of = catalogue.title_of.argsort(kind="stable")
    start = np.searchsorted(catalogue.title_of[files_of], np.arange(len(catalogue.titles) + 1))
    count = np.diff(start)[title]
    row = np.repeat(np.arange(len(title)), count)
    at = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    return row, files_of[start[title[row]] + at]


def _ids(index: pd.Index, names: pd.Series) -> np.ndarray:
    return np.asarray(index_of(index, names), np.int64)


def _faults(table: str, column: str, frame: pd.DataFrame, wrong: np.ndarray, message: str, mend: str) -> list[Problem]:
    return [
        Problem(
            table=table, row=int(i) + 1, column=column, value=str(frame[column].iloc[i]), message=message, mend=mend
        )
        for i in np.flatnonzero(wrong)[:MOST]
    ]

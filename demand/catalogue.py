"""The catalogue: titles, and the files that are their encodes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from topology.errors import InputError, Problem
from topology.tables import find_table, in_order, index_of, load_schema, read_table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Catalogue:
    """What can be watched and what is stored.

    Parameters
    ----------
    titles, files
        The tables of the contract, in file order.
    availability
        Rights and launch dates, or None: everything everywhere, always.
    rules, replicas
        What sites must or must not store, and how many of a group must; None: nothing is asked.
    title_ids, file_ids
        The one index of names of each.
    title_of
        (F,) int32: the title each file encodes.
    size_gb, bitrate_kbps
        (F,) float.
    """

    titles: pd.DataFrame
    files: pd.DataFrame
    availability: pd.DataFrame | None
    rules: pd.DataFrame | None
    replicas: pd.DataFrame | None
    title_ids: pd.Index
    file_ids: pd.Index
    title_of: np.ndarray
    size_gb: np.ndarray
    bitrate_kbps: np.ndarray


OPTIONAL = ("availability", "rules", "replicas")
"""Tables that a catalogue may do without."""


def build_catalogue(
    titles: pd.DataFrame,
    files: pd.DataFrame,
    availability: pd.DataFrame | None = None,
    rules: pd.DataFrame | None = None,
    replicas: pd.DataFrame | None = None,
) -> Catalogue:
    """Wire validated tables into a catalogue."""
    titles, files = titles.reset_index(drop=True), files.reset_index(drop=True)
    title_ids = pd.Index(titles["title"])
    return Catalogue(
        titles=titles,
        files=files,
        availability=availability,
        rules=rules,
        replicas=replicas,
        title_ids=title_ids,
        file_ids=pd.Index(files["file"]),
        title_of=index_of(title_ids, files["title"]).astype(np.int32),
        size_gb=files["size_gb"].to_numpy(float),
        bitrate_kbps=files["bitrate_kbps"].to_numpy(float),
    )


def read_catalogue(folder: Path) -> Catalogue:
    """Read and validate the catalogue of a network folder.

    Raises
    ------
    InputError
        With everything that is wrong with the tables.
    """
    problems: list[Problem] = []
    catalogue = validate_catalogue(folder, problems)
    if problems or catalogue is None:
        raise InputError(problems)
    return catalogue


def validate_catalogue(
    folder: Path, problems: list[Problem], regions: pd.Index | None = None, sites: pd.Index | None = None
) -> Catalogue | None:
    """Read titles, files and the tables that may be absent; append all that is wrong to ``problems`` and return the catalogue if it is sound.

    Parameters
    ----------
    regions, sites
        Names that ``availability.region`` and ``rules.site`` are checked against, if given.
    """
    before = len(problems)
    known = {name: ids for name, ids in (("regions", regions), ("sites", sites)) if ids is not None}
    frames: dict[str, pd.DataFrame | None] = {}
    for name in ("titles", "files", *OPTIONAL):
        schema = load_schema("demand", name)
        try:
            path = find_table(folder, name)
        except InputError as error:
            problems.extend(error.problems)
            continue
        if path is None:
            if name not in OPTIONAL:
                columns = ", ".join(a.name for a in schema.attributes if a.status != "optional")
                problems.append(
                    Problem(
                        table=name,
                        message=f"missing table, no {name}.csv or {name}.parquet",
                        mend=f"add it with the columns {columns}",
                    )
                )
            continue
        frame = frames[name] = read_table(path, schema, problems, known=known, may_be_empty=name in OPTIONAL)
        if frame is not None and name not in OPTIONAL:
            known[name] = pd.Index(frame[schema.key[0]])
    titles, files = frames.get("titles"), frames.get("files")
    if files is not None:
        _check_profiles(files, problems)
    if len(problems) > before or titles is None or files is None:
        return None
    titles, files = in_order(titles, ["title"]), in_order(files, ["file"])
    return build_catalogue(titles, files, *(frames.get(name) for name in OPTIONAL))


def _check_profiles(files: pd.DataFrame, problems: list[Problem]) -> None:
    """A playback names a file by title and profile, so these two must be unique together."""
    for i in np.flatnonzero(files.duplicated(["title", "profile"]).to_numpy())[:20]:
        row = files.iloc[i]
        problems.append(
            Problem(
                table="files",
                row=int(i) + 1,
                column="profile",
                value=str(row["profile"]),
                message=f"title {row['title']!r} has two files of this profile",
                mend="keep one, or name the other profile differently",
            )
        )

"""JSON documents: values as JSON can hold them, and files written whole or not at all."""

import datetime as dt
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from topology.errors import InputError, Problem


def plain(value: Any) -> Any:
    """NumPy, paths, dates and what is not finite as JSON can hold them.

    Examples
    --------
    >>> plain({"gap": np.float64(0.5), "bound": float("inf"), "to": Path("a/b")})
    {'gap': 0.5, 'bound': None, 'to': 'a/b'}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dt.date | dt.datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    return value


def json_text(document: Mapping[str, Any], *, indent: int | None = None) -> str:
    """A document as strict JSON text."""
    return json.dumps(plain(document), ensure_ascii=False, allow_nan=False, indent=indent)


def read_json(path: Path) -> dict[str, Any]:
    """Read a document.

    Raises
    ------
    InputError
        If the file is missing or holds no JSON object.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror or "" if isinstance(error, OSError) else str(error)
        raise InputError(
            Problem(table=path.name, value=str(path), message=f"cannot be read ({why})", mend="make the plan again")
        ) from error
    if not isinstance(document, dict):
        raise InputError(
            Problem(table=path.name, value=str(path), message="not a JSON object", mend="make the plan again")
        )
    return document


def obstacle(folder: Path) -> str:
    """Why a folder can be neither made nor written to; empty if nothing is in the way."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        return f"{there} is there and no folder"
    try:
        with tempfile.TemporaryFile(dir=there):
            return ""
    except OSError as error:
        return f"{there} cannot be written to ({error.strerror})"


def write_json(document: Mapping[str, Any], path: Path) -> None:
    """Write a document whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(json_text(document, indent=1), "utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)

"""Fitted models on disk: a folder with ``model.json``, ``arrays.npz`` and text files; no code is stored and none is run when it is read.

``model.json`` keeps the SHA-256 of the other files: LightGBM ends the whole process over trees that are cut off, so they are never handed to it.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np

from demand.forecast.base import Learned
from topology.errors import InputError, Problem

FORMAT = 2
ARRAYS = "arrays.npz"
KINDS = {"demand": "a network's demand", "lists": "published lists", "growth": "the growth of series"}
"""What models forecast."""


class Fitted(Protocol):
    """What can be saved."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def learned(self) -> Learned:
        """What to save of a fit."""
        ...


class Recalls(Protocol):
    """What can be loaded."""

    def recall(self, learned: Learned) -> Self:
        """Take up what an earlier fit learned."""
        ...


Model = TypeVar("Model", bound=Recalls)


def save_forecaster(fitted: Fitted, folder: Path) -> None:
    """Write what a fitted model has learned; the history stays where it is."""
    learned = fitted.learned()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ARRAYS).open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(learned.arrays))
    for name, text in learned.texts.items():
        (folder / f"{name}.txt").write_bytes(text.encode("utf-8"))
    document = {
        "format": FORMAT,
        "kind": learned.kind,
        "model": fitted.name,
        "numbers": dict(learned.numbers),
        "texts": sorted(learned.texts),
        "sha256": {name: _sha256(folder / name) for name in [ARRAYS, *(f"{text}.txt" for text in learned.texts)]},
    }
    (folder / "model.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def read_learned(folder: Path) -> tuple[str, Learned]:
    """The model's name and what it had learned.

    Raises
    ------
    InputError
        The folder holds no saved model, a part of it was changed, or it has a format this version does not know.
    """
    try:
        document = json.loads((folder / "model.json").read_text("utf-8"))
        if document["format"] != FORMAT:
            raise unreadable(folder, f"format {document['format']}, this version reads {FORMAT}")
        for part in [ARRAYS, *(f"{name}.txt" for name in document["texts"])]:
            if _sha256(folder / part) != document["sha256"][part]:
                raise unreadable(folder, f"{part} is not what was saved")
        with np.load(folder / ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        texts = {name: (folder / f"{name}.txt").read_bytes().decode("utf-8") for name in document["texts"]}
        learned = Learned(kind=str(document["kind"]), numbers=document["numbers"], arrays=arrays, texts=texts)
        return str(document["model"]), learned
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise unreadable(folder, f"{type(error).__name__}: {error}") from error


def recall_saved(folder: Path, kind: str, make: Callable[[str], Model]) -> Model:
    """A model of some kind as it was saved.

    Parameters
    ----------
    kind
        What it shall forecast, one of :data:`KINDS`.
    make
        Gives a model of a name, which takes up what was learned.

    Raises
    ------
    InputError
        The folder holds no saved model, one that lacks a part, or one of another kind.
    """
    name, learned = read_learned(folder)
    if learned.kind != kind:
        message = f"{name!r} is a model of {KINDS.get(learned.kind, learned.kind)}, not of {KINDS[kind]}"
        mend = f"load a model that was saved by a forecast of {KINDS[kind]}"
        raise InputError(Problem(table="model", value=str(folder), message=message, mend=mend))
    model = make(name)
    try:
        return model.recall(learned)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise unreadable(folder, f"{type(error).__name__}: {error}") from error


def unreadable(folder: Path, why: str) -> InputError:
    """What to raise for a folder that holds no saved model."""
    mend = "fit the model again with fillplan forecast --save-model"
    return InputError(Problem(table="model", value=str(folder), message=f"not a saved forecaster ({why})", mend=mend))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Fitted models on disk: a folder with ``model.json``, ``arrays.npz`` and text files; no code is stored and none is run when it is read."""

import json
import zipfile
from pathlib import Path

import numpy as np

from demand.forecast.base import Forecaster, Learned
from topology.errors import InputError, Problem

FORMAT = 1


def save_forecaster(forecaster: Forecaster, folder: Path) -> None:
    """Write what a fitted forecaster has learned; the history stays where it is."""
    learned = forecaster.learned()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "arrays.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(learned.arrays))
    for name, text in learned.texts.items():
        (folder / f"{name}.txt").write_text(text, "utf-8")
    document = {
        "format": FORMAT,
        "model": forecaster.name,
        "numbers": dict(learned.numbers),
        "texts": sorted(learned.texts),
    }
    (folder / "model.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def read_learned(folder: Path) -> tuple[str, Learned]:
    """The model's name and what it had learned.

    Raises
    ------
    InputError
        The folder holds no saved model, or one of a format this version does not know.
    """
    try:
        document = json.loads((folder / "model.json").read_text("utf-8"))
        if document["format"] != FORMAT:
            raise unreadable(folder, f"format {document['format']}, this version reads {FORMAT}")
        with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        texts = {name: (folder / f"{name}.txt").read_text("utf-8") for name in document["texts"]}
        learned = Learned(numbers=document["numbers"], arrays=arrays, texts=texts)
        return str(document["model"]), learned
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise unreadable(folder, f"{type(error).__name__}: {error}") from error


def unreadable(folder: Path, why: str) -> InputError:
    """What to raise for a folder that holds no saved model."""
    mend = "fit the model again with fillplan forecast --save-model"
    return InputError(Problem(table="model", value=str(folder), message=f"not a saved forecaster ({why})", mend=mend))

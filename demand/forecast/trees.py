"""LightGBM, of the extra ``forecast``: imported only where trees are grown or read."""

import os
from typing import Any

from topology.errors import InputError, Problem


def lightgbm_for(model: str, instead: str = "") -> Any:
    """LightGBM, whose idle threads must not spin on cores that others use (``OMP_WAIT_POLICY``, unless it is set already).

    Parameters
    ----------
    model
        Who needs it.
    instead
        Name of a model that could be taken without it.

    Raises
    ------
    InputError
        It is not installed, or a library of the system that it needs is not.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        message, mend = "LightGBM is not installed", "pip install 'fillplan[forecast]'"
        if isinstance(error, OSError):
            message = f"LightGBM is installed but cannot be loaded ({error})"
            mend = "install the OpenMP library of the system (Debian, Ubuntu: apt install libgomp1; macOS: brew install libomp)"
        mend += f", or choose the model {instead}, which needs nothing more" if instead else ""
        raise InputError(Problem(table="settings", column="model", value=model, message=message, mend=mend)) from error
    return lightgbm


def read_trees(text: str, features: int, model: str, instead: str = "") -> Any:
    """Trees from LightGBM's own text.

    Raises
    ------
    ValueError
        The text holds no trees, or those of another number of features.
    InputError
        LightGBM cannot be loaded.
    """
    lightgbm = lightgbm_for(model, instead)
    try:
        trees = lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise ValueError(f"trees that cannot be read: {error}") from error
    if trees.num_feature() != features:
        raise ValueError(f"trees of {trees.num_feature()} features, not {features}")
    return trees

"""All laws from a folder of published files."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from demand.calibrate.curves import fit_daily_curve, fit_weekday, read_request_rates, read_trending
from demand.calibrate.engagement import fit_engagement, read_engagement
from demand.calibrate.taste import fit_taste, read_country_ranks, read_global_hours
from demand.calibrate.throughput import fit_throughput, read_throughputs
from topology.errors import InputError, Problem

LEFT_BY_MINUTE = {5: 0.3744, 10: 0.5255}
"""Share of sessions that end within so many minutes."""

T = TypeVar("T")


def calibrate(data: Path) -> dict[str, dict[str, Any]]:
    """Fit every law.

    Parameters
    ----------
    data
        Folder with ``netflix_engagement``, ``netflix_top10``, ``akamai_jedi``, ``youtube_trending_2017`` and ``abr``.

    Returns
    -------
    The document of ``laws.json``.

    Raises
    ------
    InputError
        A file is missing or is not what it should be.
    """
    reports = _read(data / "netflix_engagement/netflix_engagement_2023H1_2025H1.csv.gz", read_engagement)
    ranks = _read(data / "netflix_top10/all-weeks-countries.tsv.gz", read_country_ranks)
    hours = _read(data / "netflix_top10/all-weeks-global.tsv.gz", read_global_hours)
    rates = [_read(data / f"akamai_jedi/v-{i}.request_rate.txt.gz", read_request_rates) for i in (1, 2)]
    trending = [
        _read(data / f"youtube_trending_2017/{country}videos.csv.gz", read_trending) for country in ("US", "GB")
    ]
    traces = _read(data / "abr/sabre_mmsys18_traces.tar.gz", read_throughputs)
    return {
        **fit_engagement(reports),
        "taste": fit_taste(ranks, hours),
        "daily_curve": fit_daily_curve(*rates),
        "weekday": fit_weekday(trending),
        "watching": fit_watching(),
        "throughput": fit_throughput(traces),
    }


def fit_watching() -> dict[str, Any]:
    """The Weibull distribution through two published quantiles, :data:`LEFT_BY_MINUTE`."""
    (x1, y1), (x2, y2) = ((np.log(t), np.log(-np.log1p(-p))) for t, p in LEFT_BY_MINUTE.items())
    shape = float((y2 - y1) / (x2 - x1))
    return {
        "law": "minutes until a viewer leaves: Weibull, cut off by the end of the title",
        "source": "no file: shares of sessions that end within 5 and 10 minutes of a large video-on-demand system (Yu, Zheng, Zhao, Zheng, "
        "EuroSys 2006, doi 10.1145/1217935.1217968), as quoted; the measurements are not public",
        "observations": len(LEFT_BY_MINUTE),
        "goodness": {"ended_within_minutes": {str(t): p for t, p in LEFT_BY_MINUTE.items()}},
        "parameters": {"shape": shape, "scale_minutes": float(np.exp(x1 - y1 / shape))},
    }


def write_laws(laws: dict[str, dict[str, Any]], path: Path) -> None:
    """Write the document, whole or not at all, figures to six significant digits."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(json.dumps(_rounded(laws), indent=1, ensure_ascii=False) + "\n", "utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path, reader: Callable[[Path], T]) -> T:
    try:
        return reader(path)
    except (OSError, EOFError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or ["?"])[0]
        raise InputError(
            Problem(
                table=path.name,
                value=str(path),
                message=f"cannot be read ({type(error).__name__}: {reason})",
                mend="give the folder that holds the published file, unchanged",
            )
        ) from error


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value

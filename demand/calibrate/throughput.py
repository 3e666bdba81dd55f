"""Throughput of sessions: lognormal by kind of access, from measured traces."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"3Glogs": "3g", "4Glogs": "4g", "sd_fs": "fixed-sd", "hd_fs": "fixed-hd"}
"""Folders of the archive and what they are called here."""


def read_throughputs(path: Path) -> dict[str, np.ndarray]:
    """Mean throughput of each trace, kbit/s, by kind of access, > 0."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS.values()}
    with tarfile.open(path) as archive:
        for member in archive:
            parts = Path(member.name).parts
            if len(parts) < 2 or parts[-2] not in KINDS or not parts[-1].endswith(".json"):
                continue
            file = archive.extractfile(member)
            assert file is not None
            steps = json.load(file)
            time = sum(step["duration_ms"] for step in steps)
            found[KINDS[parts[-2]]].append(sum(step["duration_ms"] * step["bandwidth_kbps"] for step in steps) / time)
    if empty := [kind for kind, means in found.items() if not means]:
        message = f"no traces of {', '.join(empty)}"
        raise ValueError(message)
    return {kind: np.array(means, float) for kind, means in found.items()}


def fit_throughput(traces: dict[str, np.ndarray]) -> dict[str, Any]:
    """Mean and standard deviation of the logarithm by kind; (N,) kbit/s of each."""
    logs = {kind: np.log(means) for kind, means in traces.items()}
    return {
        "law": "mean throughput of a session by kind of access: lognormal, kbit/s",
        "source": "3G, 4G and fixed-line traces that come with Sabre (Spiteri, Sitaraman, Sparacio, MMSys 2018)",
        "observations": sum(map(len, logs.values())),
        "goodness": {
            "p10_p90_log_gap": [
                float(np.abs(np.quantile(x, [0.1, 0.9]) - x.mean() - x.std() * np.array([-1.2816, 1.2816])).max())
                for x in logs.values()
            ]
        },
        "parameters": {
            "kinds": list(logs),
            "log_mean": [float(x.mean()) for x in logs.values()],
            "log_sd": [float(x.std()) for x in logs.values()],
        },
    }

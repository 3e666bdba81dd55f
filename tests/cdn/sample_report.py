"""A report that looks like a real one: a dozen German cities, two policies that react, one that plans, one that foresees."""

import numpy as np
import pandas as pd

from cdn.report import ReportData

CITIES = {
    "Hamburg": (53.55, 10.0), "Berlin": (52.52, 13.4), "Hannover": (52.37, 9.73), "Dortmund": (51.51, 7.47),
    "Köln": (50.94, 6.96), "Leipzig": (51.34, 12.37), "Frankfurt": (50.11, 8.68), "Nürnberg": (49.45, 11.08),
    "Karlsruhe": (49.01, 8.4), "Stuttgart": (48.78, 9.18), "Ulm": (48.4, 9.99), "München": (48.14, 11.58),
}  # fmt: skip
PAIRS = (
    ("Hamburg", "Berlin"), ("Hamburg", "Hannover"), ("Berlin", "Leipzig"), ("Hannover", "Dortmund"), ("Hannover", "Frankfurt"),
    ("Dortmund", "Köln"), ("Köln", "Frankfurt"), ("Leipzig", "Frankfurt"), ("Leipzig", "Nürnberg"), ("Frankfurt", "Karlsruhe"),
    ("Karlsruhe", "Stuttgart"), ("Stuttgart", "Ulm"), ("Ulm", "München"), ("Nürnberg", "München"), ("Frankfurt", "Nürnberg"),
)  # fmt: skip
POLICIES = {"plan": 0.88, "lru": 0.81, "plan+lru": 0.885, "plan-filled": 0.892, "oracle": 0.915}


def sample_report(seed: int = 0) -> ReportData:
    """The report; every figure follows from ``seed``."""
    rng = np.random.default_rng(seed)
    return ReportData(
        network="nobel-germany",
        date="2026-01-15",
        summary={
            "objective_cost": 18432.7, "lower_bound": 18311.2, "gap": 0.00659, "serving_cost": 17010.4, "fill_cost": 1422.3,
            "origin_only_cost": 96120.0, "method": "exact",
        },
        policies=[_policy(name, ratio) for name, ratio in POLICIES.items()],
        decomposition=[
            ("planning over reacting", 3120.5, "backbone cost of lru on every site less that of the plan"),
            ("forecast error", 842.0, "the plan in place less the same solver given the demand that came"),
            ("solver gap", None, "not known: the oracle was not run"),
        ],
        by_hour=_by_hour(rng),
        links=_links(rng),
        link_load=_link_load(rng),
        sites=_sites(rng),
        backtest=pd.DataFrame(
            {"model": ["smoothing", "last-day", "same-weekday"], "wape": [0.118, 0.164, 0.141], "bias": [0.004, -0.021, 0.013], "coverage": [0.79, np.nan, np.nan]}
        ),
        fill={"transfers": 1234, "gb": 5120.4, "finished_share": 0.998, "latest_end": "2026-01-15T09:40:00", "gb_by_source": {"peer": 3100.0, "origin": 2020.4}},
    )  # fmt: skip


def day_curve(hours: np.ndarray) -> np.ndarray:
    """Demand through the day, 1 at its mean: low in the morning, a peak in the evening."""
    return 1 + 0.7 * np.sin((hours - 13) / 24 * 2 * np.pi) + 0.2 * np.sin((hours - 5) / 12 * 2 * np.pi)


def _policy(name: str, ratio: float) -> dict[str, object]:
    sessions = 20_000
    misses = round((1 - ratio) * sessions)
    return {
        "policy": name, "request_hit_ratio": ratio - 0.004, "byte_hit_ratio": ratio, "edge_offload": ratio + 0.05,
        "misses": {"content": int(misses * 0.9), "not-yet-filled": int(misses * 0.07), "health": int(misses * 0.03)},
        "serving_cost": 40_000 * (1 - ratio) + 9_000, "backbone_cost": 42_000 * (1 - ratio) + 10_000, "backbone_gb": 90_000 * (1 - ratio),
        "backbone_gb_km": 4.1e7 * (1 - ratio), "fill_gb": 0.0 if name == "lru" else 5120.4, "peak_link_gbps": 60 * (1 - ratio) + 11,
        "p95_link_gbps": 50 * (1 - ratio) + 9,
    }  # fmt: skip


def _by_hour(rng: np.random.Generator) -> pd.DataFrame:
    hours = np.arange(24)
    parts = []
    for name, ratio in POLICIES.items():
        gb = 1800 * day_curve(hours)
        hit = np.clip(ratio - 0.02 * np.cos(hours / 24 * 2 * np.pi) + rng.normal(0, 0.003, 24), 0, 1)
        parts.append(
            pd.DataFrame(
                {
                    "policy": name,
                    "hour": hours,
                    "sessions": gb.astype(int),
                    "hits": (gb * hit).astype(int),
                    "gb": gb,
                    "hit_gb": gb * hit,
                    "origin_gb": gb * (1 - hit) / 2,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _links(rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for i, (a, b) in enumerate(PAIRS):
        for tail, head in ((a, b), (b, a)):
            peak = float(rng.uniform(2, 42)) if i != 6 else 39.0
            rows.append(
                (
                    f"{a}-{b}",
                    head,
                    peak * 5000,
                    peak,
                    peak * 0.9,
                    40.0,
                    *CITIES[tail],
                    *CITIES[head],
                    4.2 if i == 6 else 0.0,
                )
            )
    names = [
        "link",
        "towards",
        "gb",
        "peak_gbps",
        "p95_gbps",
        "capacity_gbps",
        "lat",
        "lon",
        "towards_lat",
        "towards_lon",
        "price",
    ]
    return pd.DataFrame(rows, columns=names)


def _link_load(rng: np.random.Generator) -> pd.DataFrame:
    minute = np.arange(0, 1440, 5)
    parts = []
    for i, (a, b) in enumerate(PAIRS[:6]):
        gbps = (20 - 3 * i) * day_curve(minute / 60) * rng.uniform(0.95, 1.05, len(minute))
        parts.append(
            pd.DataFrame({"link": f"{a}-{b}", "towards": a, "minute": minute, "gbps": gbps, "capacity_gbps": 40.0})
        )
    return pd.concat(parts, ignore_index=True)


def _sites(rng: np.random.Generator) -> pd.DataFrame:
    names = ["Hamburg", "Berlin", "Köln", "Leipzig", "Frankfurt", "Stuttgart", "Nürnberg", "München"]
    count = len(names)
    edge = pd.DataFrame(
        {
            "site": [f"{name} edge" for name in names],
            "kind": ["ix" if i % 3 == 0 else "embedded" for i in range(count)],
            "lat": [CITIES[name][0] for name in names],
            "lon": [CITIES[name][1] for name in names],
            "storage_gb": rng.choice([2000.0, 4000.0, 6000.0], count),
            "throughput_gbps": rng.choice([40.0, 80.0], count),
            "served_gb": rng.uniform(1500, 9000, count),
            "hit_share": rng.uniform(0.7, 0.98, count),
            "storage_price": rng.uniform(0, 0.06, count) * (rng.random(count) > 0.2),
            "throughput_price": rng.uniform(0, 9, count) * (rng.random(count) > 0.6),
        }
    )
    edge = edge.assign(
        used_gb=edge["storage_gb"] * 0.995, peak_gbps=edge["throughput_gbps"] * rng.uniform(0.4, 1.0, count)
    )
    origin = {
        "site": "origin",
        "kind": "origin",
        "lat": 50.11,
        "lon": 8.9,
        "storage_gb": np.inf,
        "throughput_gbps": np.inf,
        "served_gb": 3100.0,
        "peak_gbps": 11.0,
    }
    return pd.concat([edge, pd.DataFrame([origin])], ignore_index=True)

"""A scenario's edits of what people watch: of an expected demand, and of sessions.

Both forms follow the same rules, so that edited sessions have the edited demand as their mean. First every ``demand`` factor (and every promotion
with ``total = "grows"``) scales the entries it covers. Then each promotion with ``total = "kept"`` moves bytes within each region, one promotion
after the other: let q be the title's share of the region's bytes and q' the wanted one (``share``, or ``factor * q``, at most 1). If q' > q, a part
(q' - q) / (1 - q) of every other entry goes over to the title's file of the nearest bit rate; if q' < q, a part (q - q') / q of the title's bytes
goes over to the other entries, in proportion to their bytes. A region's bytes stay what they were.
"""

from dataclasses import dataclass

import numpy as np

from cdn.draws import MOST_SESSIONS, refuse_too_many
from cdn.scenario.form import Promotion, Scenario, check_scenario, position
from demand.catalogue import Catalogue
from demand.demand import Demand, build_demand
from sim.sessions import DAY_MS, Sessions, build_sessions
from topology.network import Network

JITTER_MS = 30 * 60_000
"""How far a repeated session may start from the one it repeats, either way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """What one promotion moves: parts of the other entries (``rise``) or of the title's (``fall``), (R,) each, and of which title."""

    title: int
    rise: np.ndarray
    fall: np.ndarray


def edit_demand(demand: Demand, catalogue: Catalogue, scenario: Scenario, network: Network) -> Demand:
    """The demand as the scenario has it. Peaks and quantiles move with the bytes.

    Raises
    ------
    InputError
        If a region or title is unknown.
    """
    check_scenario(scenario, network, catalogue)
    if not (scenario.demand or scenario.promote):
        return demand
    columns = [c for c in (demand.gb, demand.peak_gbps, demand.gb_p10, demand.gb_p90) if c is not None]
    region, file = demand.region, demand.file
    factor = _factors(region, file, catalogue, scenario, network)
    values = np.column_stack(columns) * factor[:, None]
    for promotion in scenario.promote:
        if promotion.total == "grows":
            continue
        own = catalogue.title_of[file] == position(catalogue.title_ids, promotion.title)
        move = _move(promotion, region, own, values[:, 0], catalogue, network)
        region, file, values = _move_demand(move, region, file, values, own, catalogue, len(network.regions))
    parts = iter(values.T)
    gb, peak = next(parts), next(parts)
    p10 = None if demand.gb_p10 is None else next(parts)
    p90 = None if demand.gb_p90 is None else next(parts)
    return build_demand(region, file, gb, peak, p10, p90)


def edit_sessions(
    sessions: Sessions, catalogue: Catalogue, scenario: Scenario, network: Network, rng: np.random.Generator
) -> Sessions:
    """The sessions as the scenario has them: those of the base where nothing is edited.

    A session whose region and title are scaled by ``factor`` is kept, dropped or repeated so that it occurs ``factor`` times on average; the first
    occurrence is the session itself, further ones start up to half an hour before or after. A promotion that keeps the total changes what a
    session watches; its start, length and bytes stay. All other sessions are the base's own (common random numbers), so what differs between
    two simulations is the scenario's doing.

    Parameters
    ----------
    rng
        Draws one number a session for scaling first; with the same generator state a larger factor keeps all that a smaller one keeps.

    Raises
    ------
    InputError
        If a region or title is unknown, or if :data:`cdn.draws.MOST_SESSIONS` would not do.
    """
    check_scenario(scenario, network, catalogue)
    if not (scenario.demand or scenario.promote):
        return sessions
    factor = _factors(sessions.region, sessions.file, catalogue, scenario, network)
    _refuse_too_many(factor, scenario)
    whole = np.floor(factor)
    times = (whole + (rng.random(len(sessions)) < factor - whole)).astype(np.int64)
    of = np.repeat(np.arange(len(sessions)), times)
    repeated = np.diff(of, prepend=-1) == 0
    start, region, file = sessions.start_ms[of], sessions.region[of], sessions.file[of].copy()
    start[repeated] = _within_days(
        start[repeated] + rng.integers(-JITTER_MS, JITTER_MS + 1, int(repeated.sum())), sessions.days * DAY_MS
    )
    size = sessions.bytes[of]
    for promotion in scenario.promote:
        if promotion.total == "kept":
            own = catalogue.title_of[file] == position(catalogue.title_ids, promotion.title)
            move = _move(promotion, region, own, size.astype(float), catalogue, network)
            file = _move_sessions(move, region, file, size, own, catalogue, rng)
    return build_sessions(start, region, file, sessions.duration_ms[of], size, days=sessions.days)


def _factors(
    region: np.ndarray, file: np.ndarray, catalogue: Catalogue, scenario: Scenario, network: Network
) -> np.ndarray:
    """(N,) float: what every entry or session is multiplied by; edits that meet multiply."""
    factor = np.ones(len(region))
    scaled = [(e.region, e.title, e.factor) for e in scenario.demand]
    scaled += [(p.region, p.title, p.factor) for p in scenario.promote if p.total == "grows" and p.factor is not None]
    for region_name, title_name, by in scaled:
        covered = np.ones(len(region), bool)
        if region_name is not None:
            covered &= region == position(network.region_ids, region_name)
        if title_name is not None:
            covered &= catalogue.title_of[file] == position(catalogue.title_ids, title_name)
        factor[covered] *= by
    return factor


def _refuse_too_many(factor: np.ndarray, scenario: Scenario) -> None:
    """Refuse a surge that no memory holds."""
    refuse_too_many(
        float(factor.sum()), f"{len(factor):,}", table=f"scenario {scenario.name!r}", column="factor", value=f"{factor.max():g}",
        mend="give a smaller factor", most=max(MOST_SESSIONS, len(factor)),
    )  # fmt: skip


def _move(
    promotion: Promotion, region: np.ndarray, own: np.ndarray, gb: np.ndarray, catalogue: Catalogue, network: Network
) -> _Move:
    """Parts that go over in each region; a region where the title is all there is stays as it is, as does one out of scope."""
    regions = len(network.regions)
    total = np.bincount(region, gb, regions)
    title_gb = np.bincount(region[own], gb[own], regions)
    share = np.divide(title_gb, total, out=np.zeros(regions), where=total > 0)
    wanted = (
        np.minimum(1.0, share * promotion.factor) if promotion.factor is not None else np.full(regions, promotion.share)
    )
    able = (total > 0) & (share < 1)
    if promotion.region is not None:
        able &= np.arange(regions) == position(network.region_ids, promotion.region)
    rise = np.divide(wanted - share, 1 - share, out=np.zeros(regions), where=able & (wanted > share))
    fall = np.divide(share - wanted, share, out=np.zeros(regions), where=able & (wanted < share))
    return _Move(title=position(catalogue.title_ids, promotion.title), rise=rise, fall=fall)


def _move_demand(
    move: _Move,
    region: np.ndarray,
    file: np.ndarray,
    values: np.ndarray,
    own: np.ndarray,
    catalogue: Catalogue,
    regions: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rise, fall = move.rise[region], move.fall[region]
    own_gb = np.bincount(region[own], values[own, 0], regions)
    other_gb = np.bincount(region[~own], values[~own, 0], regions)
    gain = 1 + np.divide(move.fall * own_gb, other_gb, out=np.zeros(regions), where=other_gb > 0)[region]
    moved = ~own & (rise > 0)
    stay = values * np.where(own, 1 - fall, (1 - rise) * gain)[:, None]
    region = np.concatenate([region, region[moved]]).astype(np.int64)
    file = np.concatenate([file, _nearest_file(move.title, catalogue)[file[moved]]]).astype(np.int64)
    values = np.concatenate([stay, values[moved] * rise[moved, None]])
    keys, at = np.unique(file * regions + region, return_inverse=True)
    merged = np.column_stack([np.bincount(at, column, len(keys)) for column in values.T])
    return keys % regions, keys // regions, merged


def _move_sessions(
    move: _Move,
    region: np.ndarray,
    file: np.ndarray,
    size: np.ndarray,
    own: np.ndarray,
    catalogue: Catalogue,
    rng: np.random.Generator,
) -> np.ndarray:
    drawn, donor = rng.random(len(file)), rng.random(len(file))
    edited = file.copy()
    joins = ~own & (drawn < move.rise[region])
    edited[joins] = _nearest_file(move.title, catalogue)[file[joins]]
    leaves = np.flatnonzero(own & (drawn < move.fall[region]))
    others = np.flatnonzero(~own)
    others = others[np.argsort(region[others], kind="stable")]
    reach = np.concatenate([[0.0], np.cumsum(size[others], dtype=float)])
    first, end = (np.searchsorted(region[others], region[leaves], side=side) for side in ("left", "right"))
    aim = reach[first] + donor[leaves] * (reach[end] - reach[first])
    at = np.searchsorted(reach, aim, side="right") - 1
    edited[leaves] = file[others[np.minimum(at, end - 1)]]
    return edited


def _nearest_file(title: int, catalogue: Catalogue) -> np.ndarray:
    """(F,) int32: for every file, the title's file whose bit rate is nearest; of two equally near the first."""
    files = np.flatnonzero(catalogue.title_of == title)
    distance = np.abs(catalogue.bitrate_kbps[:, None] - catalogue.bitrate_kbps[files][None, :])
    return np.asarray(files[distance.argmin(axis=1)], np.int32)


def _within_days(start_ms: np.ndarray, end_ms: int) -> np.ndarray:
    """Starts reflected into the days at the first midnight and the last."""
    late = start_ms >= end_ms
    return np.where(late, 2 * end_ms - 1 - start_ms, np.abs(start_ms))

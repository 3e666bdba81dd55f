"""The bound that a plan's prices prove, (7) of ``docs/model.md``. Part of the verifier; shares no code with the solvers.

The better of two. (a) Unlimited storage: every entry from its cheapest candidate. (b) The sum of what every file costs at least at the plan's prices (:mod:`cdn.placement.proof`), less what the
limits are worth at them. It is true at any prices >= 0: wrong ones only make it weak.
"""

import math

import numpy as np
import pandas as pd

from cdn.placement.case import Case
from cdn.placement.proof import NODES, Asked, Prices, Ruled, Ways, least_costs
from topology.network import Network


def lower_bound(
    case: Case, before: np.ndarray, prices: pd.DataFrame | None, slice_prices: pd.DataFrame | None = None
) -> float:
    """The better of the bound of unlimited storage and that of the plan's prices.

    Parameters
    ----------
    before
        (S, F) bool, what was stored last night.
    prices, slice_prices
        The plan's tables.
    """
    demand = case.demand
    unlimited = math.fsum((demand.gb * case.routes.cost_per_gb.min(axis=1)[demand.region]).tolist())
    if prices is None or not len(prices):
        return unlimited
    slices = case.shape.shape[1]
    storage, throughput, arc, fill = _price_arrays(case.network, prices)
    throughput, arc = np.tile(throughput / slices, (slices, 1)), np.tile(arc / slices, (slices, 1))
    if slices > 1 and slice_prices is not None:
        for t in range(slices):
            _, throughput[t], arc[t], _ = _price_arrays(case.network, slice_prices[slice_prices["slice"] == t])
    return max(unlimited, priced_bound(case, before, storage, throughput, arc, fill))


def priced_bound(
    case: Case, before: np.ndarray, storage: np.ndarray, throughput: np.ndarray, arc: np.ndarray, fill: np.ndarray
) -> float:
    """(7) at prices >= 0.

    Parameters
    ----------
    storage, fill
        (S,) per GB stored and per GB filled; those of unlimited sites count as 0.
    throughput, arc
        (T, S) and (T, 2L) per Gbit/s in each slice of the day.
    """
    network, demand, F = case.network, case.demand, len(case.size_gb)
    windows = np.isfinite(case.window_gb)
    fill = np.where(windows, fill, 0.0)
    asked = Asked(
        np.searchsorted(demand.file, np.arange(F + 1)).astype(np.int64), demand.region, demand.gb, demand.peak_gbps, case.size_gb,
    )  # fmt: skip
    floors = case.floors
    ruled = Ruled(
        before, case.pinned, case.forbidden, np.searchsorted(floors["file"], np.arange(F + 1)).astype(np.int64), floors["at_least"].to_numpy(),
        floors["group"].to_numpy(), case.member,
    )  # fmt: skip
    ways = Ways(
        case.routes.site.astype(np.int64), case.routes.cost_per_gb, network.is_origin, case.storage_gb, case.window_gb, case.throughput_gbps()
    )  # fmt: skip
    least = np.zeros(F)
    least_costs(
        np.arange(F), asked, ways, Prices(_tolls(case, throughput, arc), storage, case.fill_cost + fill), ruled, NODES, least
    )  # fmt: skip
    paid = [storage * np.where(network.is_origin, 0.0, case.storage_gb), fill * np.where(windows, case.window_gb, 0.0)]
    paid += [part * np.where(network.is_origin, 0.0, case.throughput_gbps()) for part in throughput]
    if case.link_limits:
        paid += [part * case.link_gbps() for part in arc]
    return math.fsum(least.tolist()) - math.fsum(np.concatenate(paid).tolist())


def _tolls(case: Case, throughput: np.ndarray, arc: np.ndarray) -> np.ndarray:
    """(R, K): what a Gbit/s of a region's busiest hour pays from each candidate."""
    site, origin = case.routes.site, case.network.is_origin
    edge = (site >= 0) & ~origin[np.maximum(site, 0)]
    toll = np.zeros(site.shape)
    for t, part in enumerate(case.shape.T):
        now = np.where(edge, throughput[t][site], 0.0)
        if case.link_limits:
            along = np.concatenate([[0.0], np.cumsum(arc[t][case.paths.arcs])])
            now = now + (along[case.paths.start[1:]] - along[case.paths.start[:-1]]).reshape(site.shape)
        toll += part[:, None] * now
    return toll


def _price_arrays(network: Network, prices: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Storage and throughput (S,), links (2L,), fill windows (S,) from a table of prices; rows of unknown names count as price 0, which keeps the bound true."""
    storage, throughput, fill = np.zeros((3, len(network.sites)))
    arc = np.zeros(2 * len(network.links))
    ends = network.link_ends[np.arange(len(arc)) // 2, 1 - np.arange(len(arc)) % 2]
    names = pd.Index([f"{network.link_ids[a // 2]}>{network.node_ids[n]}" for a, n in enumerate(ends)])
    value = prices["price"].to_numpy(float)
    for kind, target, index in (
        ("storage", storage, network.site_ids),
        ("throughput", throughput, network.site_ids),
        ("link", arc, names),
        ("fill", fill, network.site_ids),
    ):
        rows = (prices["kind"] == kind).to_numpy()
        at = index.get_indexer(pd.Index(prices["id"].astype(str).to_numpy()[rows]))
        target[at[at >= 0]] = value[rows][at >= 0]
    for price in (storage, throughput, fill):
        price[network.is_origin] = 0.0
    return storage, throughput, arc, fill

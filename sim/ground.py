"""The arrays of the batch engine's kernel as a simulation begins: what never changes, and what does."""

from typing import NamedTuple

import numpy as np

from sim.arrays import LANES, LINE_WORDS, Ground, State, Transfers
from sim.caches import KERNEL_ADMISSIONS, KERNEL_POLICIES, empty_caches, empty_memory
from sim.climb import PULLS, Climbs, climbs, pull_paths
from sim.fleet import Fleet
from sim.machine import wide_zeros
from sim.numbering import WORD, Numbers
from sim.scheme import Fills, Rules, Scheme, dropped_copies
from sim.sites import copies_there
from sim.steer import clear_copies, set_bits, set_copies
from topology.placement import Placement
from topology.routing import Paths

ENDLESS_BPS = 2**62
"""The throughput of an origin."""
NO_CLIMBS = Climbs(of=np.zeros((0, 0), np.int32), start=np.zeros(1, np.int64), site=np.zeros(0, np.int32))
NO_PAIRS = np.zeros((0, 0), np.int32)
NO_PATHS = Paths(start=np.zeros(1, np.int64), arcs=np.zeros(0, np.int32))


class FileRows(NamedTuple):
    """What a session asks about its file: views of one array with a row for every file, so that it is one look into the memory.

    (F, S / 64) uint64 ``held``, ``meant`` and ``cached``, of no width without a policy, those of a site side by side; ``bytes`` (F,) int64; ``copies``
    (F, W) uint64. See :class:`sim.arrays.State`.
    """

    held: np.ndarray
    meant: np.ndarray
    cached: np.ndarray
    bytes: np.ndarray
    copies: np.ndarray


def file_rows(fleet: Fleet, scheme: Scheme, numbers: Numbers) -> FileRows:
    """The files with nothing but their bytes and their origins; each row is as long as some lines of the memory."""
    words = -(-fleet.sites // WORD)
    together = 2 if scheme.policy is None else 3
    at = together * words
    lines = -(-(at + 1 + numbers.width) // LINE_WORDS)
    files = max(fleet.files, 2)  # so that a column is never contiguous, and kernels are compiled for one form alone
    table = wide_zeros((files, lines * LINE_WORDS), np.uint64)
    rows = FileRows(
        held=table[:, :at:together],
        meant=table[:, 1:at:together],
        cached=table[:, 2:at:together] if together > 2 else table[:, :0],
        bytes=table[:, at].view(np.int64),
        copies=table[:, at + 1 : at + 1 + numbers.width],
    )
    rows.bytes[: fleet.files] = fleet.file_bytes
    for site in np.flatnonzero(fleet.is_origin).tolist():
        rows.held[:, site // WORD] |= np.uint64(1 << site % WORD)
    return rows


def lay_ground(fleet: Fleet, scheme: Scheme, rules: Rules, numbers: Numbers, rows: FileRows) -> tuple[Ground, Paths]:
    """What does not change while a simulation runs, and the paths between sites that a pull may join."""
    policy = 0 if scheme.policy is None else KERNEL_POLICIES[scheme.policy]
    pair_of, pair_paths = pull_paths(fleet, scheme.pull) if policy else (NO_PAIRS, NO_PATHS)
    pair_source, pair_target = np.nonzero(pair_of >= 0)  # in the order of their numbers
    ways = climbs(fleet) if policy and scheme.pull != "next" else NO_CLIMBS
    reserve = np.zeros(numbers.bits, np.int64)
    reserve[numbers.bit] = rules.reserve_bps(fleet)
    ground = Ground(
        candidate=np.maximum(fleet.candidate, 0).astype(np.int32),
        lanes=_lanes(fleet),
        where=numbers.where,
        site_of=numbers.site,
        reserve=reserve,
        file_bytes=rows.bytes,
        meant=rows.meant,
        pair_of=pair_of,
        pair_source=pair_source,
        pair_target=pair_target,
        path_us=fleet.round_trip_us(fleet.region_paths),
        pair_us=fleet.round_trip_us(pair_paths),
        policy=policy,
        admission=KERNEL_ADMISSIONS[scheme.admission],
        largest=scheme.largest_bytes,
        climb_of=ways.of,
        climb_start=ways.start,
        climb_site=ways.site,
        pull=PULLS.index(scheme.pull),
        whole=scheme.fetch == "file",
    )
    return ground, pair_paths


def first_state(fleet: Fleet, scheme: Scheme, fills: Fills, numbers: Numbers, ground: Ground, rows: FileRows) -> State:
    """What changes, as the clock starts: nobody watches, caches are empty, and the copies that no fill brings are there."""
    up = np.zeros(numbers.width, np.uint64)  # gaps are never up
    np.bitwise_or.at(up, numbers.bit // WORD, np.uint64(1) << (numbers.bit % WORD).astype(np.uint64))
    files = fleet.files if ground.policy else 0
    meta, node, ring = empty_caches(
        ground.policy, np.where(fleet.is_origin, 0, scheme.cache_bytes(fleet)), files, by_file=True
    )
    state = State(
        row_of=np.arange(fleet.regions, dtype=np.int32),
        held=rows.held,
        copies=rows.copies,
        up=up,
        free=throughput(fleet, numbers),
        load=np.zeros(fleet.sites, np.int64),
        cache_meta=meta,
        cache_node=node,
        cache_ring=ring,
        cache_asked=empty_memory(ground.admission, fleet.sites, files),
        cached=rows.cached,
    )
    if scheme.placement is not None:
        plan, now, old = scheme.placement, copies_there(fleet, scheme, fills), dropped_copies(fleet, scheme)
        set_bits(rows.meant, fleet.appliance_site[plan.appliance], plan.file)
        set_copies(ground, state, numbers.bit, plan.appliance[now], plan.file[now])
        set_copies(ground, state, numbers.bit, old.appliance, old.file)
    return state


def drop(numbers: Numbers, ground: Ground, state: State, placement: Placement) -> None:
    """Take copies away."""
    clear_copies(ground, state, numbers.bit, placement.appliance, placement.file)


def throughput(fleet: Fleet, numbers: Numbers) -> np.ndarray:
    """(B,) int64: bit/s of every appliance and origin, by bit."""
    bps = np.full(numbers.bits, ENDLESS_BPS, np.int64)
    bps[numbers.bit] = fleet.appliance_throughput_bps
    return bps


def number_transfers(fleet: Fleet, fills: Fills, rules: Rules, numbers: Numbers) -> Transfers:
    """The fills as the kernel sees them."""
    edge, bit = fills.source >= 0, np.empty(len(fills), np.int64)
    bit[edge] = numbers.bit[fills.source[edge]]
    bit[~edge] = numbers.where["endless"][fills.source_site(fleet)[~edge]]
    return Transfers(
        source=bit,
        target=numbers.bit[fills.appliance],
        file=np.asarray(fills.file, np.int64),
        rate_bps=fills.rate_bps(),
        write_bps=rules.write_bps(fills),
    )


def _lanes(fleet: Fleet) -> np.ndarray:
    """``lanes`` of :class:`sim.arrays.Ground`."""
    rows, width = fleet.candidate.shape
    if fleet.sites >= WORD:
        return np.zeros((0, 0, LANES), np.uint8)
    lanes = np.full((rows, -(-width // LANES) * LANES), WORD - 1, np.uint8)
    lanes[:, :width] = np.where(fleet.candidate >= 0, fleet.candidate, WORD - 1)
    return lanes.reshape(rows, -1, LANES)

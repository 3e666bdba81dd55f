"""The arrays of the batch engine's kernel as a simulation begins: what never changes, and what does."""

from typing import NamedTuple

import numpy as np

from sim.arrays import LANES, PLACES, Ground, State, Transfers
from sim.caches import KERNEL_ADMISSIONS, KERNEL_POLICIES, empty_caches, empty_memory
from sim.climb import PULLS, Climbs, climbs, pull_paths
from sim.fleet import Fleet
from sim.machine import wide_zeros
from sim.numbering import WORD, Numbers
from sim.scheme import Fills, Rules, Scheme, dropped_copies
from sim.sites import copies_there
from sim.steer import AT_ONCE, refresh, set_copies
from topology.placement import Placement
from topology.routing import Paths

ENDLESS_BPS = 2**62
"""The throughput of an origin."""
NO_CLIMBS = Climbs(of=np.zeros((0, 0), np.int32), start=np.zeros(1, np.int64), site=np.zeros(0, np.int32))
NO_PAIRS = np.zeros((0, 0), np.int32)
NO_PATHS = Paths(start=np.zeros(1, np.int64), arcs=np.zeros(0, np.int32))


class FileRows(NamedTuple):
    """What a session asks about its file: views of one array with a row for every file, so that it is one look into the memory.

    ``bytes`` (F,) int64; ``cached`` (F, S / 64) uint64, of no width without a policy; ``copies`` (F, W) uint64. See :class:`sim.arrays.State`.
    """

    bytes: np.ndarray
    cached: np.ndarray
    copies: np.ndarray


def file_rows(fleet: Fleet, scheme: Scheme, fills: Fills, numbers: Numbers) -> FileRows:
    """The files as the clock starts: nothing is cached, and the copies that no fill brings are there."""
    cached = 0 if scheme.policy is None else -(-fleet.sites // WORD)
    files = max(fleet.files, 2)  # never contiguous, so that kernels are compiled for one form alone
    table = wide_zeros((files, 1 + cached + numbers.width), np.uint64)
    rows = FileRows(bytes=table[:, 0].view(np.int64), cached=table[:, 1 : 1 + cached], copies=table[:, 1 + cached :])
    rows.bytes[: fleet.files] = fleet.file_bytes
    if scheme.placement is not None:
        now, old = copies_there(fleet, scheme, fills), dropped_copies(fleet, scheme)
        set_copies(rows.copies, numbers.bit, scheme.placement.appliance[now], scheme.placement.file[now], True)
        set_copies(rows.copies, numbers.bit, old.appliance, old.file, True)
    return rows


def lay_ground(fleet: Fleet, scheme: Scheme, rules: Rules, numbers: Numbers, rows: FileRows) -> tuple[Ground, Paths]:
    """What does not change while a simulation runs, and the paths between sites that a pull may join."""
    policy = 0 if scheme.policy is None else KERNEL_POLICIES[scheme.policy]
    pair_of, pair_paths = pull_paths(fleet, scheme.pull) if policy else (NO_PAIRS, NO_PATHS)
    pair_source, pair_target = np.nonzero(pair_of >= 0)  # in the order of their numbers
    ways = climbs(fleet) if policy and scheme.pull != "next" else NO_CLIMBS
    reserve = np.zeros(numbers.bits, np.int64)
    reserve[numbers.bit] = rules.reserve_bps(fleet)
    seat_row, seat_place, seat_begin = _seats(fleet)
    ground = Ground(
        candidate=np.maximum(fleet.candidate, 0).astype(np.int32),
        lanes=_lanes(fleet) if policy else np.zeros((0, 0, LANES), np.uint8),
        where=numbers.where,
        site_of=numbers.site,
        reserve=reserve,
        file_bytes=rows.bytes,
        seat_row=seat_row,
        seat_place=seat_place,
        seat_begin=seat_begin,
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


def first_state(fleet: Fleet, scheme: Scheme, numbers: Numbers, ground: Ground, rows: FileRows) -> State:
    """What changes, as the clock starts: nobody watches, and caches are empty."""
    up = np.zeros(numbers.width, np.uint64)  # gaps are never up
    np.bitwise_or.at(up, numbers.bit // WORD, np.uint64(1) << (numbers.bit % WORD).astype(np.uint64))
    files = fleet.files if ground.policy else 0
    meta, node, ring = empty_caches(
        ground.policy, np.where(fleet.is_origin, 0, scheme.cache_bytes(fleet)), files, by_file=True
    )
    state = State(
        row_of=np.arange(fleet.regions, dtype=np.int32),
        holds=_origins(fleet),
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
        look_anew(fleet, ground, state, scheme.placement, planned=True)
        look_anew(fleet, ground, state, dropped_copies(fleet, scheme))
    return state


def look_anew(fleet: Fleet, ground: Ground, state: State, placement: Placement, *, planned: bool = False) -> None:
    """See which candidates have these files, at the sites of these appliances, whose copies have come or gone, or are planned as the clock starts."""
    room = np.zeros(AT_ONCE, np.uint16)
    refresh(ground, state, fleet.appliance_site, placement.appliance, placement.file, planned, room)


def drop(numbers: Numbers, state: State, placement: Placement) -> None:
    """Take copies away."""
    set_copies(state.copies, numbers.bit, placement.appliance, placement.file, False)


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


def _seats(fleet: Fleet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where sites stand among the candidates: ``seat_row``, ``seat_place`` and ``seat_begin`` of :class:`sim.arrays.Ground`."""
    row, place = np.nonzero(fleet.candidate >= 0)
    site = fleet.candidate[row, place]
    order = np.argsort(site, kind="stable")
    return row[order], place[order], np.searchsorted(site[order], np.arange(fleet.sites + 1))


def _lanes(fleet: Fleet) -> np.ndarray:
    """``lanes`` of :class:`sim.arrays.Ground`."""
    rows, width = fleet.candidate.shape
    words = -(-width // PLACES)
    if fleet.sites >= WORD:
        return np.zeros((0, 0, LANES), np.uint8)
    padded = np.full((rows, words * PLACES), WORD - 1, np.uint8)
    padded[:, :width] = np.where(fleet.candidate >= 0, fleet.candidate, WORD - 1)
    lanes = np.full((rows, words, LANES), WORD - 1, np.uint8)
    lanes[:, :, :PLACES] = padded.reshape(rows, words, PLACES)
    return lanes


def _origins(fleet: Fleet) -> np.ndarray:
    """(V, F, K / 15) uint16: the bits of origins alone."""
    width = fleet.candidate.shape[1]
    endless = fleet.is_origin[np.maximum(fleet.candidate, 0)] & (fleet.candidate >= 0)
    words = np.zeros((len(fleet.candidate), -(-width // PLACES)), np.uint16)
    row, k = np.nonzero(endless)
    np.bitwise_or.at(words, (row, k // PLACES), (1 << k % PLACES).astype(np.uint16))
    bits = wide_zeros((len(words), fleet.files, words.shape[1]), np.uint16)
    bits[:] = words[:, None]
    return bits

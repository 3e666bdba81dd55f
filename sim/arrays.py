"""The arrays that the kernel of the batch engine works on; :mod:`sim.ground` and :mod:`sim.accounts` make them.

Appliances are numbered anew, site by site, so that those of one site share a word of 64 bits; a site of more than 64 takes whole words. An origin
is one appliance with as good as endless throughput.
"""

from typing import NamedTuple

import numpy as np

LINE_WORDS = 8
"""Words of 64 bits in a line of the memory."""
LANES = 16
"""Candidates of one word: so many are told from a file's sites with a few instructions for all."""
PATH_BYTES, PATH_MS, PATH_PULLED, PATH_PULLED_BYTES = range(4, 8)
PATH_COLUMNS = 8
"""Columns of ``path``: sessions of each outcome, then their bytes and lengths, how many of them were pulled, and the bytes of those."""
COUNT, BYTES = range(2)
"""Columns of ``pair``: pulls and their session bytes between source and front."""
PART, LEVEL = range(2)
SITE = np.dtype([("word", np.int64), ("words", np.int64), ("mask", np.uint64), ("endless", np.int64)])
"""Where a site's appliances stand: the first word, how many words they take, their bits in the first, and the bit of an origin or -1."""

CHANGE = np.dtype([("at", np.int64), ("fill", np.int64), ("begins", np.int64)])
"""A fill that begins, or else ends, at a time in ms."""


class Ground(NamedTuple):
    """What does not change while a simulation runs.

    ``candidate`` (V, K) int32, a row for every list of sites that a region has in turn, padded with any behind an origin, where no walk comes; ``lanes``
    (V, K / 16, 16) uint8 the same for fleets of fewer than 64 sites, padded with 63, or (0, 0, 16); ``where`` (S,) of :data:`SITE`; ``site_of`` (B,) the
    site of a bit; ``reserve`` (B,) bit/s kept back by the soft limit; ``file_bytes`` (F,); ``meant`` (F, S / 64) uint64: a bit for each site that is planned
    to have the file; ``pair_of`` (S, S) the number of the path between two sites, from ``pair_source`` to ``pair_target`` (pairs,); ``path_us``, ``pair_us``
    round trips of a region's and of a pair's path; ``climb_of`` (V, K), ``climb_start``, ``climb_site`` as in :class:`sim.climb.Climbs`; ``policy`` and
    ``admission`` numbers of :mod:`sim.caches`, ``largest`` the threshold of the admission by size, ``pull`` a place in :data:`sim.climb.PULLS`, ``whole``
    whether a pull brings the whole file.
    """

    candidate: np.ndarray
    lanes: np.ndarray
    where: np.ndarray
    site_of: np.ndarray
    reserve: np.ndarray
    file_bytes: np.ndarray
    meant: np.ndarray
    pair_of: np.ndarray
    pair_source: np.ndarray
    pair_target: np.ndarray
    path_us: np.ndarray
    pair_us: np.ndarray
    climb_of: np.ndarray
    climb_start: np.ndarray
    climb_site: np.ndarray
    policy: int
    admission: int
    largest: int
    pull: int
    whole: bool


class State(NamedTuple):
    """What changes.

    ``row_of`` (R,) the row of ``candidate`` that each region has now; ``held`` (F, S / 64) uint64: a bit for each site that has a copy, or is an origin;
    ``copies`` (F, W) uint64: a bit for each copy that is there, see :class:`sim.ground.FileRows`; ``up`` (W,) uint64; ``free`` (B,) bit/s; ``load`` (S,)
    bit/s provided; the caches of :mod:`sim.caches`, what their rule of admission remembers, ``cached`` (F, S / 64) uint64 with a bit for each site whose
    cache holds the file.
    """

    row_of: np.ndarray
    held: np.ndarray
    copies: np.ndarray
    up: np.ndarray
    free: np.ndarray
    load: np.ndarray
    cache_meta: np.ndarray
    cache_node: np.ndarray
    cache_ring: np.ndarray
    cache_asked: np.ndarray
    cached: np.ndarray


class Transfers(NamedTuple):
    """The fills, T of them: the bits of source and target, the file, and the bit/s that reading takes there and writing here."""

    source: np.ndarray
    target: np.ndarray
    file: np.ndarray
    rate_bps: np.ndarray
    write_bps: np.ndarray


class Part(NamedTuple):
    """Columns of :class:`sim.sessions.Sessions`."""

    start_ms: np.ndarray
    region: np.ndarray
    file: np.ndarray
    duration_ms: np.ndarray
    bytes: np.ndarray
    rate_bps: np.ndarray


class Books(NamedTuple):
    """What is counted: see :class:`sim.tally.Tally`.

    Of the sessions that start in the hour that runs, up to ``hour_end`` (1,) in ms: ``path`` (V * K * 8,) and ``pair`` (pairs, 2), see the names of their columns above; of the hours that are over, ``path_total`` and
    ``pair_total`` alike, and by hour, H of them: ``by_hour`` (H, 7), sessions of each outcome, bytes, those of hits, those of origins; ``asked`` (H, S, 5), outcomes and bytes of hits by
    best-ranked site; ``given`` (H, S, 5), :data:`sim.tally.DELIVERED` by delivering site. (pairs,): ``fetched``, bytes that a keeper
    fetched; where the keeper is not the front, ``relayed``, session bytes from it to the front, and ``detour``, those from the source to it, which go
    off again between source and front. ``startup``: bins of pulls alone. ``peak`` (S,). ``marks`` (T', R * K, 2) and ``pair_marks``
    (T', pairs, 2) hold parts and levels of flows.
    """

    hour_end: np.ndarray
    path: np.ndarray
    pair: np.ndarray
    path_total: np.ndarray
    pair_total: np.ndarray
    by_hour: np.ndarray
    asked: np.ndarray
    given: np.ndarray
    fetched: np.ndarray
    relayed: np.ndarray
    detour: np.ndarray
    startup: np.ndarray
    peak: np.ndarray
    marks: np.ndarray
    pair_marks: np.ndarray


class Entries(NamedTuple):
    """The log of the sessions, in their order; columns of no length where none is kept."""

    candidate: np.ndarray
    appliance: np.ndarray
    source: np.ndarray
    source_appliance: np.ndarray
    keeper: np.ndarray
    fetched: np.ndarray
    outcome: np.ndarray

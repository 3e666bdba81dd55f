"""The numba kernel of the batch engine: the sessions between two events of the fleet, one after the other.

It does for every session what :class:`sim.reference._Model` does, on arrays instead of objects; :mod:`sim.batch` owns the arrays and the clock. What
makes it fast: the candidates of a region that hold a file are bits of one word, so that those without are never looked at; a session's end stands in a
calendar (:mod:`sim.ends`), so that giving back throughput costs the same however many sessions run; a flow over time is two marks (:mod:`sim.series`),
however long it lasts; what every session does is compiled in one piece. Everything is a whole number, so the order in which sums are made cannot show.

Appliances are numbered anew, site by site, so that those of one site share a word of 64 bits; a site of more than 64 takes whole words. An origin
is one appliance with as good as endless throughput.
"""

# mypy: disable-error-code="no-any-return"

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from sim.caches import access, admit, admits, contains
from sim.ends import NEVER, NOBODY, Calendar, compiled, expect, has_room, inlined, release
from sim.log import CONTENT, HEALTH, HIT, NOT_YET_FILLED
from sim.series import SLOT_MS

HOUR_MS = 3_600_000
DONE, NO_ROOM = 0, 1
PLACES = 16
AHEAD = 12
"""Candidates in one word of ``holds``."""


class Ground(NamedTuple):
    """What does not change while a simulation runs.

    ``candidate`` (V, K) int32, a row for every list of sites that a region has in turn; ``where`` (S, 4) int64: where a site's appliances stand (see
    :data:`WORD`); ``site_of`` (B,) the site of a bit; ``reserve`` (B,) bit/s kept back by the soft limit; ``file_bytes`` (F,); ``pair_of`` (S, S) the
    number of the path between two sites, ``pair_start``, ``pair_arcs`` its arcs; ``path_us``, ``pair_us`` round trips of a region's and of a pair's
    path; ``policy`` and ``admission`` numbers of :mod:`sim.caches`, ``largest`` the threshold of the admission by size.
    """

    candidate: np.ndarray
    where: np.ndarray
    site_of: np.ndarray
    reserve: np.ndarray
    file_bytes: np.ndarray
    pair_of: np.ndarray
    pair_start: np.ndarray
    pair_arcs: np.ndarray
    path_us: np.ndarray
    pair_us: np.ndarray
    policy: int
    admission: int
    largest: int


class State(NamedTuple):
    """What changes.

    ``row_of`` (R,) the row of ``candidate`` that each region has now; ``holds`` (V, F, K / 16) uint16: a bit for each candidate that has a copy, or is an
    origin; ``copies`` (F, 2W) uint64: a bit for each copy that is there, then one for each planned copy; ``up`` (W,) uint64; ``free`` (B,) bit/s; ``load``
    (S,) bit/s provided; the caches of :mod:`sim.caches`, what their rule of admission remembers, ``cached`` (F, S / 64) uint64 with a bit for each site
    whose cache holds the file, and room for what a cache evicts.
    """

    row_of: np.ndarray
    holds: np.ndarray
    copies: np.ndarray
    up: np.ndarray
    free: np.ndarray
    load: np.ndarray
    cache_meta: np.ndarray
    cache_node: np.ndarray
    cache_asked: np.ndarray
    cached: np.ndarray
    evicted: np.ndarray


class Part(NamedTuple):
    """Columns of :class:`sim.sessions.Sessions`."""

    start_ms: np.ndarray
    region: np.ndarray
    file: np.ndarray
    duration_ms: np.ndarray
    bytes: np.ndarray
    rate_bps: np.ndarray


class Books(NamedTuple):
    """What is counted: see :class:`sim.tally.Tally`; ``startup`` of pulls alone, the sum before the bins. ``marks`` (T', R * K, 2) and ``arc_marks`` (T, 2L, 2) hold parts and levels of flows."""

    hour: np.ndarray
    path: np.ndarray
    pulled: np.ndarray
    pair: np.ndarray
    startup: np.ndarray
    peak: np.ndarray
    marks: np.ndarray
    arc_marks: np.ndarray


class Entries(NamedTuple):
    """The log of the sessions, in their order; columns of no length where none is kept."""

    candidate: np.ndarray
    appliance: np.ndarray
    source: np.ndarray
    source_appliance: np.ndarray
    fetched: np.ndarray
    outcome: np.ndarray


HOUR_BYTES, HOUR_HIT_BYTES, HOUR_ORIGIN_BYTES = 4, 5, 6
HOUR_COLUMNS = 7
"""Columns of ``hour``: sessions of each outcome, then these."""
COUNT, BYTES, FETCHED = range(3)
PART, LEVEL = range(2)
WORD, WORDS, MASK, ENDLESS = range(4)
"""Columns of ``where``: the first word of a site's appliances, how many words they take, their bits in the first, and the bit of an origin or -1."""


@intrinsic
def lowest_bit(typing_context, bits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001
    """The place of the lowest bit set in 64 that are not all 0."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001
        return builder.cttz(arguments[0], context.get_constant(types.boolean, 1))

    return types.int64(bits), build


@intrinsic
def fetch_ahead(typing_context, array, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001
    """Ask the processor for the memory at a place of an array, counted in elements from its first, that will soon be read."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), *[ir.IntType(32)] * 3])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(call, [address, *(ir.Constant(ir.IntType(32), n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp), build


@inlined
def _freest(bits: np.uint64, word: int, free: np.ndarray, reserve: np.ndarray, soft: bool, rate: int, best: int) -> int:
    """Of the appliances whose bits are set, the one with the most throughput left that the rate fits into; else ``best`` as it came."""
    most = rate - 1 if best < 0 else free[best]
    while bits:
        appliance = word * 64 + lowest_bit(bits)
        left = free[appliance]
        if left > most and (not soft or left - reserve[appliance] >= rate):
            best, most = appliance, left
        bits &= bits - np.uint64(1)
    return best


@inlined
def _carrier(ground: Ground, state: State, site: int, soft: bool, rate: int) -> int:
    """The appliance of a site that can take the rate and has the most left."""
    best, word = NOBODY, ground.where[site, WORD]
    bits = state.up[word] & np.uint64(ground.where[site, MASK])
    best = _freest(bits, word, state.free, ground.reserve, soft, rate, best)
    for more in range(1, ground.where[site, WORDS]):
        best = _freest(state.up[word + more], word + more, state.free, ground.reserve, soft, rate, best)
    return best


@inlined
def _is_copy(ground: Ground, state: State, site: int, file: int, planned: int) -> bool:
    """Whether the site has a copy of the file that is there, or, with ``planned`` = 1, that is planned."""
    word = ground.where[site, WORD] + planned * len(state.up)
    bits = state.copies[file, word] & np.uint64(ground.where[site, MASK])
    for more in range(1, ground.where[site, WORDS]):
        bits |= state.copies[file, word + more]
    return bits != 0


@inlined
def _holder(ground: Ground, state: State, site: int, file: int, soft: bool, rate: int) -> int:
    """The appliance of a site that holds a planned copy, is up, can take the rate and has the most left."""
    best, word = NOBODY, ground.where[site, WORD]
    bits = state.copies[file, word] & np.uint64(ground.where[site, MASK]) & state.up[word]
    best = _freest(bits, word, state.free, ground.reserve, soft, rate, best)
    for more in range(1, ground.where[site, WORDS]):
        at = word + more
        best = _freest(state.copies[file, at] & state.up[at], at, state.free, ground.reserve, soft, rate, best)
    return best


@inlined
def _holds_up(ground: Ground, state: State, site: int, file: int) -> bool:
    """Whether an appliance that is up has a planned copy."""
    word = ground.where[site, WORD]
    bits = state.copies[file, word] & np.uint64(ground.where[site, MASK]) & state.up[word]
    for more in range(1, ground.where[site, WORDS]):
        bits |= state.copies[file, word + more] & state.up[word + more]
    return bool(bits != 0)


@inlined
def _is_cached(state: State, site: int, file: int) -> int:
    """1 if the site's cache holds the file, else 0."""
    return np.int64((state.cached[file, site >> 6] >> np.uint64(site & 63)) & np.uint64(1))


@inlined
def _those_with(ground: Ground, state: State, row: int, file: int, word: int) -> int:
    """Bits of the candidates of one word that have the file: a copy, or in their cache, or as an origin."""
    bits = np.int64(state.holds[row, file, word])
    if ground.policy != 0:
        for k in range(PLACES * word, min(PLACES * (word + 1), ground.candidate.shape[1])):
            bits |= _is_cached(state, ground.candidate[row, k], file) << (k & (PLACES - 1))
    return bits


@inlined
def _steer(ground: Ground, state: State, row: int, file: int, rate: int, soft: bool) -> tuple[int, int, bool, int]:
    """Walk the sites of a row, best first, passing over those without the file; an origin ends the walk.

    Returns
    -------
    Place and appliance of the server, whether it serves from its cache, outcome.
    """
    word, bits = 0, _those_with(ground, state, row, file, 0)
    outcome = HIT
    if bits & 1 == 0:
        outcome = NOT_YET_FILLED if _is_copy(ground, state, ground.candidate[row, 0], file, 1) else CONTENT
    while True:
        while bits == 0:
            word += 1
            bits = _those_with(ground, state, row, file, word)
        k = PLACES * word + lowest_bit(bits)
        site = ground.candidate[row, k]
        appliance = ground.where[site, ENDLESS]
        if appliance >= 0:
            return k, appliance, False, outcome
        appliance = _holder(ground, state, site, file, soft, rate)
        if appliance >= 0:
            return k, appliance, False, outcome
        if ground.policy != 0 and _is_cached(state, site, file) != 0:
            appliance = _carrier(ground, state, site, soft, rate)
            if appliance >= 0:
                return k, appliance, True, outcome
        if k == 0:
            outcome = HEALTH
        bits &= bits - 1


@inlined
def _front(
    ground: Ground, state: State, row: int, file: int, rate: int, soft: bool, served: int
) -> tuple[int, int]:
    """Of the sites ahead of the server, the first that could carry the session and has no planned copy that is up: its place, or -1 if the file does not fit
    into its cache or there is none, and its appliance."""
    for k in range(served):
        site = ground.candidate[row, k]
        if not _holds_up(ground, state, site, file):
            appliance = _carrier(ground, state, site, soft, rate)
            if appliance >= 0:
                return (k if ground.file_bytes[file] <= state.cache_meta[site, 0] else NOBODY), appliance
    return NOBODY, NOBODY


@compiled
def refresh(
    ground: Ground, state: State, row: np.ndarray, place: np.ndarray, begin: np.ndarray, site: np.ndarray, file: np.ndarray
) -> None:
    """Set or clear the bits in ``holds`` of sites and files whose copies have changed.

    ``row``, ``place`` (M,): where sites stand in ``candidate``, site by site from ``begin`` (S + 1,) on.
    """
    for i in range(len(site)):
        held = _is_copy(ground, state, site[i], file[i], 0)
        for at in range(begin[site[i]], begin[site[i] + 1]):
            word, bit = place[at] // PLACES, np.uint16(1 << (place[at] & (PLACES - 1)))
            if held:
                state.holds[row[at], file[i], word] |= bit
            else:
                state.holds[row[at], file[i], word] &= ~bit


@inlined
def _take(state: State, peak: np.ndarray, site: int, appliance: int, rate: int) -> None:
    """An appliance begins to provide a rate."""
    state.free[appliance] -= rate
    load = state.load[site] + rate
    state.load[site] = load
    peak[site] = max(peak[site], load)


@inlined
def _mark(marks: np.ndarray, base: int, column: int, at: int, rate: int) -> None:
    """A flow on a path begins (or, with a negative rate, ends); what lies after the last slot is left out."""
    slot = at // SLOT_MS
    if slot - base < len(marks):
        marks[slot - base, column, PART] += rate * ((slot + 1) * SLOT_MS - at)
        marks[slot - base, column, LEVEL] += rate


@inlined
def _lets_in(ground: Ground, state: State, site: int, file: int) -> bool:
    """Whether the site's rule of admission lets a missed file into its cache."""
    return bool(admits(ground.admission, ground.largest, state.cache_asked[site], ground.file_bytes, file))


@inlined
def _take_in(ground: Ground, state: State, site: int, file: int) -> None:
    """A site's cache takes in a file that it missed."""
    node = state.cache_node[site]
    gone = admit(ground.policy, state.cache_meta[site], node, ground.file_bytes, file, state.evicted)
    word, bit = site >> 6, np.uint64(1) << np.uint64(site & 63)
    for i in range(gone):
        state.cached[state.evicted[i], word] &= ~bit
    if contains(node, file):
        state.cached[file, word] |= bit


@inlined
def _pull(ground: Ground, state: State, books: Books, site: int, provider: int, file: int, size: int) -> int:
    """A front site takes a file in: what its cache does, and the bytes fetched."""
    access(ground.policy, state.cache_meta[site], state.cache_node[site], file)
    _take_in(ground, state, site, file)
    fetched = max(ground.file_bytes[file], size)
    pair = ground.pair_of[provider, site]
    books.pair[pair, COUNT] += 1
    books.pair[pair, BYTES] += size
    books.pair[pair, FETCHED] += fetched
    return fetched


@compiled
def play(
    ground: Ground,
    state: State,
    calendar: Calendar,
    books: Books,
    entries: Entries,
    part: Part,
    begin: int,
    until: int,
    base_slot: int,
    soft_limit: bool,
    link_loads: bool,
    original: np.ndarray,
) -> tuple[int, int]:
    """Run the sessions from ``begin`` on that start before ``until``; if one is left that starts later, end all that are over by then.

    Parameters
    ----------
    base_slot
        The first slot of ``marks``.
    soft_limit
        Whether any throughput is kept back at first.
    link_loads
        Whether loads over time are wanted.
    original
        (B,) int32: the number an appliance has outside, -1 for an origin: only for the log.

    Returns
    -------
    The first session not run, and :data:`DONE` or :data:`NO_ROOM` (the calendar is full: enlarge it and go on).
    """
    width, logging = ground.candidate.shape[1], len(entries.outcome) > 0
    free, load, site_of = state.free, state.load, ground.site_of
    hour = hour_end = 0
    files, words, last = state.holds.shape[1], state.holds.shape[2], len(part.start_ms) - 1
    for i in range(begin, len(part.start_ms)):
        now = part.start_ms[i]
        if now >= until:
            release(calendar, free, load, site_of, until)
            return i, DONE
        ahead = min(i + AHEAD, last)
        fetch_ahead(state.holds, (np.int64(state.row_of[part.region[ahead]]) * files + part.file[ahead]) * words)
        fetch_ahead(state.copies, np.int64(part.file[ahead]) * state.copies.shape[1])
        release(calendar, free, load, site_of, now)
        if not has_room(calendar):
            return i, NO_ROOM
        if now >= hour_end:
            hour = now // HOUR_MS
            hour_end = (hour + 1) * HOUR_MS
        row, file, rate, size = state.row_of[part.region[i]], part.file[i], part.rate_bps[i], part.bytes[i]
        soft = soft_limit
        while True:
            served, appliance, cached, outcome = _steer(ground, state, row, file, rate, soft)
            provider = ground.candidate[row, served]
            from_origin = ground.where[provider, ENDLESS] >= 0
            if not (soft and from_origin):
                break
            soft = False
        k, source, fetched, end = served, NOBODY, 0, now + part.duration_ms[i]
        if ground.policy != 0:
            if cached:
                access(ground.policy, state.cache_meta[provider], state.cache_node[provider], file)
            front, front_appliance = _front(ground, state, row, file, rate, soft, served)
            if front >= 0 and _lets_in(ground, state, ground.candidate[row, front], file):
                k, source = front, appliance
                site = ground.candidate[row, front]
                fetched = _pull(ground, state, books, site, provider, file, size)
                books.pulled[row * width + k, COUNT] += 1
                books.pulled[row * width + k, BYTES] += size
                startup_us = ground.path_us[row * width + k] + ground.pair_us[ground.pair_of[provider, site]]
                books.startup[0] += startup_us
                books.startup[1 + min(startup_us // 1000, len(books.startup) - 2)] += 1
                _take(state, books.peak, site, front_appliance, rate)
                appliance = front_appliance
                if link_loads:
                    _mark_pull(ground, books, ground.pair_of[provider, site], now, end, fetched)
        _take(state, books.peak, provider, appliance if source < 0 else source, rate)
        expect(calendar, end, rate, appliance, source)
        place = row * width + k
        books.path[place, COUNT] += 1
        books.path[place, BYTES] += size
        books.hour[hour, outcome] += 1
        books.hour[hour, HOUR_BYTES] += size
        if outcome == HIT:
            books.hour[hour, HOUR_HIT_BYTES] += size
        if from_origin:
            books.hour[hour, HOUR_ORIGIN_BYTES] += size
        if link_loads:
            _mark(books.marks, base_slot, place, now, rate)
            _mark(books.marks, base_slot, place, end, -rate)
        if logging:
            entries.candidate[i], entries.appliance[i] = k, original[appliance]
            entries.outcome[i], entries.fetched[i] = outcome, fetched
            entries.source[i] = served if source >= 0 else NOBODY
            entries.source_appliance[i] = original[source] if source >= 0 else NOBODY
    return len(part.start_ms), DONE


@compiled
def _mark_pull(ground: Ground, books: Books, pair: int, now: int, end: int, fetched: int) -> None:
    """The load of a pull on every arc of its way."""
    rate = int(np.rint(fetched * 8000.0 / (end - now)))
    for at in range(ground.pair_start[pair], ground.pair_start[pair + 1]):
        _mark(books.arc_marks, 0, ground.pair_arcs[at], now, rate)
        _mark(books.arc_marks, 0, ground.pair_arcs[at], end, -rate)


@compiled
def end_all(ground: Ground, state: State, calendar: Calendar, until: int) -> None:
    """End every session that is over by a time."""
    release(calendar, state.free, state.load, ground.site_of, until)


@compiled
def warm(ground: Ground, state: State, region: np.ndarray, file_of: np.ndarray) -> None:
    """Show sessions of the day before to the cache of their region's best-ranked site, unless the file is planned there."""
    for i in range(len(region)):
        site, file = ground.candidate[state.row_of[region[i]], 0], file_of[i]
        if ground.where[site, ENDLESS] >= 0 or _is_copy(ground, state, site, file, 1):
            continue
        hit = access(ground.policy, state.cache_meta[site], state.cache_node[site], file)
        if not hit and _lets_in(ground, state, site, file):
            _take_in(ground, state, site, file)


@compiled
def look_over(
    start_ms: np.ndarray,
    region: np.ndarray,
    file: np.ndarray,
    duration_ms: np.ndarray,
    bytes_: np.ndarray,
    not_before: int,
    before: int,
    regions: int,
    files: int,
) -> tuple[bool, int]:
    """Whether all sessions can be run as they are (in order, within the days, known, with a length), and the longest of them in ms."""
    last, longest = not_before, 0
    for i in range(len(start_ms)):
        if not (last <= start_ms[i] < before and 0 <= region[i] < regions and 0 <= file[i] < files):
            return False, longest
        if duration_ms[i] <= 0 or bytes_[i] < 0:
            return False, longest
        last, longest = start_ms[i], max(longest, duration_ms[i])
    return True, longest

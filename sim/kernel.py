"""The numba kernel of the batch engine: the sessions between two events of the fleet, one after the other.

It does for every session what :class:`sim.reference._Model` does, on arrays instead of objects; :mod:`sim.batch` owns the arrays and the clock. What
makes it fast: holders are bits, one per appliance, in the row of the file, so that asking a site is one load and two masks; a session's end stands in a
calendar of short lists, so that giving back throughput costs the same however many sessions run; a flow over time is two marks (:mod:`sim.series`),
however long it lasts. Everything is a whole number, so the order in which sums are made cannot show.

Appliances are numbered anew, site by site, so that those of one site share a word of 64 bits; a site of more than 64 takes whole words. An origin
is one appliance with as good as endless throughput.
"""

# mypy: disable-error-code="no-any-return"

from typing import NamedTuple

import numba as nb
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from sim.caches import access, admit, admits, contains
from sim.log import CONTENT, HEALTH, HIT, NOT_YET_FILLED
from sim.series import SLOT_MS

HOUR_MS = 3_600_000
NOBODY = -1
END, RATE, WHO, NEXT = range(4)
"""Columns of a running session in the calendar; WHO is its appliance, and the one it pulls from in the upper half."""
PAGE, LIST, EARLIEST, FREE_BLOCK, RUNNING, BASE_SLOT = range(6)
"""Places in ``clock``: the open page of the calendar, the open list of that page, the first end in the list, the first unused block, sessions
running, the first slot of ``marks``."""
BLOCK = 32
"""Rows of a block."""
NEVER = 2**62
DONE, NO_ROOM = 0, 1


class Ground(NamedTuple):
    """What does not change while a simulation runs.

    ``candidate`` (R, K) int32; per site (S,): ``word``, ``words``, ``mask`` (of its appliances in their first word), ``endless``
    (an origin's bit, -1 at the edge); ``site_of`` (B,) the site of a bit; ``reserve`` (B,) bit/s kept back by the soft limit; ``file_bytes`` (F,); ``pair_of`` (S, S) the number of the path between two
    sites, ``pair_start``, ``pair_arcs`` its arcs; ``path_us``, ``pair_us`` round trips of a region's and of a pair's path; ``policy`` and ``admission``
    numbers of :mod:`sim.caches`, ``largest`` the threshold of the admission by size.
    """

    candidate: np.ndarray
    word: np.ndarray
    words: np.ndarray
    mask: np.ndarray
    endless: np.ndarray
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


class Calendar(NamedTuple):
    """The ends of running sessions.

    A page covers 2**(shift + fine) ms; its rows stand one after the other in blocks, so that writing and reading walk through memory. Of the open page
    alone the rows are linked into lists of 2**shift ms each. ``rows`` (blocks * BLOCK, 4): running sessions; ``after`` (blocks,): the next block of a
    page, or of the unused ones; ``block`` and ``filled`` (pages,): the last block of a page and the rows used in it, -1 and BLOCK where there is none;
    pages come round again.
    """

    rows: np.ndarray
    after: np.ndarray
    block: np.ndarray
    filled: np.ndarray
    lists: np.ndarray
    clock: np.ndarray
    shift: int
    fine: int


class State(NamedTuple):
    """What changes.

    ``copies`` (F, 2W) uint64: a bit for each copy that is there, then one for each planned copy; ``up`` (W,) uint64; ``free`` (B,) bit/s; ``load`` (S,)
    bit/s provided; the caches of :mod:`sim.caches`, what their rule of admission remembers, ``cached`` (F, S / 64) uint64 with a bit for each site
    whose cache holds the file, and room for what a cache evicts.
    """

    copies: np.ndarray
    up: np.ndarray
    free: np.ndarray
    load: np.ndarray
    cache_meta: np.ndarray
    cache_node: np.ndarray
    cache_asked: np.ndarray
    cached: np.ndarray
    evicted: np.ndarray


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


compiled = nb.njit(cache=True, nogil=True, _nrt=False, error_model="numpy")
"""Without reference counts, which cost more than all the rest: nothing here makes or keeps an array. Other threads go on meanwhile."""


@intrinsic
def lowest_bit(typing_context, bits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG001
    """The place of the lowest bit set in a uint64 that is not 0."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG001
        return builder.cttz(arguments[0], context.get_constant(types.boolean, 1))

    return types.int64(types.uint64), build


@compiled
def _freest(bits: np.uint64, word: int, free: np.ndarray, reserve: np.ndarray, soft: int, rate: int, best: int) -> int:
    """Of the appliances whose bits are set, the one with the most throughput left that the rate fits into; else ``best`` as it came."""
    most = rate - 1 if best < 0 else free[best]
    while bits:
        appliance = word * 64 + lowest_bit(bits)
        left = free[appliance]
        if left > most and left - soft * reserve[appliance] >= rate:
            best, most = appliance, left
        bits &= bits - np.uint64(1)
    return best


@compiled
def _carrier(ground: Ground, state: State, site: int, soft: int, rate: int) -> int:
    """The appliance of a site that can take the rate and has the most left."""
    best, word = NOBODY, ground.word[site]
    bits = state.up[word] & ground.mask[site]
    best = _freest(bits, word, state.free, ground.reserve, soft, rate, best)
    for more in range(1, ground.words[site]):
        best = _freest(state.up[word + more], word + more, state.free, ground.reserve, soft, rate, best)
    return best


@compiled
def _is_copy(ground: Ground, state: State, site: int, file: int, planned: int) -> bool:
    """Whether the site has a copy of the file that is there, or, with ``planned`` = 1, that is planned."""
    word = ground.word[site] + planned * len(state.up)
    bits = state.copies[file, word] & ground.mask[site]
    for more in range(1, ground.words[site]):
        bits |= state.copies[file, word + more]
    return bits != 0


@compiled
def _holder(ground: Ground, state: State, site: int, file: int, soft: int, rate: int) -> int:
    """The appliance of a site that holds a planned copy, is up, can take the rate and has the most left."""
    best, word = NOBODY, ground.word[site]
    bits = state.copies[file, word] & ground.mask[site] & state.up[word]
    if bits:
        best = _freest(bits, word, state.free, ground.reserve, soft, rate, best)
    for more in range(1, ground.words[site]):
        at = word + more
        best = _freest(state.copies[file, at] & state.up[at], at, state.free, ground.reserve, soft, rate, best)
    return best


@compiled
def _holds_up(ground: Ground, state: State, site: int, file: int) -> bool:
    """Whether an appliance that is up has a planned copy."""
    word = ground.word[site]
    bits = state.copies[file, word] & ground.mask[site] & state.up[word]
    for more in range(1, ground.words[site]):
        bits |= state.copies[file, word + more] & state.up[word + more]
    return bool(bits != 0)


@compiled
def _why(ground: Ground, state: State, site: int, file: int, cached: bool) -> int:
    """The class of a session that this, its best-ranked site, did not serve from what it holds."""
    if cached or _is_copy(ground, state, site, file, 0):
        return HEALTH
    return NOT_YET_FILLED if _is_copy(ground, state, site, file, 1) else CONTENT


@compiled
def _steer(
    ground: Ground, state: State, row: int, file: int, rate: int, soft: int
) -> tuple[int, int, bool, int, int, int]:
    """Walk the region's sites, best first.

    Returns
    -------
    Place and appliance of the server, whether it serves from its cache, place and appliance of the front site that pulls (or -1), outcome.
    """
    outcome, front, front_appliance, served, appliance, cached = HIT, NOBODY, NOBODY, NOBODY, NOBODY, False
    front_known, reactive = False, ground.policy != 0
    for k in range(ground.candidate.shape[1]):
        site = ground.candidate[row, k]
        cached = False
        if ground.endless[site] >= 0:
            served, appliance = k, ground.endless[site]
            break
        appliance = _holder(ground, state, site, file, soft, rate)
        if reactive and appliance < 0:
            cached = (state.cached[file, site >> 6] >> np.uint64(site & 63)) & np.uint64(1) != 0
            if cached:
                appliance = _carrier(ground, state, site, soft, rate)
        if appliance >= 0:
            served = k
            break
        if k == 0:
            outcome = _why(ground, state, site, file, cached)
        if reactive and not front_known and not _holds_up(ground, state, site, file):
            front_appliance = _carrier(ground, state, site, soft, rate)
            front_known = front_appliance >= 0
            if front_known and ground.file_bytes[file] <= state.cache_meta[site, 0]:
                front = k
    return served, appliance, cached, front, front_appliance, outcome


@compiled
def _take(state: State, peak: np.ndarray, site: int, appliance: int, rate: int) -> None:
    """An appliance begins to provide a rate."""
    state.free[appliance] -= rate
    load = state.load[site] + rate
    state.load[site] = load
    peak[site] = max(peak[site], load)


@compiled
def _give_back(ground: Ground, state: State, calendar: Calendar, row: int) -> None:
    """A session ends."""
    rate, who = calendar.rows[row, RATE], calendar.rows[row, WHO]
    appliance = who & 0xFFFFFFFF
    state.free[appliance] += rate
    state.load[ground.site_of[appliance]] -= rate
    source = (who >> 32) - 1
    if source >= 0:
        state.free[source] += rate
        state.load[ground.site_of[source]] -= rate
    calendar.clock[RUNNING] -= 1


@compiled
def release(ground: Ground, state: State, calendar: Calendar, now: int) -> None:
    """End every session whose end is not after ``now``."""
    clock, rows, lists = calendar.clock, calendar.rows, calendar.lists
    page = now >> (calendar.shift + calendar.fine)
    if page > clock[PAGE]:
        _turn(ground, state, calendar, page)
    at = now >> calendar.shift
    if at > clock[LIST]:
        for passed in range(clock[LIST], at):
            _empty_list(ground, state, calendar, passed)
        clock[LIST] = at
        clock[EARLIEST] = _earliest(rows, lists[at & (len(lists) - 1)])
    if clock[EARLIEST] <= now:
        place = at & (len(lists) - 1)
        row, kept, earliest = lists[place], NOBODY, NEVER
        while row >= 0:
            following = rows[row, NEXT]
            if rows[row, END] <= now:
                _give_back(ground, state, calendar, row)
            else:
                rows[row, NEXT] = kept
                kept = row
                earliest = min(earliest, rows[row, END])
            row = following
        lists[place] = kept
        clock[EARLIEST] = earliest


@compiled
def _empty_list(ground: Ground, state: State, calendar: Calendar, which: int) -> None:
    """End every session of a list."""
    place = which & (len(calendar.lists) - 1)
    row = calendar.lists[place]
    while row >= 0:
        _give_back(ground, state, calendar, row)
        row = calendar.rows[row, NEXT]
    calendar.lists[place] = NOBODY


@compiled
def _turn(ground: Ground, state: State, calendar: Calendar, page: int) -> None:
    """Close the open page and all before the given one, ending their sessions, and open that."""
    clock, rows, lists = calendar.clock, calendar.rows, calendar.lists
    for passed in range(clock[LIST], (clock[PAGE] + 1) << calendar.fine):
        _empty_list(ground, state, calendar, passed)
    _free_blocks(calendar, clock[PAGE])
    while clock[PAGE] + 1 < page and clock[RUNNING] > 0:
        clock[PAGE] += 1
        place = clock[PAGE] & (len(calendar.block) - 1)
        block, used = calendar.block[place], calendar.filled[place]
        while block >= 0:
            for row in range(block * BLOCK, block * BLOCK + used):
                _give_back(ground, state, calendar, row)
            block, used = calendar.after[block], BLOCK
        _free_blocks(calendar, clock[PAGE])
    clock[PAGE], clock[LIST] = page, page << calendar.fine
    place = page & (len(calendar.block) - 1)
    block, used = calendar.block[place], calendar.filled[place]
    while block >= 0:
        for row in range(block * BLOCK, block * BLOCK + used):
            at = (rows[row, END] >> calendar.shift) & (len(lists) - 1)
            rows[row, NEXT] = lists[at]
            lists[at] = row
        block, used = calendar.after[block], BLOCK
    clock[EARLIEST] = _earliest(rows, lists[clock[LIST] & (len(lists) - 1)])


@compiled
def _free_blocks(calendar: Calendar, page: int) -> None:
    """The blocks of a page that is over can be used again."""
    place = page & (len(calendar.block) - 1)
    block = calendar.block[place]
    while block >= 0:
        following = calendar.after[block]
        calendar.after[block] = calendar.clock[FREE_BLOCK]
        calendar.clock[FREE_BLOCK] = block
        block = following
    calendar.block[place], calendar.filled[place] = NOBODY, BLOCK


@compiled
def _earliest(rows: np.ndarray, row: int) -> int:
    first = NEVER
    while row >= 0:
        first = min(first, rows[row, END])
        row = rows[row, NEXT]
    return first


@compiled
def _expect(calendar: Calendar, end: int, rate: int, appliance: int, source: int) -> None:
    """Write a session's end into the calendar."""
    clock, rows = calendar.clock, calendar.rows
    page = end >> (calendar.shift + calendar.fine)
    place = page & (len(calendar.block) - 1)
    used = calendar.filled[place]
    if used == BLOCK:
        block = clock[FREE_BLOCK]
        clock[FREE_BLOCK] = calendar.after[block]
        calendar.after[block] = calendar.block[place]
        calendar.block[place] = block
        used = 0
    calendar.filled[place] = used + 1
    row = calendar.block[place] * BLOCK + used
    rows[row, END], rows[row, RATE] = end, rate
    rows[row, WHO] = appliance | ((source + 1) << 32)
    clock[RUNNING] += 1
    if page == clock[PAGE]:
        at = end >> calendar.shift
        rows[row, NEXT] = calendar.lists[at & (len(calendar.lists) - 1)]
        calendar.lists[at & (len(calendar.lists) - 1)] = row
        if at == clock[LIST]:
            clock[EARLIEST] = min(clock[EARLIEST], end)


@compiled
def _mark(marks: np.ndarray, base: int, column: int, at: int, rate: int) -> None:
    """A flow on a path begins (or, with a negative rate, ends); what lies after the last slot is left out."""
    slot = at // SLOT_MS
    if slot - base < len(marks):
        marks[slot - base, column, PART] += rate * ((slot + 1) * SLOT_MS - at)
        marks[slot - base, column, LEVEL] += rate


@compiled
def _lets_in(ground: Ground, state: State, site: int, file: int) -> bool:
    """Whether the site's rule of admission lets a missed file into its cache."""
    return bool(admits(ground.admission, ground.largest, state.cache_asked[site], ground.file_bytes, file))


@compiled
def _take_in(ground: Ground, state: State, site: int, file: int) -> None:
    """A site's cache takes in a file that it missed."""
    node = state.cache_node[site]
    gone = admit(ground.policy, state.cache_meta[site], node, ground.file_bytes, file, state.evicted)
    word, bit = site >> 6, np.uint64(1) << np.uint64(site & 63)
    for i in range(gone):
        state.cached[state.evicted[i], word] &= ~bit
    if contains(node, file):
        state.cached[file, word] |= bit


@compiled
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
    start_ms: np.ndarray,
    region: np.ndarray,
    file_of: np.ndarray,
    duration_ms: np.ndarray,
    bytes_: np.ndarray,
    rate_bps: np.ndarray,
    begin: int,
    until: int,
    soft_limit: bool,
    link_loads: bool,
    original: np.ndarray,
) -> tuple[int, int]:
    """Run the sessions from ``begin`` on that start before ``until``; if one is left that starts later, end all that are over by then.

    Parameters
    ----------
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
    for i in range(begin, len(start_ms)):
        now = start_ms[i]
        if now >= until:
            release(ground, state, calendar, until)
            return i, DONE
        release(ground, state, calendar, now)
        if calendar.clock[FREE_BLOCK] < 0:
            return i, NO_ROOM
        row, file, rate, size, end = region[i], file_of[i], rate_bps[i], bytes_[i], now + duration_ms[i]
        served, appliance, cached, front, front_appliance, outcome = _steer(ground, state, row, file, rate, 1)
        if soft_limit and ground.endless[ground.candidate[row, served]] >= 0:
            served, appliance, cached, front, front_appliance, outcome = _steer(ground, state, row, file, rate, 0)
        provider = ground.candidate[row, served]
        if cached:
            access(ground.policy, state.cache_meta[provider], state.cache_node[provider], file)
        if front >= 0 and not _lets_in(ground, state, ground.candidate[row, front], file):
            front = NOBODY
        k, source = served, NOBODY
        fetched, fetch_rate = 0, 0
        if front >= 0:
            k, source = front, appliance
            site = ground.candidate[row, front]
            fetched = _pull(ground, state, books, site, provider, file, size)
            books.pulled[row * width + k, COUNT] += 1
            books.pulled[row * width + k, BYTES] += size
            startup_us = ground.path_us[row * width + k] + ground.pair_us[ground.pair_of[provider, site]]
            books.startup[0] += startup_us
            books.startup[1 + min(startup_us // 1000, len(books.startup) - 2)] += 1
            fetch_rate = int(np.rint(fetched * 8000.0 / duration_ms[i]))
            _take(state, books.peak, provider, source, rate)
            appliance = front_appliance
            _take(state, books.peak, site, appliance, rate)
        else:
            _take(state, books.peak, provider, appliance, rate)
        _expect(calendar, end, rate, appliance, source)
        place = row * width + k
        books.path[place, COUNT] += 1
        books.path[place, BYTES] += size
        hour = now // HOUR_MS
        books.hour[hour, outcome] += 1
        books.hour[hour, HOUR_BYTES] += size
        if outcome == HIT:
            books.hour[hour, HOUR_HIT_BYTES] += size
        if ground.endless[provider] >= 0:
            books.hour[hour, HOUR_ORIGIN_BYTES] += size
        if link_loads:
            base = calendar.clock[BASE_SLOT]
            _mark(books.marks, base, place, now, rate)
            _mark(books.marks, base, place, end, -rate)
            if front >= 0:
                pair = ground.pair_of[provider, ground.candidate[row, front]]
                for at in range(ground.pair_start[pair], ground.pair_start[pair + 1]):
                    _mark(books.arc_marks, 0, ground.pair_arcs[at], now, fetch_rate)
                    _mark(books.arc_marks, 0, ground.pair_arcs[at], end, -fetch_rate)
        if logging:
            entries.candidate[i], entries.appliance[i] = k, original[appliance]
            entries.outcome[i], entries.fetched[i] = outcome, fetched
            entries.source[i] = served if front >= 0 else NOBODY
            entries.source_appliance[i] = original[source] if front >= 0 else NOBODY
    return len(start_ms), DONE


@compiled
def warm(ground: Ground, state: State, region: np.ndarray, file_of: np.ndarray) -> None:
    """Show sessions of the day before to the cache of their region's best-ranked site, unless the file is planned there."""
    for i in range(len(region)):
        site, file = ground.candidate[region[i], 0], file_of[i]
        if ground.endless[site] >= 0 or _is_copy(ground, state, site, file, 1):
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

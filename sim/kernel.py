"""The numba kernel of the batch engine: the sessions between two events of the fleet, one after the other.

It does for every session what :class:`sim.reference._Model` does, on arrays instead of objects; :mod:`sim.batch` owns the arrays and the clock. What
makes it fast: the candidates of a region that hold a file are bits of one word, so that those without are never looked at; a session's end stands in a
calendar (:mod:`sim.ends`), so that giving back throughput costs the same however many sessions run; a flow over time is two marks (:mod:`sim.series`),
however long it lasts; what every session does is compiled in one piece. Everything is a whole number, so the order in which sums are made cannot show.
"""

# mypy: disable-error-code="no-any-return, assignment"

import numpy as np

from sim.arrays import (
    BYTES,
    COUNT,
    LEVEL,
    LINE_WORDS,
    PART,
    PATH_BYTES,
    PATH_COLUMNS,
    PATH_MS,
    PATH_PULLED,
    PATH_PULLED_BYTES,
    Books,
    Entries,
    Ground,
    Part,
    State,
    Transfers,
)
from sim.caches import access, admits, take_in, touch
from sim.climb import PULLS
from sim.ends import NOBODY, Calendar, expect, has_room, release
from sim.hourly import turn_hour
from sim.machine import compiled, fetch_ahead, index, inlined, whole
from sim.series import SLOT_MS
from sim.steer import bit_at, carrier, front_site, holder, holds_up, is_cached, set_copy, steer

DONE, NO_ROOM, NO_MORE = range(3)
NEXT, LCE, LCD = PULLS.index("next"), PULLS.index("lce"), PULLS.index("lcd")
AHEAD = 12
"""How many sessions ahead of their turn the memory is asked for a file's row."""


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
    slot = whole(at, SLOT_MS)
    if slot - base < len(marks):
        place = index(slot - base)
        marks[place, column, PART] += rate * ((slot + 1) * SLOT_MS - at)
        marks[place, column, LEVEL] += rate


@inlined
def _mark_pair(
    ground: Ground, books: Books, base: int, source: int, target: int, now: int, end: int, rate: int
) -> None:
    """The flow of a pull from one site to another; none from a site to itself."""
    pair = ground.pair_of[source, target]
    if pair >= 0:
        _mark(books.pair_marks, base, pair, now, rate)
        _mark(books.pair_marks, base, pair, end, -rate)


@inlined
def _lets_in(ground: Ground, state: State, site: int, file: int) -> bool:
    """Whether the site's rule of admission lets a missed file into its cache."""
    return bool(admits(ground.admission, ground.largest, state.cache_asked[site], ground.file_bytes, file))


@inlined
def _take_in(ground: Ground, state: State, site: int, file: int) -> None:
    """A site's cache takes in a file that it missed and that fits into it."""
    flags, bit = state.cached[:, index(site >> 6)], np.uint64(1) << np.uint64(site & 63)
    meta, node, ring = state.cache_meta[site], state.cache_node[site], state.cache_ring[site]
    take_in(ground.policy, meta, node, ring, ground.file_bytes, file, flags, bit)


@inlined
def _may_keep(ground: Ground, state: State, site: int, file: int) -> bool:
    """Whether a site that a pull passes lacks the file and has a cache that it fits into."""
    fits = ground.file_bytes[file] <= state.cache_meta[site, 0]
    return fits and is_cached(state, site, file) == 0 and not holds_up(ground, state, site, file)


@inlined
def _keeps(ground: Ground, state: State, site: int, file: int) -> bool:
    """Whether a site's rule of admission lets a file in, which then is in its cache."""
    kept = _lets_in(ground, state, site, file)
    if kept:
        _take_in(ground, state, site, file)
    return kept


@compiled
def _climb(
    ground: Ground, state: State, row: int, front: int, file: int, rate: int, soft: bool
) -> tuple[int, int, bool, int]:
    """Go from a front site towards the origin until a site can serve, and store the file on the way back where the strategy says.

    Returns
    -------
    The site that answers, its appliance, whether it has the file in its cache; the nearest site to the front that keeps it, or -1.
    """
    first = at = ground.climb_start[ground.climb_of[row, front]]
    while True:
        site, cached = ground.climb_site[at], False
        appliance = ground.where[site].endless
        if appliance >= 0 and soft:  # no site on the way is within its soft limit: all are asked again
            soft, at = False, first
            continue
        if appliance < 0:
            appliance = holder(ground, state, site, file, soft, rate)
            if appliance < 0 and is_cached(state, site, file) != 0:
                appliance, cached = carrier(ground, state, site, soft, rate), True
        if appliance >= 0:
            break
        at += 1
    keeper, below = NOBODY, at - 1
    if ground.pull == LCD:
        while below >= first and not _may_keep(ground, state, ground.climb_site[below], file):
            below -= 1
    asks_front = ground.pull != LCD or below < first
    if asks_front and _keeps(ground, state, ground.candidate[row, front], file):
        keeper = np.int64(ground.candidate[row, front])
    if ground.pull == LCD and below >= first and _keeps(ground, state, ground.climb_site[below], file):
        keeper = np.int64(ground.climb_site[below])
    if ground.pull == LCE:
        for between in range(first, at):
            passed = ground.climb_site[between]
            if _may_keep(ground, state, passed, file) and _keeps(ground, state, passed, file) and keeper < 0:
                keeper = np.int64(passed)
    return site, appliance, cached, keeper


@inlined
def _note_pull(
    ground: Ground, books: Books, place: int, source: int, keeper: int, site: int, size: int, fetched: int
) -> None:
    """Count a pull: what it brings as far as its keeper, and the session's bytes from there."""
    first = index(PATH_COLUMNS * place)
    books.path[first + PATH_PULLED] += 1
    books.path[first + PATH_PULLED_BYTES] += size
    pair = index(ground.pair_of[source, site])
    books.pair[pair, COUNT] += 1
    books.pair[pair, BYTES] += size
    ms = whole(ground.path_us[place] + ground.pair_us[pair] + 999, 1000)
    books.startup[index(min(ms, len(books.startup) - 1))] += 1
    if keeper != site:
        books.relayed[index(ground.pair_of[keeper, site])] += size
        books.detour[pair] -= size
        pair = index(ground.pair_of[source, keeper])
        books.detour[pair] += size
    books.fetched[pair] += fetched


@inlined
def _count(books: Books, place: int, outcome: int, size: int, length: int) -> None:
    """Count a session by its path, in the hour that runs."""
    first = index(PATH_COLUMNS * place)
    books.path[first + outcome] += 1
    books.path[first + PATH_BYTES] += size
    books.path[first + PATH_MS] += length


@inlined
def _begin_or_end(ground: Ground, state: State, books: Books, transfers: Transfers, fill: int, begins: bool) -> None:
    """A fill begins to take throughput, or gives it back, and then its copy is there."""
    source, target, file = transfers.source[fill], transfers.target[fill], transfers.file[fill]
    sign = 1 if begins else -1
    _take(state, books.peak, ground.site_of[source], source, sign * transfers.rate_bps[fill])
    state.free[target] -= sign * transfers.write_bps[fill]
    if not begins:
        set_copy(ground, state, target, file)


@compiled
def run(
    ground: Ground,
    state: State,
    calendar: Calendar,
    books: Books,
    entries: Entries,
    part: Part,
    begin: int,
    until: int,
    transfers: Transfers,
    changes: np.ndarray,
    first: int,
    base_slot: int,
    soft_limit: bool,
    link_loads: bool,
    original: np.ndarray,
) -> tuple[int, int, int]:
    """Run the sessions from ``begin`` on that start before ``until``, and the changes from ``first`` on in between; then end all that are over by then.

    Parameters
    ----------
    changes
        (C,) of :data:`sim.arrays.CHANGE`, in the order of their times, none after ``until``.
    base_slot, soft_limit, link_loads, original
        As for :func:`_play`.

    Returns
    -------
    The first session and the first change not run, and :data:`DONE`, :data:`NO_ROOM` (the calendar is full: enlarge it and go on) or :data:`NO_MORE`
    (sessions are at an end, so that those of the next part may come before ``until``).
    """
    at = begin
    for which in range(first, len(changes) + 1):
        last = until if which == len(changes) else changes[which].at
        at, why = _play(
            ground, state, calendar, books, entries, part, at, last, base_slot, soft_limit, link_loads, original
        )
        if why != DONE:
            return at, which, why
        if which < len(changes):
            _begin_or_end(ground, state, books, transfers, changes[which].fill, changes[which].begins != 0)
    return at, len(changes), DONE


@compiled
def _play(  # noqa: C901  # one loop in one piece is what makes it fast
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
    The first session not run, and :data:`DONE`, :data:`NO_ROOM` or :data:`NO_MORE`.
    """
    width, logging = ground.candidate.shape[1], len(entries.outcome) > 0
    free, load, site_of = state.free, state.load, ground.site_of
    cache_width, cache_stride = state.cache_node.shape[2], state.cache_node.strides[1] // state.cache_node.itemsize
    word_bytes = state.held.itemsize
    row_words, site_words = state.held.strides[0] // word_bytes, state.held.strides[1] // word_bytes
    in_one_line, last = row_words <= LINE_WORDS, len(part.start_ms) - 1
    for i in range(begin, len(part.start_ms)):
        now = part.start_ms[i]
        if now >= until:
            release(calendar, free, load, site_of, until)
            return i, DONE
        ahead = min(i + AHEAD, last)
        row, file = index(state.row_of[index(part.region[ahead])]), index(part.file[ahead])
        site = index(ground.candidate[row, 0])
        fetch_ahead(state.held, file * row_words + (site >> 6) * site_words)
        if not in_one_line:
            fetch_ahead(state.copies, file * row_words + ground.where[site].word)
        if ground.policy != 0:
            fetch_ahead(state.cache_node, file * cache_stride + site * cache_width)
        release(calendar, free, load, site_of, now)
        if not has_room(calendar):
            return i, NO_ROOM
        row, file, rate, size = (
            index(state.row_of[index(part.region[i])]),
            index(part.file[i]),
            part.rate_bps[i],
            part.bytes[i],
        )
        soft = soft_limit
        while True:
            served, appliance, cached, outcome = steer(ground, state, row, file, rate, soft)
            provider = index(ground.candidate[row, served])
            if not (soft and ground.where[provider].endless >= 0):
                break
            soft = False
        if now >= books.hour_end[0]:
            turn_hour(ground, books, now)
        length, k, source, keeper, fetched = part.duration_ms[i], served, NOBODY, NOBODY, 0
        end = now + length
        place = index(row * width + served)
        if ground.policy != 0:
            front, front_appliance = front_site(ground, state, row, file, rate, soft, served)
            site = index(ground.candidate[row, max(front, 0)])
            if front >= 0 and ground.pull == NEXT:
                keeper = site if _keeps(ground, state, site, file) else NOBODY
            elif front >= 0:
                there, its, from_cache, keeper = _climb(ground, state, row, front, file, rate, soft)
                if keeper >= 0:
                    provider, appliance, cached = there, its, from_cache
            if cached:
                touch(
                    ground.policy,
                    state.cache_meta[provider],
                    state.cache_node[provider],
                    state.cache_ring[provider],
                    file,
                )
            if keeper >= 0:
                k, source, appliance = front, appliance, front_appliance
                fetched = max(ground.file_bytes[file], size) if ground.whole else size
                place = index(row * width + front)
                _note_pull(ground, books, place, provider, index(keeper), site, size, fetched)
                _take(state, books.peak, site, appliance, rate)
                if link_loads:
                    brought = int(np.rint(fetched * 8000.0 / (end - now)))
                    _mark_pair(ground, books, base_slot, provider, keeper, now, end, brought)
                    _mark_pair(ground, books, base_slot, keeper, site, now, end, rate)
        _take(state, books.peak, provider, appliance if source < 0 else source, rate)
        expect(calendar, end, rate, appliance, source)
        _count(books, place, outcome, size, length)
        if link_loads:
            _mark(books.marks, base_slot, place, now, rate)
            _mark(books.marks, base_slot, place, end, -rate)
        if logging:
            entries.candidate[i], entries.appliance[i] = k, original[appliance]
            entries.outcome[i], entries.fetched[i] = outcome, fetched
            entries.keeper[i], entries.source[i], entries.source_appliance[i] = keeper, NOBODY, NOBODY
            if source >= 0:
                entries.source[i], entries.source_appliance[i] = provider, original[source]
    return len(part.start_ms), NO_MORE


@compiled
def end_all(
    ground: Ground,
    state: State,
    calendar: Calendar,
    books: Books,
    until: int,
    transfers: Transfers,
    changes: np.ndarray,
    first: int,
) -> None:
    """With no more sessions to come: run the changes from ``first`` on, and end every session that is over by a time."""
    for which in range(first, len(changes)):
        release(calendar, state.free, state.load, ground.site_of, changes[which].at)
        _begin_or_end(ground, state, books, transfers, changes[which].fill, changes[which].begins != 0)
    release(calendar, state.free, state.load, ground.site_of, until)


@compiled
def warm(ground: Ground, state: State, region: np.ndarray, file_of: np.ndarray) -> None:
    """Show sessions of the day before to the cache of their region's best-ranked site, unless the file is planned there."""
    for i in range(len(region)):
        site, file = ground.candidate[state.row_of[region[i]], 0], file_of[i]
        if ground.where[site].endless >= 0 or bit_at(ground.meant, site, file) != 0:
            continue
        hit = access(ground.policy, state.cache_meta[site], state.cache_node[site], state.cache_ring[site], file)
        fits = ground.file_bytes[file] <= state.cache_meta[site, 0]
        if not hit and fits and _lets_in(ground, state, site, file):
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
) -> tuple[bool, int, int]:
    """Whether all sessions can be run as they are (in order, within the days, known, with a length and bytes that can be summed), the longest of them in ms, and their bytes."""
    last, longest, total = not_before, 0, 0
    for i in range(len(start_ms)):
        if not (last <= start_ms[i] < before and 0 <= region[i] < regions and 0 <= file[i] < files):
            return False, longest, total
        last, longest, total = start_ms[i], max(longest, duration_ms[i]), total + bytes_[i]
        if duration_ms[i] <= 0 or bytes_[i] <= 0 or total < 0:
            return False, longest, total
    return True, longest, total

"""When running sessions end, for the kernel: a calendar of pages, so that giving back throughput costs the same however many sessions run.

A page covers 2**shift ms. Its rows stand one after the other in blocks, so that writing an end goes through memory in order. The page that is open is sorted,
once, as it is opened, and read from front to back; what is to end within the open page comes too late for that and waits in a heap.
"""

# mypy: disable-error-code="no-any-return"

from typing import NamedTuple

import numpy as np

from sim.clock import NEVER
from sim.machine import compiled, index, inlined

NOBODY = -1
CLOSING = NEVER + 1
"""The end of the row that closes ``due``: not even then. How far it is away can be told at any time, also before 00:00, which fills may begin."""
RUNNING = np.dtype([("end", np.int64), ("rate", np.int64), ("who", np.int32), ("source", np.int32)])
"""A running session: its end in ms, its rate in bit/s, the appliance it has it from, and the one that appliance pulls from, or -1."""
PAGE, LAST_PAGE, NEXT_DUE, ALL_DUE, LATE, FREE_BLOCK = range(6)
"""Places in ``clock``: the open page, the last page with an end in it, the first row of ``due`` not ended, the one that closes it, ends in the heap, the first
unused block."""
BLOCK_SHIFT = 5
BLOCK = 1 << BLOCK_SHIFT
"""Rows of a block."""
BIN_SHIFT = 10
"""A page is sorted through 2**BIN_SHIFT bins, so ``shift`` is at least that."""
FIRST_BLOCKS = 1024
"""At first; room that is not used yet takes no memory."""
AT_ONCE = 2
"""Ends that are looked at without a branch before a loop takes over: one session in the mean ends between two that begin, and how many do is chance."""
A_PAGE, FIRST_SHIFT, MOST_SHIFT = 512, 17, 20
"""Sessions that should end in one page; pages of 2**shift ms, at most a quarter of an hour or so: what ends within the open one waits in a heap."""


class Calendar(NamedTuple):
    """The ends of running sessions.

    ``rows`` (blocks * BLOCK,) of :data:`RUNNING`; ``after`` (blocks,) the next block of a page, or of the unused ones; ``tail`` (pages,) the row behind the
    last of a page, 0 where it has none; pages come round again. ``due`` (rows + 1,): the open page by time, closed by one that never ends. ``late``
    (rows,): a heap.
    """

    rows: np.ndarray
    after: np.ndarray
    tail: np.ndarray
    due: np.ndarray
    late: np.ndarray
    bins: np.ndarray
    clock: np.ndarray
    shift: int


def empty_calendar(shift: int) -> Calendar:
    """No session runs, at time 0; there is no room for one either."""
    due = np.zeros(1, RUNNING)
    due["end"] = CLOSING
    return Calendar(
        rows=np.zeros(0, RUNNING),
        after=np.zeros(0, np.int64),
        tail=np.zeros(1, np.int64),
        due=due,
        late=np.zeros(0, RUNNING),
        bins=np.zeros(1 << BIN_SHIFT, np.int64),
        clock=np.array([0, 0, 0, 0, 0, NOBODY], np.int64),
        shift=shift,
    )


def page_shift(start_ms: np.ndarray) -> int:
    """Pages so long that a few hundred sessions end in each, if they come as fast as these do."""
    if len(start_ms) < 2:
        return FIRST_SHIFT
    page_ms = A_PAGE * max(int(start_ms[-1]) - int(start_ms[0]), 1) // len(start_ms)
    return min(max(page_ms.bit_length(), BIN_SHIFT), MOST_SHIFT)


def with_pages(old: Calendar, longest_ms: int) -> Calendar:
    """A wheel that a session of this length fits into."""
    pages = 1 << ((longest_ms >> old.shift) + 2).bit_length()
    if pages <= len(old.tail):
        return old
    tail = np.zeros(pages, np.int64)
    known = int(old.clock[PAGE]) + np.arange(len(old.tail))
    tail[known % pages] = old.tail[known % len(old.tail)]
    return old._replace(tail=tail)


def with_room(old: Calendar) -> Calendar:
    """Room for twice as many running sessions."""
    count = len(old.after)
    after = np.arange(1, max(FIRST_BLOCKS, 2 * count) + 1)
    after[:count], after[-1] = old.after, old.clock[FREE_BLOCK]
    old.clock[FREE_BLOCK] = count
    size = len(after) * BLOCK

    def longer(used: np.ndarray) -> np.ndarray:
        grown = np.empty(size + 1, RUNNING)
        grown[: len(used)] = used
        return grown

    due, late = old.due[: old.clock[ALL_DUE] + 1], old.late[: old.clock[LATE]]
    return old._replace(rows=longer(old.rows), after=after, due=longer(due), late=longer(late))


@inlined
def has_room(calendar: Calendar) -> bool:
    """Whether one more session fits, wherever it ends."""
    return calendar.clock[FREE_BLOCK] >= 0 and calendar.clock[LATE] < len(calendar.late)


@inlined
def _give_back(
    rows: np.ndarray, row: int, free: np.ndarray, load: np.ndarray, site_of: np.ndarray, ends: int = -1
) -> None:
    """A session ends; nothing happens if ``ends`` is 0 instead of -1."""
    rate, appliance, source = rows[row].rate & ends, index(rows[row].who), np.int64(rows[row].source)
    free[appliance] += rate
    load[index(site_of[appliance])] -= rate
    there = ~(source >> 63)
    rate, appliance = rate & there, index(source & there)
    free[appliance] += rate
    load[index(site_of[appliance])] -= rate


@inlined
def release(calendar: Calendar, free: np.ndarray, load: np.ndarray, site_of: np.ndarray, now: int) -> None:
    """End every session whose end is not after ``now``: its appliances and their sites have its rate back."""
    clock, due, late = calendar.clock, calendar.due, calendar.late
    if now >> calendar.shift > clock[PAGE]:
        _turn(calendar, free, load, site_of, now >> calendar.shift)
    at = index(clock[NEXT_DUE])
    for _ in range(AT_ONCE):
        ends = (due[at].end - now - 1) >> 63
        _give_back(due, at, free, load, site_of, ends)
        at -= ends
    while due[at].end <= now:
        _give_back(due, at, free, load, site_of)
        at += 1
    clock[NEXT_DUE] = at
    while clock[LATE] > 0 and late[0].end <= now:
        _give_back(late, 0, free, load, site_of)
        _drop_first(late, clock)


@inlined
def expect(calendar: Calendar, end: int, rate: int, appliance: int, source: int) -> None:
    """Write a session's end into the calendar, which has room for it."""
    clock, rows, tail = calendar.clock, calendar.rows, calendar.tail
    page = end >> calendar.shift
    if page <= clock[PAGE]:
        _come_late(calendar.late, clock, end, rate, appliance, source)
        return
    place = index(page & (len(tail) - 1))
    row = index(tail[place])
    if row & (BLOCK - 1) == 0:
        block = clock[FREE_BLOCK]
        clock[FREE_BLOCK] = calendar.after[block]
        calendar.after[block] = (row >> BLOCK_SHIFT) - 1
        row = block << BLOCK_SHIFT
        clock[LAST_PAGE] = max(clock[LAST_PAGE], page)
    tail[place] = row + 1
    rows[row].end, rows[row].rate, rows[row].who, rows[row].source = end, rate, appliance, source


@compiled
def _turn(calendar: Calendar, free: np.ndarray, load: np.ndarray, site_of: np.ndarray, page: int) -> None:
    """Close the open page and all before the given one, ending their sessions, and open that."""
    clock, rows, due, late = calendar.clock, calendar.rows, calendar.due, calendar.late
    at = clock[NEXT_DUE]
    while due[at].end < CLOSING:
        _give_back(due, at, free, load, site_of)
        at += 1
    for at in range(clock[LATE]):
        _give_back(late, at, free, load, site_of)
    clock[LATE] = 0
    while clock[PAGE] + 1 < page and clock[PAGE] < clock[LAST_PAGE]:
        clock[PAGE] += 1
        row = calendar.tail[clock[PAGE] & (len(calendar.tail) - 1)]
        while row > 0:
            block = (row - 1) >> BLOCK_SHIFT
            for one in range(block << BLOCK_SHIFT, row):
                _give_back(rows, one, free, load, site_of)
            row = (calendar.after[block] + 1) << BLOCK_SHIFT
        _free_blocks(calendar, clock[PAGE])
    clock[PAGE] = page
    _sort_into_due(calendar, page)
    _free_blocks(calendar, page)
    clock[NEXT_DUE] = 0


@compiled
def _sort_into_due(calendar: Calendar, page: int) -> None:
    """The rows of a page by time: through bins, then by Shell's sort (D. Shell, CACM 1959) with the gaps of Knuth; that of 1 alone where bins have a row or so."""
    rows, due, bins, fine = calendar.rows, calendar.due, calendar.bins, calendar.shift - BIN_SHIFT
    for which in range(len(bins)):
        bins[which] = 0
    last = calendar.tail[page & (len(calendar.tail) - 1)]
    row = last
    while row > 0:
        block = (row - 1) >> BLOCK_SHIFT
        for one in range(block << BLOCK_SHIFT, row):
            bins[(rows[one].end >> fine) & (len(bins) - 1)] += 1
        row = (calendar.after[block] + 1) << BLOCK_SHIFT
    count = 0
    for which in range(len(bins)):
        here = bins[which]
        bins[which] = count
        count += here
    row = last
    while row > 0:
        block = (row - 1) >> BLOCK_SHIFT
        for one in range(block << BLOCK_SHIFT, row):
            which = (rows[one].end >> fine) & (len(bins) - 1)
            due[bins[which]] = rows[one]
            bins[which] += 1
        row = (calendar.after[block] + 1) << BLOCK_SHIFT
    gap = 1
    while gap < count >> BIN_SHIFT:  # bins of many rows, where sessions come faster than pages were made for
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            end = due[i].end
            if due[i - gap].end > end:
                rate, appliance, source, at = due[i].rate, due[i].who, due[i].source, i
                while at >= gap and due[at - gap].end > end:
                    due[at] = due[at - gap]
                    at -= gap
                due[at].end, due[at].rate, due[at].who, due[at].source = end, rate, appliance, source
        gap //= 3
    due[count].end, due[count].rate, due[count].who, due[count].source = CLOSING, 0, 0, NOBODY
    calendar.clock[ALL_DUE] = count


@compiled
def _free_blocks(calendar: Calendar, page: int) -> None:
    """The blocks of a page that is over can be used again."""
    place = page & (len(calendar.tail) - 1)
    row = calendar.tail[place]
    while row > 0:
        block = (row - 1) >> BLOCK_SHIFT
        row = (calendar.after[block] + 1) << BLOCK_SHIFT
        calendar.after[block] = calendar.clock[FREE_BLOCK]
        calendar.clock[FREE_BLOCK] = block
    calendar.tail[place] = 0


@compiled
def _come_late(late: np.ndarray, clock: np.ndarray, end: int, rate: int, appliance: int, source: int) -> None:
    """Put an end into the heap, the earliest of which stands first."""
    at = clock[LATE]
    clock[LATE] = at + 1
    while at > 0 and late[(at - 1) >> 1].end > end:
        late[at] = late[(at - 1) >> 1]
        at = (at - 1) >> 1
    late[at].end, late[at].rate, late[at].who, late[at].source = end, rate, appliance, source


@compiled
def _drop_first(late: np.ndarray, clock: np.ndarray) -> None:
    """Take the earliest end out of the heap."""
    clock[LATE] -= 1
    count, at = clock[LATE], 0
    while True:
        below = 2 * at + 1
        if below >= count:
            break
        if below + 1 < count and late[below + 1].end < late[below].end:
            below += 1
        if late[count].end <= late[below].end:
            break
        late[at] = late[below]
        at = below
    late[at] = late[count]

"""What is counted by the hour: the kernel counts the hour that runs by path, and when the next begins adds it to that hour's row of the books.

So what every session counts in stays within a few thousand bytes, however many hours are simulated.
"""

from sim.arrays import BYTES, COUNT, PATH_BYTES, PATH_COLUMNS, PATH_MS, PATH_PULLED_BYTES, Books, Ground
from sim.machine import compiled
from sim.tally import HOUR_MS


@compiled
def turn_hour(ground: Ground, books: Books, now: int) -> None:
    """Close the hour that runs, and begin that of a later time in ms."""
    hour = books.hour_end[0] // HOUR_MS - 1
    _add_paths(ground, books, hour)
    _add_pulls(ground, books, hour)
    books.hour_end[0] = (now // HOUR_MS + 1) * HOUR_MS


@compiled
def _add_paths(ground: Ground, books: Books, hour: int) -> None:
    """Sessions of each outcome, bytes, those of hits and those of origins; by best-ranked and by delivering site."""
    width = ground.candidate.shape[1]
    for path in range(len(books.path) // PATH_COLUMNS):
        first = path * PATH_COLUMNS
        size, count = books.path[first + PATH_BYTES], 0
        if size == 0:
            continue
        row, k = path // width, path % width
        best, site = ground.candidate[row, 0], ground.candidate[row, k]
        for outcome in range(PATH_BYTES):
            sessions = books.path[first + outcome]
            books.by_hour[hour, outcome] += sessions
            books.asked[hour, best, outcome] += sessions
            count += sessions
        direct = size - books.path[first + PATH_PULLED_BYTES]
        books.by_hour[hour, PATH_BYTES] += size
        if k == 0:
            books.by_hour[hour, PATH_BYTES + 1] += direct
            books.asked[hour, best, PATH_BYTES] += direct
        if ground.where[site].endless >= 0:
            books.by_hour[hour, PATH_BYTES + 2] += direct
        books.given[hour, site, 0] += count
        books.given[hour, site, 1] += size
        books.given[hour, site, 2] += books.path[first + PATH_MS]
        books.given[hour, site, 3] += count * ground.path_us[path]
        for column in range(first, first + PATH_COLUMNS):
            books.path_total[column] += books.path[column]
            books.path[column] = 0


@compiled
def _add_pulls(ground: Ground, books: Books, hour: int) -> None:
    """What pulls between pairs of sites came to: their round trips and number by target, their bytes from origins."""
    for pair in range(len(books.pair)):
        count, size = books.pair[pair, COUNT], books.pair[pair, BYTES]
        if count == 0:
            continue
        target = ground.pair_target[pair]
        books.given[hour, target, 3] += count * ground.pair_us[pair]
        books.given[hour, target, 4] += count
        if ground.where[ground.pair_source[pair]].endless >= 0:
            books.by_hour[hour, PATH_BYTES + 2] += size
        books.pair_total[pair, COUNT] += count
        books.pair_total[pair, BYTES] += size
        books.pair[pair, COUNT] = books.pair[pair, BYTES] = 0

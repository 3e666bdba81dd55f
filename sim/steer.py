"""Steering in the kernel of the batch engine: which sites hold a file, and which of their appliances can take a session.

The candidates of a region that hold a file are bits of one word, so that those without are never looked at; of a site that does, the bits of its appliances
with a copy. Every function has its twin in :class:`sim.sites.SiteState` or :class:`sim.reference._Model`.
"""

# mypy: disable-error-code="no-any-return, return-value"

import numpy as np

from sim.arrays import HELD, LANES, MEANT, PLACES, Ground, State
from sim.ends import NOBODY
from sim.log import CONTENT, HEALTH, HIT, NOT_YET_FILLED
from sim.machine import compiled, index, inlined, lowest_bit

AT_ONCE = 256
"""Copies that are looked at for one region after the other: as many as stay near the processor."""


@inlined
def _freest(bits: np.uint64, word: int, free: np.ndarray, reserve: np.ndarray, soft: bool, rate: int, best: int) -> int:
    """Of the appliances whose bits are set, the one with the most throughput left that the rate fits into; else ``best`` as it came.

    By masks: a choice would be compiled to a branch, and guessed wrong half the time.
    """
    most = rate - 1 if best < 0 else free[best]
    while bits:
        appliance = index(word * 64 + lowest_bit(bits))
        left = free[appliance]
        fits = left - (reserve[appliance] if soft else 0) >= rate
        better = -np.int64(fits & (left > most))
        best ^= (best ^ appliance) & better
        most ^= (most ^ left) & better
        bits &= bits - np.uint64(1)
    return best


@inlined
def carrier(ground: Ground, state: State, site: int, soft: bool, rate: int) -> int:
    """The appliance of a site that can take the rate and has the most left."""
    best, word = NOBODY, index(ground.where[site].word)
    bits = state.up[word] & ground.where[site].mask
    best = _freest(bits, word, state.free, ground.reserve, soft, rate, best)
    for more in range(1, ground.where[site].words):
        best = _freest(state.up[word + more], word + more, state.free, ground.reserve, soft, rate, best)
    return best


@inlined
def is_copy(ground: Ground, state: State, site: int, file: int) -> bool:
    """Whether the site has a copy of the file."""
    word = index(ground.where[site].word)
    bits = state.copies[file, word] & ground.where[site].mask
    for more in range(1, ground.where[site].words):
        bits |= state.copies[file, word + more]
    return bits != 0


@inlined
def holder(ground: Ground, state: State, site: int, file: int, soft: bool, rate: int) -> int:
    """The appliance of a site that holds a planned copy, is up, can take the rate and has the most left."""
    best, word = NOBODY, index(ground.where[site].word)
    bits = state.copies[file, word] & ground.where[site].mask & state.up[word]
    best = _freest(bits, word, state.free, ground.reserve, soft, rate, best)
    for more in range(1, ground.where[site].words):
        at = word + more
        best = _freest(state.copies[file, at] & state.up[at], at, state.free, ground.reserve, soft, rate, best)
    return best


@inlined
def holds_up(ground: Ground, state: State, site: int, file: int) -> bool:
    """Whether an appliance that is up has a planned copy."""
    word = index(ground.where[site].word)
    bits = state.copies[file, word] & ground.where[site].mask & state.up[word]
    for more in range(1, ground.where[site].words):
        bits |= state.copies[file, word + more] & state.up[word + more]
    return bool(bits != 0)


@inlined
def is_cached(state: State, site: int, file: int) -> int:
    """1 if the site's cache holds the file, else 0."""
    return np.int64((state.cached[file, index(site >> 6)] >> np.uint64(site & 63)) & np.uint64(1))


@inlined
def _cached_among(ground: Ground, state: State, row: int, file: int, word: int) -> int:
    """Bits of the candidates of one word that have the file in their cache."""
    bits = np.int64(0)
    if len(ground.lanes) != 0:
        held, found = state.cached[file, 0], np.uint64(0)
        for k in range(LANES):
            found |= (held >> np.uint64(ground.lanes[row, word, k]) & np.uint64(1)) << np.uint64(k)
        return np.int64(found)
    for k in range(PLACES * word, min(PLACES * (word + 1), ground.candidate.shape[1])):
        bits |= is_cached(state, index(ground.candidate[row, k]), file) << (k - PLACES * word)
    return bits


@inlined
def steer(ground: Ground, state: State, row: int, file: int, rate: int, soft: bool) -> tuple[int, int, bool, int]:
    """Walk the sites of a row, best first, passing over those without the file; an origin ends the walk.

    Returns
    -------
    Place and appliance of the server, whether it serves from its cache, outcome.
    """
    word, found, outcome = 0, np.int64(state.holds[row, file, 0]), HIT
    held, cached = found & HELD, np.int64(0)
    if ground.policy != 0:
        cached = is_cached(state, index(ground.candidate[row, 0]), file)
    if (held | cached) & 1 == 0:
        cached = _cached_among(ground, state, row, file, 0) if ground.policy != 0 else cached
        outcome = NOT_YET_FILLED if found & MEANT != 0 else CONTENT
    bits = held | cached
    while True:
        while bits == 0:
            word += 1
            held = np.int64(state.holds[row, file, word]) & HELD
            cached = _cached_among(ground, state, row, file, word) if ground.policy != 0 else cached
            bits = held | cached
        first = lowest_bit(bits)
        k = index(PLACES * word + first)
        site = index(ground.candidate[row, k])
        if held >> first & 1 != 0:
            appliance = ground.where[site].endless
            if appliance < 0:
                appliance = holder(ground, state, site, file, soft, rate)
            if appliance >= 0:
                return k, appliance, False, outcome
        if ground.policy != 0 and cached >> first & 1 != 0:
            appliance = carrier(ground, state, site, soft, rate)
            if appliance >= 0:
                return k, appliance, True, outcome
        if k == 0:
            outcome = HEALTH
            if ground.policy != 0:
                cached = _cached_among(ground, state, row, file, 0)
                bits = held | cached | 1
        bits &= bits - 1


@inlined
def front_site(
    ground: Ground, state: State, row: int, file: int, rate: int, soft: bool, served: int
) -> tuple[int, int]:
    """The first of the sites ahead of the server that could carry the session and has no planned copy that is up: its place and appliance.

    The place is -1 if the file does not fit into its cache, or if there is no such site.
    """
    for k in range(served):
        site = index(ground.candidate[row, k])
        if not holds_up(ground, state, site, file):
            appliance = carrier(ground, state, site, soft, rate)
            if appliance >= 0:
                return (k if ground.file_bytes[file] <= state.cache_meta[site, 0] else NOBODY), appliance
    return NOBODY, NOBODY


@compiled
def refresh(
    ground: Ground,
    state: State,
    appliance_site: np.ndarray,
    appliance: np.ndarray,
    file: np.ndarray,
    planned: bool,
    held: np.ndarray,
) -> None:
    """Set or clear the bits in ``holds`` of copies that have come or gone: (P,) appliances and files, those of one site together for the sake of speed.

    ``planned``: note also, where their sites rank best, that they are to have these files. ``held`` is room for (:data:`AT_ONCE`,) uint16.
    """
    begin = 0
    while begin < len(file):
        site, end, last = appliance_site[appliance[begin]], begin + 1, min(begin + AT_ONCE, len(file))
        while end < last and appliance_site[appliance[end]] == site:
            end += 1
        for i in range(begin, end):
            held[i - begin] = is_copy(ground, state, site, file[i])
        for at in range(ground.seat_begin[site], ground.seat_begin[site + 1]):
            row, place = ground.seat_row[at], ground.seat_place[at]
            column, bit = place // PLACES, place % PLACES
            others, meant = np.uint16(0xFFFF ^ 1 << bit), np.uint16(MEANT if planned and place == 0 else 0)
            line = state.holds[row, :, column]
            for i in range(begin, end):
                f = index(file[i])
                line[f] = (line[f] & others) | np.uint16(held[i - begin] << bit) | meant
        begin = end


@inlined
def look_again(ground: Ground, state: State, site: int, file: int) -> None:
    """Set or clear the bits in ``holds`` of a site and a file whose copies have changed."""
    held = is_copy(ground, state, site, file)
    for at in range(ground.seat_begin[site], ground.seat_begin[site + 1]):
        row, place = ground.seat_row[at], ground.seat_place[at]
        word, bit = place // PLACES, np.uint16(1 << place % PLACES)
        if held:
            state.holds[row, file, word] |= bit
        else:
            state.holds[row, file, word] &= ~bit


@compiled
def set_copies(copies: np.ndarray, bit_of: np.ndarray, appliance: np.ndarray, file: np.ndarray, on: bool) -> None:
    """Set, or else clear, the bits in ``copies`` of (P,) appliances and files; ``bit_of`` (A,) is the bit of each appliance."""
    for i in range(len(file)):
        place = bit_of[appliance[i]]
        bit = np.uint64(1) << np.uint64(place & 63)
        bits = copies[file[i], place >> 6]
        copies[file[i], place >> 6] = bits | bit if on else bits & ~bit

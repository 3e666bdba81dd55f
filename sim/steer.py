"""Steering in the kernel of the batch engine: which sites hold a file, and which of their appliances can take a session.

The sites that have a file are bits of its row, so that candidates without are never looked at; of a site that does, the bits of its appliances with a copy.
Every function has its twin in :class:`sim.sites.SiteState` or :class:`sim.reference._Model`.
"""

# mypy: disable-error-code="no-any-return, return-value"

import numpy as np

from sim.arrays import LANES, Ground, State
from sim.ends import NOBODY
from sim.log import CONTENT, HEALTH, HIT, NOT_YET_FILLED
from sim.machine import compiled, index, inlined, lowest_bit


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
def bit_at(bits: np.ndarray, number: int, file: int) -> int:
    """1 or 0: the bit of a site in a file's row of ``held``, ``cached`` or ``meant``, or that of an appliance in ``copies``."""
    return np.int64((bits[file, index(number >> 6)] >> np.uint64(number & 63)) & np.uint64(1))


@inlined
def set_bit(bits: np.ndarray, number: int, file: int) -> None:
    """Set that bit."""
    bits[file, index(number >> 6)] |= np.uint64(1) << np.uint64(number & 63)


@inlined
def clear_bit(bits: np.ndarray, number: int, file: int) -> None:
    """Clear that bit."""
    bits[file, index(number >> 6)] &= ~(np.uint64(1) << np.uint64(number & 63))


@inlined
def is_cached(state: State, site: int, file: int) -> int:
    """1 if the site's cache holds the file, else 0."""
    return bit_at(state.cached, site, file)


@inlined
def _has(ground: Ground, state: State, site: int, file: int) -> int:
    """1 if the site has a copy of the file, whether up or not, or has it in its cache, else 0."""
    return bit_at(state.held, site, file) | (is_cached(state, site, file) if ground.policy != 0 else np.int64(0))


@inlined
def _candidates_with(ground: Ground, state: State, row: int, file: int, word: int) -> int:
    """Bits of the candidates of one word, :data:`sim.arrays.LANES` of them, that have the file so; of 64 sites and more of those from the first that has it on."""
    if len(ground.lanes) != 0:
        sites, found = state.held[file, 0], np.uint64(0)
        if ground.policy != 0:
            sites |= state.cached[file, 0]
        for k in range(LANES):
            found |= (sites >> np.uint64(ground.lanes[row, word, k]) & np.uint64(1)) << np.uint64(k)
        return np.int64(found)
    begin = index(LANES * word)
    end = first = min(begin + LANES, ground.candidate.shape[1])
    for k in range(begin, end):
        if _has(ground, state, index(ground.candidate[row, k]), file) != 0:
            first = k
            break
    return np.int64(((1 << (end - begin)) - 1) >> (first - begin) << (first - begin))


@inlined
def steer(ground: Ground, state: State, row: int, file: int, rate: int, soft: bool) -> tuple[int, int, bool, int]:
    """Walk the sites of a row, best first, passing over those without the file; an origin ends the walk.

    Returns
    -------
    Place and appliance of the server, whether it serves from its cache, outcome.
    """
    word, outcome, front = 0, HIT, index(ground.candidate[row, 0])
    bits = _has(ground, state, front, file)
    if bits == 0:
        outcome = NOT_YET_FILLED if bit_at(ground.meant, front, file) != 0 else CONTENT
        bits = _candidates_with(ground, state, row, file, 0)
    while True:
        while bits == 0:
            word += 1
            bits = _candidates_with(ground, state, row, file, word)
        k = index(LANES * word + lowest_bit(bits))
        site = index(ground.candidate[row, k])
        if bit_at(state.held, site, file) != 0:
            appliance = ground.where[site].endless
            if appliance < 0:
                appliance = holder(ground, state, site, file, soft, rate)
            if appliance >= 0:
                return k, appliance, False, outcome
        if ground.policy != 0 and is_cached(state, site, file) != 0:
            appliance = carrier(ground, state, site, soft, rate)
            if appliance >= 0:
                return k, appliance, True, outcome
        if k == 0:
            outcome = HEALTH
            bits = _candidates_with(ground, state, row, file, 0)
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
def set_copies(ground: Ground, state: State, bit_of: np.ndarray, appliance: np.ndarray, file: np.ndarray) -> None:
    """Copies are there: of (P,) appliances and files; ``bit_of`` (A,) is the bit of each appliance."""
    for i in range(len(file)):
        set_copy(ground, state, bit_of[appliance[i]], file[i])


@inlined
def set_copy(ground: Ground, state: State, bit: int, file: int) -> None:
    """The copy of an appliance, given by its bit, is there."""
    set_bit(state.copies, bit, file)
    set_bit(state.held, ground.site_of[bit], file)


@compiled
def set_bits(bits: np.ndarray, number: np.ndarray, file: np.ndarray) -> None:
    """Set (P,) bits of as many files."""
    for i in range(len(file)):
        set_bit(bits, number[i], file[i])


@compiled
def clear_copies(ground: Ground, state: State, bit_of: np.ndarray, appliance: np.ndarray, file: np.ndarray) -> None:
    """Copies are gone: as for :func:`set_copies`; a site that has no other copy of the file no longer has it."""
    for i in range(len(file)):
        bit = bit_of[appliance[i]]
        site = index(ground.site_of[bit])
        clear_bit(state.copies, bit, file[i])
        if not is_copy(ground, state, site, file[i]):
            clear_bit(state.held, site, file[i])

"""A player that chooses its bit rate by its buffer, replayed over recorded throughput.

The chooser is BOLA (utility: the logarithm of the bit rate) with one rule of practice: it switches up at most to the best encode that the throughput
of the segment just loaded would have carried. So at a constant throughput it settles on the encode just below and stays there. Everything counted is a
whole number: bits, milliseconds, segments.

References
----------
K. Spiteri, R. Urgaonkar, R. Sitaraman, "BOLA: near-optimal bitrate adaptation for online videos", INFOCOM 2016.
K. Spiteri, R. Sitaraman, D. Sparacio, "From theory to practice: improving bitrate adaptation in the DASH reference player", MMSys 2018.
"""

import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numba as nb
import numpy as np

from topology.errors import InputError, Problem

KINDS = ("3g", "4g", "fixed-sd", "fixed-hd")
"""Kinds of access, as in the throughput law of ``demand``."""
SABRE_FOLDERS = {"3Glogs": "3g", "4Glogs": "4g", "sd_fs": "fixed-sd", "hd_fs": "fixed-hd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """What a player is set to.

    Parameters
    ----------
    segment_ms
        Playing time of a segment, > 0.
    buffer_ms
        The most it loads ahead, at least two segments.
    gamma_p
        BOLA's weight of not stalling against utility, > 0: the higher, the earlier it is content with a low rate.
    """

    segment_ms: int = 3000
    buffer_ms: int = 30_000
    gamma_p: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Throughputs:
    """Recorded throughput, W traces one behind the other; each repeats for ever.

    Parameters
    ----------
    start
        (W + 1,) int64: trace w is ``[start[w], start[w + 1])`` of the arrays below.
    ms, kbps, latency_ms
        (n,) int64: a stretch's length (> 0), rate (>= 0; bits a millisecond) and delay before a request's first bit.
    """

    start: np.ndarray
    ms: np.ndarray
    kbps: np.ndarray
    latency_ms: np.ndarray

    def __len__(self) -> int:
        return len(self.start) - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Playback:
    """What became of N sessions.

    Parameters
    ----------
    rung
        (n,) int16: the encode of every segment loaded, session after session.
    begin_ms
        (n,) int64: when its loading began, from the session's start.
    first
        (N + 1,) int64: session i's segments are ``[first[i], first[i + 1])``.
    startup_ms, stall_ms, end_ms
        (N,) int64: until the first segment was there; standing still after that; until the last segment was played.
    """

    rung: np.ndarray
    begin_ms: np.ndarray
    first: np.ndarray
    startup_ms: np.ndarray
    stall_ms: np.ndarray
    end_ms: np.ndarray


def build_throughputs(traces: Iterable[Sequence[tuple[int, int, int]]], name: str = "throughput") -> Throughputs:
    """Traces from rows of (ms, kbit/s, latency in ms); rows of no length are left out.

    Raises
    ------
    InputError
        No trace, a trace that never carries a bit, a negative length, rate or latency.
    """
    rows, start = [], [0]
    for number, trace in enumerate(traces, 1):
        kept = [row for row in trace if row[0] != 0]
        if any(value < 0 for row in kept for value in row):
            raise InputError(
                Problem(table=name, row=number, message="a negative length, rate or latency", mend="give numbers >= 0")
            )
        if not any(rate for _, rate, _ in kept):
            raise InputError(
                Problem(table=name, row=number, message="the trace never carries a bit", mend="leave it out")
            )
        rows += kept
        start.append(len(rows))
    if not rows:
        raise InputError(Problem(table=name, message="no traces", mend="give at least one"))
    ms, kbps, latency = np.array(rows, np.int64).T
    return Throughputs(start=np.array(start), ms=ms.copy(), kbps=kbps.copy(), latency_ms=latency.copy())


def read_sabre_traces(path: Path) -> dict[str, Throughputs]:
    """The 3G, 4G and fixed-line traces that come with Sabre, by kind of access, from its archive (``.tar.gz``).

    Raises
    ------
    InputError
        A file that is not there or no archive, without traces, or with a trace of another form.
    """
    found: dict[str, list[list[tuple[int, int, int]]]] = {}
    try:
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name):
                kind = SABRE_FOLDERS.get(Path(member.name).parent.name)
                stream = archive.extractfile(member) if kind and member.name.endswith(".json") else None
                if kind and stream is not None:
                    rows = json.load(stream)
                    trace = [(r["duration_ms"], r["bandwidth_kbps"], r["latency_ms"]) for r in rows]
                    found.setdefault(kind, []).append([(round(a), round(b), round(c)) for a, b, c in trace])
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        mend = "give Sabre's archive of traces"
        raise InputError(Problem(table=path.name, message=f"cannot be read: {error}", mend=mend)) from error
    if not found:
        raise InputError(Problem(table=path.name, message="no traces", mend="give Sabre's archive of traces"))
    return {kind: build_throughputs(found[kind], f"{path.name} {kind}") for kind in KINDS if kind in found}


def play(
    throughputs: Throughputs,
    trace: np.ndarray,
    offset_ms: np.ndarray,
    segments: np.ndarray,
    ladder_kbps: np.ndarray,
    ladder_first: np.ndarray,
    player: Player | None = None,
) -> Playback:
    """Play sessions, each over a trace from a moment of it.

    Parameters
    ----------
    trace, offset_ms, segments
        (N,) int: which trace, from when, for how many segments (> 0).
    ladder_kbps, ladder_first
        (L,) int kbit/s, > 0, ascending within a ladder, and (N, 2) int: session i may choose from ``ladder_kbps[ladder_first[i, 0]:ladder_first[i, 1]]``.

    Raises
    ------
    InputError
        A player that cannot play, a session without segments or encodes, a rate of zero or less or out of order.
    """
    player = Player() if player is None else player
    ladder_kbps, ladder_first = np.asarray(ladder_kbps, np.int64), np.asarray(ladder_first, np.int64).reshape(-1, 2)
    trace, offset_ms, segments = (np.asarray(x, np.int64) for x in (trace, offset_ms, segments))
    _check(throughputs, trace, offset_ms, segments, ladder_kbps, ladder_first, player)
    first = np.concatenate([[0], np.cumsum(segments)])
    rung, begin_ms = np.empty(first[-1], np.int16), np.empty(first[-1], np.int64)
    startup_ms, stall_ms, end_ms = (np.empty(len(trace), np.int64) for _ in range(3))
    _play_all(
        throughputs.start, throughputs.ms, throughputs.kbps, throughputs.latency_ms, trace, offset_ms, first, ladder_kbps,
        ladder_first, player.segment_ms, player.buffer_ms, player.gamma_p, rung, begin_ms, startup_ms, stall_ms, end_ms,
    )  # fmt: skip
    return Playback(rung=rung, begin_ms=begin_ms, first=first, startup_ms=startup_ms, stall_ms=stall_ms, end_ms=end_ms)


def _check(
    throughputs: Throughputs, trace: np.ndarray, offset: np.ndarray, segments: np.ndarray, ladder: np.ndarray,
    part: np.ndarray, player: Player,
) -> None:  # fmt: skip
    falls = np.diff(ladder, prepend=0) < 0
    falls[np.unique(part[:, 0])] = False
    checks = (
        (player.segment_ms > 0 and player.buffer_ms >= 2 * player.segment_ms and player.gamma_p > 0, "a player that cannot play",
         "give a segment > 0, a buffer of at least two segments and gamma_p > 0"),
        (bool((segments > 0).all()), "a session without segments", "give each at least one"),
        (bool((offset >= 0).all() and (trace >= 0).all() and (trace < len(throughputs)).all()), "no such moment of a trace", "number the traces from 0"),
        (bool((part[:, 0] >= 0).all() and (part[:, 0] < part[:, 1]).all() and (part[:, 1] <= len(ladder)).all()), "a session without encodes",
         "give each at least one"),
        (bool((ladder > 0).all()) and not any(falls[a + 1 : b].any() for a, b in np.unique(part, axis=0).tolist()), "bit rates out of order",
         "give each ladder rates > 0, ascending"),
    )  # fmt: skip
    problems = [Problem(table="abr", message=message, mend=mend) for good, message, mend in checks if not good]
    if problems:
        raise InputError(problems)


@nb.njit(cache=True)
def _play_all(
    start: np.ndarray, ms: np.ndarray, kbps: np.ndarray, latency: np.ndarray, trace: np.ndarray, offset: np.ndarray, first: np.ndarray,
    ladder: np.ndarray, part: np.ndarray, segment_ms: int, buffer_ms: int, gamma_p: float, rung: np.ndarray, begin: np.ndarray,
    startup: np.ndarray, stall: np.ndarray, end: np.ndarray,
) -> None:  # fmt: skip
    """Session by session, segment by segment: choose, wait for room, load, play meanwhile."""
    for i in range(len(trace)):
        low, high = start[trace[i]], start[trace[i] + 1]
        encodes = ladder[part[i, 0] : part[i, 1]]
        at, into = _seek(ms, low, high, offset[i])
        now, buffered, stalled, last, rate = 0, 0, 0, 0, 0.0
        for k in range(first[i], first[i + 1]):
            room = buffered + segment_ms - buffer_ms
            if room > 0:
                at, into = _pass(ms, low, high, at, into, room)
                now += room
                buffered -= room
            chosen = _choose(encodes, buffered / segment_ms, buffer_ms / segment_ms, gamma_p)
            if chosen > last:
                chosen = max(last, min(chosen, _carried(encodes, rate)))
            rung[k], begin[k] = chosen, now
            wait = latency[at]
            at, into = _pass(ms, low, high, at, into, wait)
            bits = encodes[chosen] * segment_ms
            at, into, loading = _load(ms, kbps, low, high, at, into, bits)
            taken = wait + loading
            now += taken
            if k == first[i]:
                startup[i] = now
            elif taken > buffered:
                stalled += taken - buffered
            buffered = max(buffered - taken, 0) + segment_ms
            last, rate = chosen, bits / taken
        stall[i], end[i] = stalled, now + buffered


@nb.njit(cache=True)
def _choose(encodes: np.ndarray, buffered: float, most: float, gamma_p: float) -> int:
    """BOLA: the encode of the greatest (V (utility + gamma p) - buffer) / size, all in segments; of equals the lowest."""
    weight = (most - 1) / (np.log(encodes[-1] / encodes[0]) + gamma_p)
    best, score = 0, -np.inf
    for m in range(len(encodes)):
        value = (weight * (np.log(encodes[m] / encodes[0]) + gamma_p) - buffered) / encodes[m]
        if value > score:
            best, score = m, value
    return best


@nb.njit(cache=True)
def _carried(encodes: np.ndarray, rate: float) -> int:
    """The best encode of at most this rate, or the lowest."""
    best = 0
    for m in range(len(encodes)):
        if encodes[m] <= rate:
            best = m
    return best


@nb.njit(cache=True)
def _seek(ms: np.ndarray, low: int, high: int, offset: int) -> tuple[int, int]:
    """The stretch, and the place in it, of a moment of a trace."""
    total = 0
    for j in range(low, high):
        total += ms[j]
    at, into = _pass(ms, low, high, low, 0, offset % total)
    return int(at), int(into)


@nb.njit(cache=True)
def _pass(ms: np.ndarray, low: int, high: int, at: int, into: int, time: int) -> tuple[int, int]:
    """Let time go by."""
    into += time
    while into >= ms[at]:
        into -= ms[at]
        at = at + 1 if at + 1 < high else low
    return at, into


@nb.njit(cache=True)
def _load(ms: np.ndarray, kbps: np.ndarray, low: int, high: int, at: int, into: int, bits: int) -> tuple[int, int, int]:
    """Load bits; a millisecond begun is a millisecond taken."""
    taken = 0
    while bits > (ms[at] - into) * kbps[at]:
        bits -= (ms[at] - into) * kbps[at]
        taken += ms[at] - into
        into = 0
        at = at + 1 if at + 1 < high else low
    last = -(-bits // kbps[at]) if bits > 0 else 0
    at, into = _pass(ms, low, high, at, into, last)
    return at, into, taken + last

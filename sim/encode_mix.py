"""Which encodes sessions get: the mix of each kind of access, measured by the player of :mod:`sim.abr`; and sessions that switch on the way.

``encode_mix.json`` keeps what ``python -m benchmarks.abr`` measured over the traces that come with Sabre and the default ladder; the traces themselves are not
part of the project.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as resources

import numba as nb
import numpy as np

from demand.bitrate import build_choice
from demand.catalogue import Catalogue
from sim.abr import Playback, Player, Throughputs, play
from sim.sessions import DAY_MS, Sessions, build_sessions
from topology.errors import InputError, Problem

AT_ONCE = 100_000
"""Sessions that are played at a time, as each takes some 9 kB while it plays."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodeMix:
    """What sessions get by kind of access, K kinds, over a ladder of M encodes.

    Parameters
    ----------
    kinds
        K names.
    bitrate_kbps
        (M,) int64, ascending.
    share
        (K, M) float: of the playing time at each encode; rows sum to 1.
    mean_kbps
        (K,) float: mean bit rate over the playing time.
    rebuffer_ratio
        (K,) float: time standing still after the start, over playing time.
    switches_per_minute, startup_ms
        (K,) float: changes of encode a minute played; mean time to the first picture.
    sessions
        (K,) int: how many were played.
    """

    kinds: tuple[str, ...]
    bitrate_kbps: np.ndarray
    share: np.ndarray
    mean_kbps: np.ndarray
    rebuffer_ratio: np.ndarray
    switches_per_minute: np.ndarray
    startup_ms: np.ndarray
    sessions: np.ndarray


def measure_mix(
    throughputs: Mapping[str, Throughputs],
    bitrate_kbps: np.ndarray,
    *,
    minutes: float,
    each: int,
    rng: np.random.Generator,
    player: Player | None = None,
) -> EncodeMix:
    """Play sessions over every trace of every kind, from moments drawn evenly.

    Parameters
    ----------
    bitrate_kbps
        (M,) the ladder, ascending.
    minutes
        Playing time of a session, > 0.
    each
        Sessions of each trace, > 0.
    """
    player = Player() if player is None else player
    ladder = np.rint(bitrate_kbps).astype(np.int64)
    count = max(round(minutes * 60_000 / player.segment_ms), 1)
    rows = []
    for traces in throughputs.values():
        number = np.repeat(np.arange(len(traces)), each)
        length = np.add.reduceat(traces.ms, traces.start[:-1])
        offset = (rng.random(len(number)) * length[number]).astype(np.int64)
        part = np.tile([0, len(ladder)], (len(number), 1))
        played = play(traces, number, offset, np.full(len(number), count), ladder, part, player)
        share = np.bincount(played.rung, minlength=len(ladder)) / len(played.rung)
        playing_ms = len(number) * count * player.segment_ms
        rows.append((share, share @ ladder, played.stall_ms.sum() / playing_ms, _switches(played).sum() / playing_ms * 60_000,
                     played.startup_ms.mean(), len(number)))  # fmt: skip
    share, mean, stall, switches, startup, sessions = (np.array(column) for column in zip(*rows, strict=True))
    return EncodeMix(
        kinds=tuple(throughputs), bitrate_kbps=ladder, share=share, mean_kbps=mean, rebuffer_ratio=stall,
        switches_per_minute=switches, startup_ms=startup, sessions=sessions,
    )  # fmt: skip


def _switches(played: Playback) -> np.ndarray:
    """(N,) changes of encode in each session."""
    changed = np.zeros(len(played.rung), np.int64)
    changed[1:] = np.diff(played.rung) != 0
    changed[played.first[:-1]] = 0
    return np.asarray(np.add.reduceat(changed, played.first[:-1]))


def mix_document(mix: EncodeMix, source: str) -> dict[str, object]:
    """The mix as :func:`load_mix` reads it, rounded to what its sessions can tell."""

    def rounded(values: np.ndarray, digits: int) -> list[object]:
        return list(np.round(values, digits).tolist())

    return {
        "source": source,
        "kinds": list(mix.kinds),
        "bitrate_kbps": mix.bitrate_kbps.tolist(),
        "share": rounded(mix.share, 5),
        "mean_kbps": rounded(mix.mean_kbps, 1),
        "rebuffer_ratio": rounded(mix.rebuffer_ratio, 6),
        "switches_per_minute": rounded(mix.switches_per_minute, 4),
        "startup_ms": rounded(mix.startup_ms, 1),
        "sessions": mix.sessions.tolist(),
    }


def load_mix() -> EncodeMix:
    """The mix that comes with the project."""
    document = json.loads(resources("sim").joinpath("encode_mix.json").read_text(encoding="utf-8"))
    numbers = {k: np.array(document[k]) for k in document if k not in ("source", "kinds")}
    numbers["share"] = numbers["share"] / numbers["share"].sum(axis=1, keepdims=True)
    return EncodeMix(kinds=tuple(document["kinds"]), **numbers)


def region_mix(mix: EncodeMix, access: np.ndarray) -> np.ndarray:
    """The mix of every region from its kinds of access.

    Parameters
    ----------
    access
        (R, K) float, >= 0: share of each kind among a region's sessions; rows need not sum to 1, but to more than 0.

    Returns
    -------
    (R, M) float; rows sum to 1.

    Raises
    ------
    InputError
        Another number of kinds, a negative share, a region without any.

    Examples
    --------
    >>> mix = load_mix()
    >>> region_mix(mix, np.eye(len(mix.kinds))).shape == mix.share.shape
    True
    """
    access = np.asarray(access, float)
    if access.shape[1:] != (len(mix.kinds),) or (access < 0).any() or not (access.sum(axis=1) > 0).all():
        mend = f"give each region a share >= 0 of {', '.join(mix.kinds)}, some above 0"
        raise InputError(Problem(table="access", message="no shares of the kinds of access", mend=mend))
    return np.asarray(access / access.sum(axis=1, keepdims=True) @ mix.share)


def expected_rebuffering(kinds: Sequence[str]) -> float:
    """Time standing still over playing time, of sessions that have these kinds of access in equal parts, as the project's mix has it.

    Raises
    ------
    InputError
        A kind that the mix does not know.
    """
    mix = load_mix()
    check_kinds(kinds, mix.kinds)
    return float(np.mean([mix.rebuffer_ratio[mix.kinds.index(kind)] for kind in kinds]))


def check_kinds(kinds: Sequence[str], known: Sequence[str]) -> None:
    """Refuse kinds of access that nobody knows, and none at all.

    Raises
    ------
    InputError
        Naming the first of them.
    """
    wrong = next((kind for kind in kinds if kind not in known), None)
    if wrong is not None or not kinds:
        mend = "use " + ", ".join(known)
        raise InputError(Problem(table="access", value=wrong or "", message="no such kind of access", mend=mend))


def switch_by_access(
    sessions: Sessions,
    catalogue: Catalogue,
    throughputs: Mapping[str, Throughputs],
    kinds: Sequence[str],
    rng: np.random.Generator,
) -> tuple[Sessions, np.ndarray]:
    """Let sessions switch encodes, each by a kind of access drawn evenly from ``kinds``.

    Returns
    -------
    The pieces, as :func:`switch_encodes` makes them, N' of them; and (N',) int64: how long each session stood still, in ms, at its first piece.

    Raises
    ------
    InputError
        A kind of access without traces.
    """
    check_kinds(kinds, list(throughputs))
    parts, stalls = [], []
    for at in range(0, len(sessions), AT_ONCE):
        block = sessions[at : at + AT_ONCE]
        kind = rng.integers(0, len(kinds), len(block))
        for k, name in enumerate(kinds):
            if (kind == k).any():
                part, stall_ms = _switched(block[kind == k], catalogue, throughputs[name], rng, Player())
                parts.append(part)
                stalls.append(stall_ms)
    if not parts:
        return sessions, np.zeros(0, np.int64)
    columns = [np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS]
    return build_sessions(*columns), np.concatenate(stalls)[_by_start(columns[0])]


_COLUMNS = ("start_ms", "region", "file", "duration_ms", "bytes")


def rebuffering(sessions: Sessions, stall_ms: np.ndarray) -> float:
    """Time standing still, as :func:`switch_by_access` gives it, over playing time; 0 of nothing."""
    return int(stall_ms.sum()) / max(int(sessions.duration_ms.sum()), 1)


def _by_start(start_ms: np.ndarray) -> np.ndarray:
    """The order that :func:`sim.sessions.build_sessions` puts sessions into."""
    return np.argsort(start_ms, kind="stable")


def switch_encodes(
    sessions: Sessions,
    catalogue: Catalogue,
    throughputs: Throughputs,
    rng: np.random.Generator,
    player: Player | None = None,
) -> Sessions:
    """Let every session play its title over a trace drawn evenly, from a moment drawn evenly, and split it where it switches.

    A session becomes pieces one behind the other, each of one encode; together they last as long as the session did, and each carries its time at its
    encode's bit rate, charged to its file. Time is playing time: start-up and stalls do not delay the pieces. What would begin after midnight stays with the
    piece before it.

    Parameters
    ----------
    sessions
        Whatever file of a title they name, any of the title's files may be played.
    throughputs
        Of the sessions' kind of access; where sessions differ, :func:`switch_by_access`.
    """
    return _switched(sessions, catalogue, throughputs, rng, Player() if player is None else player)[0]


def _switched(
    sessions: Sessions, catalogue: Catalogue, throughputs: Throughputs, rng: np.random.Generator, player: Player
) -> tuple[Sessions, np.ndarray]:
    """The pieces, and how long each session stood still, in ms, at its first piece."""
    choice = build_choice(catalogue.title_of, catalogue.bitrate_kbps, len(catalogue.title_ids))
    ladder = np.maximum(np.rint(catalogue.bitrate_kbps[choice.file]), 1).astype(np.int64)
    title = catalogue.title_of[sessions.file]
    part = np.column_stack([choice.first[title], choice.first[title + 1]])
    segments = -(-sessions.duration_ms // player.segment_ms)
    trace = rng.integers(0, len(throughputs), len(sessions))
    length = np.add.reduceat(throughputs.ms, throughputs.start[:-1])
    offset = (rng.random(len(sessions)) * length[trace]).astype(np.int64)
    played = play(throughputs, trace, offset, segments, ladder, part, player)
    owner, begin, end, rung = _pieces(
        played.first, played.rung, sessions.start_ms, sessions.duration_ms, player.segment_ms, DAY_MS
    )
    place = part[owner, 0] + rung
    size = np.maximum(np.rint(ladder[place] * (end - begin) / 8), 1).astype(np.int64)
    start_ms = sessions.start_ms[owner] + begin
    pieces = build_sessions(start_ms, sessions.region[owner], choice.file[place], end - begin, size)
    return pieces, np.where(begin == 0, played.stall_ms[owner], 0)[_by_start(start_ms)]


@nb.njit(cache=True)
def _pieces(
    first: np.ndarray, rung: np.ndarray, start_ms: np.ndarray, duration_ms: np.ndarray, segment_ms: int, day_ms: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Runs of one encode: whose, from and to when of its playing time, and which encode."""
    owner, begin = np.empty(len(rung), np.int64), np.empty(len(rung), np.int64)
    end, encode = np.empty(len(rung), np.int64), np.empty(len(rung), np.int64)
    n = 0
    for i in range(len(first) - 1):
        for k in range(first[i], first[i + 1]):
            at = (k - first[i]) * segment_ms
            if k == first[i] or (rung[k] != encode[n - 1] and start_ms[i] + at < day_ms):
                owner[n], begin[n], encode[n] = i, at, rung[k]
                n += 1
            end[n - 1] = min(at + segment_ms, duration_ms[i])
    return owner[:n].copy(), begin[:n].copy(), end[:n].copy(), encode[:n].copy()

"""Encoding ladders: the bit rates a title is encoded at, the size of each encode, and which of them a session gets."""

from dataclasses import dataclass

import numpy as np

BITS_PER_GB = 8e9

FIXED_LADDER_KBPS = (235, 375, 560, 750, 1050, 1750, 2350, 3000, 4300, 5800)
"""Netflix's fixed H.264 ladder of 2010. Source: "Per-Title Encode Optimization", Netflix Technology Blog, 2015."""

ABR_SAFETY = 0.8
"""A player settles on the best encode of at most this share of its throughput, so that its buffer fills. A convention, not fitted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ladder:
    """The encodes of a title.

    Parameters
    ----------
    profiles
        P names.
    bitrate_kbps
        (P,) float, kbit/s, > 0, ascending.
    """

    profiles: tuple[str, ...]
    bitrate_kbps: np.ndarray

    def __len__(self) -> int:
        return len(self.profiles)

    def sizes_gb(self, runtime_minutes: np.ndarray) -> np.ndarray:
        """(T, P) float, GB: runtime times bit rate, for runtimes of (T,) minutes."""
        return np.asarray(runtime_minutes[:, None] * 60 * self.bitrate_kbps * 1000 / BITS_PER_GB)


def default_ladder() -> Ladder:
    """The fixed ladder of ten H.264 encodes, 235 to 5800 kbit/s."""
    rates = np.array(FIXED_LADDER_KBPS, float)
    rates.setflags(write=False)
    return Ladder(profiles=tuple(f"h264-{rate}" for rate in FIXED_LADDER_KBPS), bitrate_kbps=rates)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncodeChoice:
    """The encodes of every title in ascending bit rate, as one sorted array to search in.

    Parameters
    ----------
    file
        (F,) the files by title, then bit rate.
    key
        (F,) float ascending: the title plus the place of the bit rate in [0, 1).
    first
        (T + 1,) int: the files of title t are ``file[first[t]:first[t + 1]]``.
    low, span
        Logarithm of the least bit rate, and of the greatest over the least.
    """

    file: np.ndarray
    key: np.ndarray
    first: np.ndarray
    low: float
    span: float

    def pick(self, title: np.ndarray, throughput_kbps: np.ndarray) -> np.ndarray:
        """(N,) the best file of each title whose bit rate the throughput carries with :data:`ABR_SAFETY`; the least if none does."""
        place = np.clip((np.log(throughput_kbps * ABR_SAFETY) - self.low) / self.span, -1.0, (1 + _TOP) / 2)
        at = np.searchsorted(self.key, title + place, side="right") - 1
        return np.asarray(self.file[np.maximum(at, self.first[title])])


_TOP = 0.999
"""Place of the greatest bit rate: below 1, so that no title reaches into the next."""


def build_choice(title_of: np.ndarray, bitrate_kbps: np.ndarray, titles: int) -> EncodeChoice:
    """Sort the files (F,) of T titles for :meth:`EncodeChoice.pick`; every title has one at least."""
    logs = np.log(bitrate_kbps)
    low = float(logs.min())
    span = max(float(logs.max()) - low, 1e-9) / _TOP
    file = np.lexsort((logs, title_of))
    first = np.searchsorted(title_of[file], np.arange(titles + 1))
    return EncodeChoice(file=file, key=title_of[file] + (logs[file] - low) / span, first=first, low=low, span=span)

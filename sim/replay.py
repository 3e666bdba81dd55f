"""One cache, one request trace: how many requests and bytes miss."""

import contextlib
import math
from dataclasses import dataclass
from numbers import Integral, Real

import numba as nb
import numpy as np
import pandas as pd

from sim.belady import belady_missed, next_requests
from sim.caches import KERNEL_ADMISSIONS, KERNEL_POLICIES, access, admit, admits, empty_caches, empty_memory, resize
from sim.policies.s3fifo import SMALL_PERCENT
from topology.errors import InputError, Problem

BELADY = "belady"
REPLAYED = (*KERNEL_POLICIES, BELADY)
MOST_BYTES = np.iinfo(np.int64).max // SMALL_PERCENT
"""Of all requests of a trace: some 920 PB, which S3-FIFO works its shares out of."""
MOST_FILES = 10**9
"""Of a trace: policies number them and as many frequencies in 31 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misses:
    """Requests and bytes of a trace, and how many of them a cache did not hold."""

    requests: int
    bytes: int
    missed_requests: int
    missed_bytes: int

    @property
    def request_miss_ratio(self) -> float:
        """Missed requests over all; 0 for an empty trace."""
        return self.missed_requests / self.requests if self.requests else 0.0

    @property
    def byte_miss_ratio(self) -> float:
        """Missed bytes over all; 0 for a trace without bytes."""
        return self.missed_bytes / self.bytes if self.bytes else 0.0


def replay(
    file: np.ndarray,
    size_bytes: np.ndarray,
    policy: str,
    capacity_bytes: int,
    *,
    admission: str = "all",
    largest_bytes: int = 0,
) -> Misses:
    """Show a trace to one cache that starts empty.

    Parameters
    ----------
    file
        (N,) whole numbers, >= 0, best dense as in :class:`sim.traces.Requests`: larger than the trace is long they are numbered anew first, which takes time.
    size_bytes
        (N,) whole numbers, >= 0, :data:`MOST_BYTES` in all: of each request. A file held keeps the size it came with, whatever later requests say.
    policy
        One of :data:`REPLAYED`: a policy, or ``belady``, which evicts the file whose next request is farthest away. That is the fewest misses any policy
        that admits all can have if all files have one size, and no bound otherwise.
    admission, largest_bytes
        A rule of admission and the threshold of the rule by size; Belady's admits all.

    Raises
    ------
    InputError
        An unknown policy or admission, an admission with ``belady``, negative bytes, arrays of different lengths, more than :data:`MOST_FILES` files; the first
        row of an array that is no whole number >= 0, or with which the bytes are too many.

    Examples
    --------
    >>> trace, size = np.array([0, 1, 0, 2, 1, 0]), np.full(6, 10)
    >>> [replay(trace, size, policy, 20).missed_requests for policy in ("lru", "belady")]
    [5, 4]
    """
    file, size_bytes = _plain(file), _plain(size_bytes)
    _check(file, size_bytes, policy, capacity_bytes, admission, largest_bytes)
    files, file = _dense(file)
    size_bytes = np.ascontiguousarray(size_bytes, np.int64)
    total = int(size_bytes.sum())
    capacity, largest = (math.floor(min(most, total)) for most in (capacity_bytes, max(largest_bytes, -1)))
    if policy == BELADY:
        absent = belady_missed(file, size_bytes, next_requests(file, files), files, capacity, False)
        missed, missed_bytes = absent.sum(), size_bytes[absent].sum()
    else:
        code, rule = KERNEL_POLICIES[policy], KERNEL_ADMISSIONS[admission]
        meta, node, ring = empty_caches(code, np.array([capacity]), files)
        memory = empty_memory(rule, 1, files)
        missed, missed_bytes = _misses(
            code, rule, largest, meta[0], node[0], ring[0], memory[0], file, size_bytes, files
        )
    return Misses(requests=len(file), bytes=total, missed_requests=int(missed), missed_bytes=int(missed_bytes))


@nb.njit(cache=True)
def _misses(
    policy: int, rule: int, largest: int, meta: np.ndarray, node: np.ndarray, ring: np.ndarray, asked: np.ndarray, file: np.ndarray,
    size: np.ndarray, files: int,
) -> tuple[int, int]:  # fmt: skip
    missed, missed_bytes = 0, 0
    sizes = np.zeros(files, np.int64)
    no_flags = sizes.view(np.uint64)
    for i in range(len(file)):
        f = file[i]
        if access(policy, meta, node, ring, f):
            continue
        missed += 1
        missed_bytes += size[i]
        if sizes[f] != size[i]:
            resize(meta, node, sizes, f, size[i])
        if admits(rule, largest, asked, sizes, f):
            admit(policy, meta, node, ring, sizes, f, no_flags, 0)
    return missed, missed_bytes


def _plain(values: np.ndarray) -> np.ndarray:
    """Numbers that came as Python's as an array of numbers; anything else as it is."""
    values = np.asarray(values)
    if values.dtype != object or not all(isinstance(value, Real) for value in values.flat):
        return values
    if all(isinstance(value, Integral) for value in values.flat):
        for dtype in (np.int64, np.uint64):
            with contextlib.suppress(OverflowError):
                return values.astype(dtype)
    return np.asarray(np.clip(values, -(2.0**64), 2.0**64), float)


def _dense(file: np.ndarray) -> tuple[int, np.ndarray]:
    """How many files there are room for, and (N,) int32: numbers below that. Those not below the trace's length are numbered anew, by first request."""
    files = int(file.max()) + 1 if len(file) else 0
    if files > len(file):
        file, names = pd.factorize(file.astype(np.uint64))
        files = len(names)
    if files > MOST_FILES:
        message, mend = f"more than {MOST_FILES:,} files", "replay a sample of the files"
        raise InputError(Problem(table="trace", column="file", value=f"{files:,}", message=message, mend=mend))
    return files, np.ascontiguousarray(file, np.int32)


def _check(file: np.ndarray, size: np.ndarray, policy: str, capacity: float, admission: str, largest: float) -> None:
    checks = (
        (policy in REPLAYED, "policy", policy, "unknown policy", "use one of " + ", ".join(REPLAYED)),
        (admission in KERNEL_ADMISSIONS, "admission", admission, "unknown admission", "use one of " + ", ".join(KERNEL_ADMISSIONS)),
        (policy != BELADY or admission == "all", "admission", admission, "belady admits every file", "leave the admission out"),
        (not capacity < 0, "capacity", str(capacity), "negative bytes", "give bytes >= 0"),
        (not math.isnan(capacity), "capacity", str(capacity), "no number", "give bytes >= 0"),
        (not math.isnan(largest), "largest", str(largest), "no number", "give bytes"),
        (file.ndim == size.ndim == 1, "size", f"{file.shape}, {size.shape}", "files and sizes are not one-dimensional", "give one of each a request"),
        (file.shape[:1] == size.shape[:1], "size", str(size.size), f"sizes for {file.size} requests", "give each request a size"),
    )  # fmt: skip
    problems = [
        Problem(table="trace", column=column, value=value, message=message, mend=mend)
        for good, column, value, message, mend in checks
        if not good
    ]
    if not problems:
        rows = _row_problem("size", size, "bytes"), _row_problem("file", file, "file number")
        problems = [problem for problem in rows if problem] or [problem for problem in (_too_many(size),) if problem]
    if problems:
        raise InputError(problems)


def _row_problem(column: str, values: np.ndarray, what: str) -> Problem | None:
    """The first entry that is no whole number >= 0, or a float too large to be exact."""
    number = values.dtype.kind in "biuf"
    if not number:
        wrong = np.array([values.dtype != object or not isinstance(value, Real) for value in values], bool)
    elif values.dtype.kind != "f":
        wrong = values < 0 if len(values) and values.min() < 0 else np.zeros(0, bool)
    else:
        exact = 2.0 ** min(np.finfo(values.dtype).nmant + 1, 53)
        wrong = ~((values >= 0) & (values == np.floor(values)) & (values <= exact))
    if not wrong.any():
        return None
    i = int(np.argmax(wrong))
    value, mend = values[i], f"give whole numbers: {what} >= 0"
    if not number or math.isnan(value):
        message = "no number"
    elif value < 0:
        message = f"negative {what}"
    elif value != math.inf and value == math.floor(value):
        message, mend = "larger than floats are exact", "give integers"
    else:
        message = "no whole number"
    return Problem(table="trace", row=i + 1, column=column, value=str(value)[:80], message=message, mend=mend)


def _too_many(size: np.ndarray) -> Problem | None:
    """The request with which the bytes are more than can be counted."""
    if not len(size) or int(size.max()) * len(size) <= MOST_BYTES:
        return None
    so_far = np.cumsum(np.minimum(size.astype(np.uint64), MOST_BYTES + 1))  # right as far as the first that is too much
    if not (so_far > MOST_BYTES).any():
        return None
    i = int(np.argmax(so_far > MOST_BYTES))
    message, mend = f"more than {MOST_BYTES / 1e15:,.0f} PB up to here", "give bytes, or a part of the trace"
    return Problem(table="trace", row=i + 1, column="size", value=str(size[i]), message=message, mend=mend)

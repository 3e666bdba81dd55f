"""One cache, one request trace: how many requests and bytes miss."""

from dataclasses import dataclass

import numba as nb
import numpy as np

from sim.belady import belady_missed, next_requests
from sim.caches import KERNEL_ADMISSIONS, KERNEL_POLICIES, access, admit, admits, empty_caches, empty_memory, resize
from topology.errors import InputError, Problem

BELADY = "belady"
REPLAYED = (*KERNEL_POLICIES, BELADY)


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
        (N,) int, >= 0: dense numbers, as in :class:`sim.traces.Requests`.
    size_bytes
        (N,) int, >= 0: of each request. A file held keeps the size it came with, whatever later requests say.
    policy
        One of :data:`REPLAYED`: a policy, or ``belady``, which evicts the file whose next request is farthest away. That is the fewest misses any policy
        that admits all can have if all files have one size, and no bound otherwise.
    admission, largest_bytes
        A rule of admission and the threshold of the rule by size; Belady's admits all.

    Raises
    ------
    InputError
        An unknown policy or admission, an admission with ``belady``, negative bytes, arrays of different lengths.

    Examples
    --------
    >>> trace, size = np.array([0, 1, 0, 2, 1, 0]), np.full(6, 10)
    >>> [replay(trace, size, policy, 20).missed_requests for policy in ("lru", "belady")]
    [5, 4]
    """
    _check(file, size_bytes, policy, capacity_bytes, admission)
    file, size_bytes = np.ascontiguousarray(file, np.int32), np.ascontiguousarray(size_bytes, np.int64)
    files = int(file.max()) + 1 if len(file) else 0
    if policy == BELADY:
        absent = belady_missed(file, size_bytes, next_requests(file, files), files, capacity_bytes, False)
        missed, missed_bytes = absent.sum(), size_bytes[absent].sum()
    else:
        code, rule = KERNEL_POLICIES[policy], KERNEL_ADMISSIONS[admission]
        meta, node, ring = empty_caches(code, np.array([capacity_bytes]), files)
        memory = empty_memory(rule, 1, files)
        missed, missed_bytes = _misses(
            code, rule, largest_bytes, meta[0], node[0], ring[0], memory[0], file, size_bytes, files
        )
    total = int(size_bytes.sum())
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


def _check(file: np.ndarray, size: np.ndarray, policy: str, capacity: int, admission: str) -> None:
    checks = (
        (policy in REPLAYED, "policy", policy, "unknown policy", "use one of " + ", ".join(REPLAYED)),
        (admission in KERNEL_ADMISSIONS, "admission", admission, "unknown admission", "use one of " + ", ".join(KERNEL_ADMISSIONS)),
        (policy != BELADY or admission == "all", "admission", admission, "belady admits every file", "leave the admission out"),
        (capacity >= 0, "capacity", str(capacity), "negative bytes", "give bytes >= 0"),
        (len(file) == len(size), "size", str(len(size)), f"sizes for {len(file)} requests", "give each request a size"),
        (not (np.asarray(size) < 0).any(), "size", "", "negative bytes", "give bytes >= 0"),
        (not (np.asarray(file) < 0).any(), "file", "", "negative file number", "number the files from 0"),
    )  # fmt: skip
    problems = [
        Problem(table="trace", column=column, value=value, message=message, mend=mend)
        for good, column, value, message, mend in checks
        if not good
    ]
    if problems:
        raise InputError(problems)

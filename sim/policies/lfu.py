"""Least frequently used, counted while a file is held; among equals the one not asked for the longest goes first.

Almost constant time a request: files of one frequency stand in a queue of their own, and the lowest frequency is remembered.

References
----------
K. Shah, A. Mitra, D. Matani, "An O(1) algorithm for implementing the LFU cache eviction scheme", 2010.
"""

from collections import OrderedDict


class LFU:
    """One queue of files for every number of requests; an evicted file's count is forgotten."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self._sizes: dict[int, int] = {}
        self._count: dict[int, int] = {}
        self._queues: dict[int, OrderedDict[int, None]] = {}
        self._lowest = 0

    def __contains__(self, file: int) -> bool:
        return file in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def access(self, file: int) -> bool:
        """True on a hit, which is counted."""
        if file not in self._sizes:
            return False
        count = self._count[file]
        self._leave(file, count)
        if count == self._lowest and count not in self._queues:
            self._lowest = count + 1
        self._join(file, count + 1)
        return True

    def admit(self, file: int, size_bytes: int) -> list[int]:
        """Store a file with a count of one (the request that missed); returns the evicted."""
        evicted: list[int] = []
        if size_bytes > self.capacity_bytes or file in self._sizes:
            return evicted
        while self.used_bytes + size_bytes > self.capacity_bytes:
            if self._lowest not in self._queues:
                self._lowest = min(self._queues)
            victim = next(iter(self._queues[self._lowest]))
            self._leave(victim, self._lowest)
            self.used_bytes -= self._sizes.pop(victim)
            evicted.append(victim)
        self._sizes[file] = size_bytes
        self.used_bytes += size_bytes
        self._join(file, 1)
        self._lowest = 1
        return evicted

    def _join(self, file: int, count: int) -> None:
        self._count[file] = count
        self._queues.setdefault(count, OrderedDict())[file] = None

    def _leave(self, file: int, count: int) -> None:
        queue = self._queues[count]
        del queue[file], self._count[file]
        if not queue:
            del self._queues[count]

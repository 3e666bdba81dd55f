"""S3-FIFO: a small queue on probation, a main queue, and a ghost queue of names, all first in, first out.

A new file enters the small queue, or the main queue if the ghost remembers it. Leaving the small queue, a file that was asked for at least twice
since it entered moves to the main queue; any other is evicted and its name goes to the ghost. Leaving the main queue, a file that was asked for
is put back with one request fewer to its name. Requests are counted up to three.

The paper counts objects; here every queue is measured in bytes: the small queue's share is 10 % of the cache, the main queue's the other 90 %, and the
ghost remembers names of as many bytes as the main queue's share. Two rules are those of the authors' own later code rather than of the paper: the main
queue gives up a file only when it holds more than its share (or the small queue is empty), and until the cache is full for the first time, files go
straight to the main queue once the small one has its share.

References
----------
J. Yang, Y. Zhang, Z. Qiu, Y. Yue, R. Vinayak, "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1.
"""

from collections import OrderedDict, deque

SMALL_PERCENT = 10
MOST_COUNTED = 3
PROMOTED_AT = 2


class S3FIFO:
    """The three queues; ``_count`` holds the capped number of requests of every file held."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self._small_limit = capacity_bytes * SMALL_PERCENT // 100
        self._main_limit = capacity_bytes - self._small_limit
        self._small_bytes = 0
        self._main_bytes = 0
        self._ghost_bytes = 0
        self._was_full = False
        self._sizes: dict[int, int] = {}
        self._count: dict[int, int] = {}
        self._small: deque[int] = deque()
        self._main: deque[int] = deque()
        self._ghost: OrderedDict[int, int] = OrderedDict()

    def __contains__(self, file: int) -> bool:
        return file in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def access(self, file: int) -> bool:
        """True on a hit, which is counted up to three."""
        count = self._count.get(file)
        if count is None:
            return False
        self._count[file] = min(count + 1, MOST_COUNTED)
        return True

    def admit(self, file: int, size_bytes: int) -> list[int]:
        """Store a file in the small queue, or in the main one if the ghost remembers it; returns the evicted."""
        evicted: list[int] = []
        if size_bytes > self.capacity_bytes or file in self._sizes:
            return evicted
        remembered = self._ghost.pop(file, None)
        if remembered is not None:
            self._ghost_bytes -= remembered
        while self.used_bytes + size_bytes > self.capacity_bytes:
            self._was_full = True
            if self._main_bytes > self._main_limit or not self._small:
                self._evict_main(evicted)
            else:
                self._evict_small(evicted)
        self._sizes[file] = size_bytes
        self._count[file] = 0
        self.used_bytes += size_bytes
        if remembered is None and (self._was_full or self._small_bytes < self._small_limit):
            self._small.append(file)
            self._small_bytes += size_bytes
        else:
            self._main.append(file)
            self._main_bytes += size_bytes
        return evicted

    def _evict_small(self, evicted: list[int]) -> None:
        """Take files off the small queue until one was evicted from the cache or the queue is empty."""
        before = len(evicted)
        while self._small and len(evicted) == before:
            file = self._small.popleft()
            size = self._sizes[file]
            self._small_bytes -= size
            if self._count[file] >= PROMOTED_AT:
                self._count[file] = 0
                self._main.append(file)
                self._main_bytes += size
            else:
                self._drop(file, evicted)
                self._remember(file, size)

    def _evict_main(self, evicted: list[int]) -> None:
        """Evict the first file of the main queue that has no request left to its name."""
        while True:
            file = self._main.popleft()
            if self._count[file] == 0:
                break
            self._count[file] -= 1
            self._main.append(file)
        self._main_bytes -= self._sizes[file]
        self._drop(file, evicted)

    def _drop(self, file: int, evicted: list[int]) -> None:
        self.used_bytes -= self._sizes.pop(file)
        del self._count[file]
        evicted.append(file)

    def _remember(self, file: int, size: int) -> None:
        self._ghost[file] = size
        self._ghost_bytes += size
        while self._ghost_bytes > self._main_limit:
            _, forgotten = self._ghost.popitem(last=False)
            self._ghost_bytes -= forgotten

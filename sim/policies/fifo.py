"""First in, first out: requests change nothing, the file stored the longest goes first."""

from collections import deque


class FIFO:
    """Files in the order of their admission."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self._sizes: dict[int, int] = {}
        self._queue: deque[int] = deque()

    def __contains__(self, file: int) -> bool:
        return file in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def access(self, file: int) -> bool:
        """True on a hit."""
        return file in self._sizes

    def admit(self, file: int, size_bytes: int) -> list[int]:
        """Store a file behind all others; returns the evicted, oldest first."""
        evicted: list[int] = []
        if size_bytes > self.capacity_bytes or file in self._sizes:
            return evicted
        while self.used_bytes + size_bytes > self.capacity_bytes:
            victim = self._queue.popleft()
            self.used_bytes -= self._sizes.pop(victim)
            evicted.append(victim)
        self._sizes[file] = size_bytes
        self._queue.append(file)
        self.used_bytes += size_bytes
        return evicted

"""Least recently used: the file that was not asked for the longest goes first."""

from collections import OrderedDict


class LRU:
    """Files in the order of their last request, oldest first."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self._sizes: OrderedDict[int, int] = OrderedDict()

    def __contains__(self, file: int) -> bool:
        return file in self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def access(self, file: int) -> bool:
        """True on a hit; the file becomes the most recent."""
        if file not in self._sizes:
            return False
        self._sizes.move_to_end(file)
        return True

    def admit(self, file: int, size_bytes: int) -> list[int]:
        """Store a file as the most recent; returns the evicted, oldest first."""
        evicted: list[int] = []
        if size_bytes > self.capacity_bytes or file in self._sizes:
            return evicted
        while self.used_bytes + size_bytes > self.capacity_bytes:
            victim, freed = self._sizes.popitem(last=False)
            self.used_bytes -= freed
            evicted.append(victim)
        self._sizes[file] = size_bytes
        self.used_bytes += size_bytes
        return evicted

"""A placement: which appliance stores which file. The simulator judges any placement; it need not know where it came from."""

import hashlib
from dataclasses import dataclass

import numpy as np

from topology.network import Network


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """Copies of files on appliances.

    Parameters
    ----------
    appliance, file
        (P,) int32 each: one entry a stored copy, sorted by appliance, then file, without repetition.
    """

    appliance: np.ndarray
    file: np.ndarray

    @classmethod
    def of(cls, appliance: np.ndarray, file: np.ndarray) -> "Placement":
        """Sort the copies and drop repetitions."""
        pairs = np.unique(np.column_stack([appliance, file]).astype(np.int32).reshape(-1, 2), axis=0)
        return cls(appliance=np.ascontiguousarray(pairs[:, 0]), file=np.ascontiguousarray(pairs[:, 1]))

    def __len__(self) -> int:
        return len(self.file)

    def fingerprint(self) -> str:
        """What tells this placement from others of the same network and catalogue."""
        return hashlib.sha256(self.appliance.tobytes() + self.file.tobytes()).hexdigest()[:16]

    def stored(self, network: Network, files: int) -> np.ndarray:
        """(S, F) bool: whether any appliance of the site stores the file; origins store every file."""
        stored = np.zeros((len(network.sites), files), bool)
        stored[network.appliance_site[self.appliance], self.file] = True
        stored[network.is_origin] = True
        return stored

"""Runs the ``fillplan`` command within the test process, as a shell would: arguments in, status and both streams out."""

import io
import json
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdn import console
from cdn.cli.verbs import app

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""Environment of a Python process that reads Parquet with pandas and ends: with more threads Arrow may abort as it does (apache/arrow#34314)."""


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it wrote to the file descriptors 1 and 2, C libraries included."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output, which must be one strict JSON object on a line of its own and nothing else."""
        assert self.out.endswith("\n") and self.out.count("\n") == 1, self.out

        def refuse(name: str) -> None:
            raise ValueError(f"{name} is not JSON")

        found = json.loads(self.out, parse_constant=refuse)
        assert isinstance(found, dict)
        return found


def fillplan(line: str, *more: object, cwd: Path | None = None) -> Ran:
    """Run ``fillplan LINE MORE…``."""
    arguments = ["fillplan", *shlex.split(line), *map(str, more)]
    before, argv, kept = Path.cwd(), sys.argv, (sys.stdout, sys.stderr)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        saved = [os.dup(fd) for fd in (1, 2)]
        try:
            for stream in kept:
                stream.flush()
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.stdout, sys.stderr = (
                io.TextIOWrapper(io.FileIO(fd, "w", closefd=False), "utf-8", write_through=True) for fd in (1, 2)
            )
            sys.argv = arguments
            os.chdir(cwd or before)
            status = console.run(app)
        finally:
            os.chdir(before)
            sys.argv = argv
            sys.stdout, sys.stderr = kept
            for fd, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, fd)
                os.close(copy)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8"))
    return Ran(status, *texts)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, and what is in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

"""The command line: each verb reads, calls one function, and writes. Printing and exit statuses are in :mod:`cdn.console`."""

import os
import sys
from contextlib import suppress

from cdn import console
from cdn.cli.options import app

# The verbs register themselves, in the order of the help.
from cdn.cli import plan, rehearsal, night, imports  # isort: skip # noqa: F401

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the ``fillplan`` command. Ends the process at once: as Python takes itself apart, DuckDB fills the terminal with what it takes for leaks."""
    status = console.run(app)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # who read it has gone
            stream.flush()
    os._exit(status)

"""The command line: each verb reads, calls one function, and writes. Printing and exit statuses are in :mod:`cdn.console`.

Nothing heavy is imported until :func:`main` runs: from then on Ctrl-C is answered.
"""

import os
import signal
import sys
from contextlib import suppress

__all__ = ["main"]


def main() -> None:
    """Entry point of the ``fillplan`` command. Ends the process at once: as Python takes itself apart, DuckDB fills the terminal with what it takes for leaks."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where the shell has it ignored
    if heard:
        signal.signal(signal.SIGINT, _leave)  # an exception could be lost in a module that is half imported
    from cdn import console
    from cdn.cli.verbs import app

    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    status = console.run(app)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # who read it has gone, or it was closed from the start
            stream.flush()
    os._exit(status)


def _leave(*_: object) -> None:
    """Ctrl-C before any verb has begun."""
    os.write(2, b"interrupted: nothing was written\n")
    os._exit(130)

"""The command line: each verb reads, calls one function, and writes. Printing and exit statuses are in :mod:`cdn.console`."""

from cdn import console
from cdn.cli.options import app

# The verbs register themselves, in the order of the help.
from cdn.cli import plan, rehearsal, night, imports  # isort: skip # noqa: F401

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the ``fillplan`` command."""
    raise SystemExit(console.run(app))

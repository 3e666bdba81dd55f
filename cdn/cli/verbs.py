"""The command with all its verbs: they register themselves, in the order of the help."""

from cdn.cli.options import app

from cdn.cli import plan, rehearsal, night, imports  # isort: skip # noqa: F401

__all__ = ["app"]

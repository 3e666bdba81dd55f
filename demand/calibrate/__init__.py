"""Fits the laws of generated logs to published files: ``python -m demand.calibrate DATA_FOLDER [-o laws.json]``.

Each module reads one source and fits what it can tell; a fitted law is a dictionary of what it says (``law``), the ``source``, the number of
``observations``, the ``goodness`` of fit and the ``parameters``. Only these figures are kept, never the data.
"""

from demand.calibrate.fit import calibrate, write_laws

__all__ = ["calibrate", "write_laws"]

"""Side-by-side measurements: ``python -m benchmarks.NAME``."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does: see the package cdn

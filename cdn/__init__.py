"""The control plane: placement, fill, plan store, the jobs, the report and the command line.

Linear algebra stays on one thread, unless the environment says otherwise before: the matrices are small, and OpenBLAS's idle threads spin on cores that
others could use (the default forecast then takes two and a half times the CPU time).
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read once, when NumPy is first imported

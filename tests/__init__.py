"""Tests; a worker for each core, so that NumPy's own threads would only wait for each other."""

import os

# Set where workers are started, which inherit it: in a worker NumPy may have been imported already.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

"""Tests; a worker for each core, so that NumPy's own threads would only wait for each other."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before NumPy is imported, which reads them once
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

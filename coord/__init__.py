"""The core of the testbed: kitchens, learners, evaluation and runs (see design notes in README.md)."""

from __future__ import annotations

import os

# Two thread pools (torch's OpenMP and numba's) that spin while idle slow each other badly on few cores;
# passive waiting must be chosen before either library starts its pool.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# pygame greets on standard output when it is imported, where commands print results.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

__version__ = "0.1.0"

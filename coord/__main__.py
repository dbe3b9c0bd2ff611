"""`python -m coord` is the command `coord`."""

from __future__ import annotations

import sys

from coord.run.cli import main

if __name__ == "__main__":
    sys.exit(main())

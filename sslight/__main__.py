"""``python -m sslight``: the same as the ``sslight`` command."""

from __future__ import annotations

import sys

from sslight.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""Methods: one file each, found by name (``simclr.py`` holds ``SimCLR``)."""

"""What VISSL called hooks: one callback per file, named in configs by the file."""

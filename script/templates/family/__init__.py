"""My paper: what it is in one line (where it was published)."""

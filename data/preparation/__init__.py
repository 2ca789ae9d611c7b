"""What the scripts do to real datasets; no dataset mode imports it."""

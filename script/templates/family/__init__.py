"""My paper: one line about it (venue, year)."""

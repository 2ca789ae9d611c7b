"""Pure functions without state, used everywhere."""

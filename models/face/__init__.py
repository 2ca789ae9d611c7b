"""Edge-guided face animation with global flow and local attention."""

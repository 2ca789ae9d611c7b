"""Edge and distance maps, the driving signal of the family face."""

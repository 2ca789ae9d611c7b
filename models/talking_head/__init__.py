"""Few-shot talking heads: a person's face from a few pictures, moved by landmarks."""

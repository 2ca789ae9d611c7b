"""Checkpoints: saving, loading, resuming, and the layouts of released weights."""

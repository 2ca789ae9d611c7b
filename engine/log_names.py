"""The file of a run's numbers and the names in its lines, for readers that need no torch."""

LOG_FILE = "log.jsonl"
RESERVED = frozenset({"step", "epoch", "samples_per_second", "waiting_for_data", "gpu_memory_gib", "memory_gib"})
"""Names in a line of the log that are reserved."""

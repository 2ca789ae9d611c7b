"""Measuring with several metrics at once: videos, control rows, totals, result files, pairs of folders, protocols."""

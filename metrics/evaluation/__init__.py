"""Measuring with several metrics at once: videos, controls, totals, files of results, pairs of folders, protocols."""

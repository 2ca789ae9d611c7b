"""LivePortrait, second stage: stitching, eyes and lips."""

"""Few-shot talking heads: the second stage, in which the networks are tuned to one person."""

"""Few-shot talking heads, second stage: the networks are finetuned to one person."""

"""Training batches: the endless sampler, and samples that cannot be made."""

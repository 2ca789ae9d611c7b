"""Training batches: the endless sampler, and the handling of bad samples."""

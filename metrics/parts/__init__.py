"""What several metrics share: streams of frames and what is found in them, weights, windows, Frechet distances."""

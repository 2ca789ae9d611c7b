"""First order motion model for image animation (NeurIPS 2019)."""

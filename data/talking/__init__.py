"""Landmark drawings, the driving signal of talking heads."""

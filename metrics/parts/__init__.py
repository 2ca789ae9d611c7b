"""Shared parts of metrics: streams of frames with detections, weights, windows, Frechet distances."""

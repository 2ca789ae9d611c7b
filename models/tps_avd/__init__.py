"""Thin-plate spline motion model, second stage: animation via disentanglement."""

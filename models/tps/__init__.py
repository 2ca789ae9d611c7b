"""Thin-plate spline motion model for image animation (CVPR 2022)."""

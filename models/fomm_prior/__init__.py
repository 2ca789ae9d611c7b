"""Facial prior: first order motion for micro-expressions, with given key points (ACM Multimedia 2021)."""

"""Micro-expressions: coded marks, movement curves, spotting plots."""

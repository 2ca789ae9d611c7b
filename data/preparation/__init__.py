"""Preparation of real datasets for the scripts; no dataset mode imports it."""

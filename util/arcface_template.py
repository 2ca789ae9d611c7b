"""Alignment of faces in the training pictures of ArcFace networks."""

SIDE = 112
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Centres of the eyes, tip of the nose and corners of the mouth, in pixels."""

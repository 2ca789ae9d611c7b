"""Faces in pictures and videos: detection, landmarks, tracking, crops."""

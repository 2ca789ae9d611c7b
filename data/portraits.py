"""Dataset mode `portraits`: clips of one person each, and pairs cut out and pasted back as LivePortrait does."""

from data.frames import FramesDataset


class PortraitsDataset(FramesDataset):
    """Clips as in the mode `frames`."""

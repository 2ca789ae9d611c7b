"""Dataset mode `voice:VoiceDataset`: frames of clips with the sound around them, as log-mel spectrograms."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.base import VideoFrames, to_tensor
from data.frames import FramesDataset
from data.video.sound import read_sound
from util.errors import UserError
from util.values import positive

RATE, MELS = 16_000, 40
"""Samples a second, and bands of the spectrogram."""
SPAN, HOP = 400, 160
"""Samples that a column of the spectrogram sees, and from one column to the next: 25 and 10 ms."""


class VoiceDataset(FramesDataset):
    """Clips with sound, as the mode `frames` reads them.

    A training item holds `source` and `driving` (3, H, W), `name`, and `sound` (40, T), the log-mel spectrogram of the
    sound around the driving frame. Driving items hold `image` (3, H, W) and `sound`.
    """

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        FramesDataset.add_options(parser, training)
        parser.add_argument("--window", type=positive, default=0.2, help="seconds of sound around a frame")

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.seconds = opt.window

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.pair(index)
        source, driving = map(to_tensor, pair.frames)
        sound = read_sound(pair.path, RATE, pair.times[1] - self.seconds / 2, self.seconds)
        return {"source": source, "driving": driving, "sound": log_mel(sound), "name": pair.name}

    def items_of(self, video: VideoFrames) -> Iterator[dict[str, Any]]:
        if video.path is None:
            raise UserError("--dataset_mode voice reads sound from a file; give the path of the driving video")
        whole, length = read_sound(video.path, RATE, -self.seconds / 2), round(self.seconds * RATE)
        for position, frame in enumerate(video):
            begin = round(video.time(position) * RATE)  # of the window, since the sound begins half of one earlier
            part = whole[begin : begin + length]
            yield self.item(frame) | {"sound": log_mel(np.pad(part, (0, length - len(part))))}


def log_mel(sound: np.ndarray) -> Tensor:
    """The log-mel spectrogram (MELS, T) of samples."""
    window = torch.hann_window(SPAN)
    spectrum = torch.stft(torch.from_numpy(sound), SPAN, HOP, window=window, center=False, return_complex=True)
    return (mel_bands() @ spectrum.abs().square() + 1e-6).log()


@cache
def mel_bands() -> Tensor:
    """Triangles (MELS, frequencies) whose corners are evenly spaced in mel = 2595 log10(1 + f / 700)."""
    mel = torch.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), MELS + 2, dtype=torch.float64)
    corners = 700 * (10 ** (mel / 2595) - 1)
    frequency = torch.linspace(0, RATE / 2, SPAN // 2 + 1, dtype=torch.float64)
    low, middle, high = (corners[k : MELS + k, None] for k in range(3))
    rising, falling = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0).float()

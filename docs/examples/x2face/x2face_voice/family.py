"""X2Face, second stage: the sound around a frame gives the code that the driving frame gave."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from voice import MELS
from x2face.family import X2Face
from x2face.networks import sample

from models.parts.losses import mean_difference
from util.schedules import Clock


class VoiceEncoder(nn.Module):
    """The code (B, code) of a log-mel spectrogram (B, MELS, T)."""

    def __init__(self, *, width: int, code: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(MELS, 4 * width, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(4 * width, 4 * width, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(4 * width, code)

    def forward(self, sound: Tensor) -> Tensor:
        return self.head(self.layers(sound).mean(2))


class X2FaceVoice(X2Face):
    """X2Face driven by sound; batches also hold `sound` (B, MELS, T), as voice.py makes it."""

    begins_with = ("x2face.family:X2Face",)
    adds = ("voice_encoder",)
    resting = ("embedding", "driving_encoder", "driving_decoder")
    averaged = {"voice_encoder": 0.999}
    layout = replace(X2Face.layout, entries=X2Face.layout.entries | {"voice_encoder": "voice_encoder"})

    @staticmethod
    def add_options(parser: Any, training: bool) -> None:
        X2Face.add_options(parser, training)
        parser.set_defaults(dataset_mode="voice:VoiceDataset")

    def __init__(self, opt: Any, training: bool):
        super().__init__(opt, training)
        self.voice_encoder = VoiceEncoder(width=opt.width, code=opt.code)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"x2face": torch.optim.Adam(self.voice_encoder.parameters(), self.learning_rate)}

    def training_step(self, batch: dict[str, Any], clock: Clock) -> Iterator[tuple]:
        source, driving = batch["source"], batch["driving"]
        with torch.no_grad():
            wanted, embedded = self.driving_encoder(driving), self.embedding(source)
        code = self.voice_encoder(batch["sound"])
        generated = sample(embedded, self.driving_decoder(code))
        yield "x2face", {"code": mean_difference(code, wanted), **self.objective(generated, driving)}
        return {"source": source, "driving": driving, "generated": generated}

    def animate(self, state: dict[str, Any], driving: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        flow = self.driving_decoder(self.voice_encoder(driving["sound"]))
        return sample(state["embedded"].expand(len(flow), -1, -1, -1), flow), state

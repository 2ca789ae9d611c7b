"""Perceptual distance of deep features."""

from collections.abc import Mapping
from pathlib import Path

import torch

from metrics.metric import Batch, Columns, Metric
from metrics.parts.perceptual import Lpips, heads_file, trunk_file
from metrics.parts.tools import Tools


class LpipsAlex(Metric):
    """LPIPS with AlexNet, which papers usually mean by "LPIPS"."""

    name = "lpips/alex"
    says = "LPIPS 0.1 with AlexNet"
    used_by = "LIA; DaGAN and MCNet print both trunks"
    settings = {"version": "0.1", "trunk": "alexnet", "range": [-1, 1]}
    net = "alex"

    def __init__(self, tools: Tools):
        super().__init__(tools)
        self._files = {"trunk": trunk_file(self.net, tools.weights), "heads": heads_file(self.net)}
        self._network = tools.share(self.name, lambda: Lpips(self.net, *self._files.values()).to(tools.device))

    def weights(self) -> Mapping[str, Path]:
        """Trunk and heads of the network."""
        return self._files

    def update(self, batch: Batch) -> Columns:
        """The distance per frame."""
        pairs = [(batch.result.pixels[part], batch.truth.pixels[part]) for part in self.tools.batch_slices(len(batch))]
        return {self.name: torch.cat([self._network(*pair) for pair in pairs]).double().cpu().numpy()}


class LpipsVgg(LpipsAlex):
    """LPIPS with VGG: other values than with AlexNet, and sometimes another ranking."""

    name = "lpips/vgg"
    says = "LPIPS 0.1 with VGG-16"
    used_by = "DaGAN, MCNet (beside lpips/alex)"
    settings = {"version": "0.1", "trunk": "vgg16", "range": [-1, 1]}
    net = "vgg"

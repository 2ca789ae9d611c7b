"""Features of TensorFlow's Inception of 2015-12-05 (pool3), on which FID and KID are defined."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metrics.parts.streams import Stream
from metrics.parts.tools import Tools
from util.errors import UserError
from util.weights_file import read_weights

LENGTH = 2048


class Inception:
    """(N, 2048) per frame; the network and TensorFlow's resizing are torch-fidelity's."""

    def __init__(self, tools: Tools):
        self._tools = tools
        self._network = tools.share("inception", lambda: _load(tools))

    def __call__(self, stream: Stream) -> np.ndarray:
        import torch

        frames = (stream.pixels.clamp(0, 1) * 255).round().byte()
        with torch.no_grad():
            parts = [self._network(frames[part])[0] for part in self._tools.batch_slices(len(frames))]
        return torch.cat(parts).double().cpu().numpy()


def inception_files(tools: Tools, metric: str) -> Mapping[str, Path]:
    """The network with its weights."""
    return {"inception": tools.weights.path("inception", metric)}


def _load(tools: Tools):
    path = inception_files(tools, "fid and kid")["inception"]
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UserError(
            f"fid and kid need torch-fidelity ({error}); run: pip install -r requirements-metrics.txt"
        ) from error
    # The package would run code in the file; `read_weights` accepts only plain tensors.
    read_weights(path)
    try:
        return FeatureExtractorInceptionV3("inception", [str(LENGTH)], str(path)).to(tools.device)
    except RuntimeError as error:
        raise UserError(f"--inception {path}: not the weights of that network ({str(error).splitlines()[0]})") from None

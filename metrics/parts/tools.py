"""Networks and detectors that analyse frames, loaded once and shared by all metrics and videos."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from metrics.parts.weights import Weights

if TYPE_CHECKING:
    from metrics.parts.streams import Stream

Finder = Callable[["Stream"], np.ndarray]
"""Analyses the current frames of one stream, batch after batch of one video."""

KINDS = {
    "points/dlib": "metrics.parts.landmarks:DlibPoints",
    "points/face-alignment": "metrics.parts.landmarks:AlignmentPoints",
    "embedding/dlib": "metrics.parts.embeddings:DlibEmbedding",
    "embedding/arcface": "metrics.parts.embeddings:ArcFace",
    "embedding/openface": "metrics.parts.embeddings:OpenFace",
    "pose": "metrics.parts.poses:Poses",
    "aus": "metrics.parts.tables:ActionUnits",
    "coefficients": "metrics.parts.tables:Coefficients",
    "inception": "metrics.parts.inception:Inception",
    "flow": "metrics.parts.flows:Flow",
}
"""Kind of detection -> class whose constructor takes the tools: one instance per stream."""


@dataclass
class Tools:
    """Settings and shared models of a measurement."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    weights: Weights = field(default_factory=Weights)
    tables: Mapping[str, Path] = field(default_factory=dict)
    """Folders of tables and coefficients, by option name: result_aus, driving_aus, ..."""
    batch_size: int = 16
    allow_few: bool = False
    """Whether to report metrics over all frames for fewer frames than they need."""
    _shared: dict[Any, Any] = field(default_factory=dict)

    def finder(self, kind: str) -> Finder:
        """A new finder for one stream."""
        module, name = KINDS[kind].split(":")
        return getattr(importlib.import_module(module), name)(self)

    def share(self, key: Any, make: Callable[[], Any]) -> Any:
        """The result of `make`, which is called once per key."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def batch_slices(self, count: int) -> list[slice]:
        """Slices of at most `batch_size` that cover this many frames."""
        return [slice(start, start + self.batch_size) for start in range(0, count, self.batch_size)]

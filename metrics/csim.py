"""Cosine similarity of ArcFace embeddings."""

from collections.abc import Mapping
from pathlib import Path

from metrics.metric import Batch, Columns, Metric, masked
from metrics.parts.landmarks import dlib_files, found


class CsimArcface(Metric):
    """Cosine similarity of ArcFace. The hash of the network's file is in the definition; its weights are for research
    only."""

    name = "csim/arcface"
    says = "cosine of ArcFace embeddings of faces aligned to 112 x 112; to the truth, or without one to the source"
    used_by = "most papers on identity, with different networks"
    better = "higher"
    needs = ("truth|source",)
    settings = {"aligned by": "eyes, nose, mouth of dlib's 68 points", "side": 112, "input": "RGB, (x - 127.5) / 127.5"}
    libraries = ("dlib-bin",)

    def weights(self) -> Mapping[str, Path]:
        """The network and the landmark detector."""
        return {"arcface": self.tools.weights.path("arcface", self.name), **dlib_files()}

    def update(self, batch: Batch) -> Columns:
        """The similarity per frame; frames without a face in the source or truth are not measured."""
        result, expected = (one.find("embedding/arcface") for one in (batch.result, batch.either("truth", "source")))
        return {self.name: masked((result * expected).sum(-1), found(expected))}

"""Average embedding distance (AED) in the three definitions that papers use."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metrics.metric import Batch, Columns, Metric, masked
from metrics.parts.landmarks import found


class _Openface(Metric):
    settings = {"network": "OpenFace nn4.small2, 128-d, unit norm", "input": "whole frame, 96 x 96, BGR, not aligned"}
    kind = "embedding/openface"

    def weights(self) -> Mapping[str, Path]:
        """The OpenFace network."""
        return {"network": self.tools.weights.path("openface", self.name)}

    def update(self, batch: Batch) -> Columns:
        """The distance per frame; the network embeds every frame, with or without a face."""
        return {self.name: self.distance(batch.result.find(self.kind), batch.truth.find(self.kind))}

    @staticmethod
    def distance(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """The distance (N,) between embeddings (N, D)."""
        raise NotImplementedError


class AedSquared(_Openface):
    """AED as pose-evaluation computes it: the squared distance."""

    name = "aed/openface-sq"
    says = "sum of the squared differences of OpenFace embeddings"
    used_by = "FOMM, MRAA, TPS (pose-evaluation cmp.py since 2019-03-07)"

    @staticmethod
    def distance(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """The distance (N,) between embeddings (N, D)."""
        return squared_distance(result, truth)


class AedL1(_Openface):
    """AED as earlier versions of pose-evaluation computed it: the mean absolute difference."""

    name = "aed/openface-l1"
    says = "mean absolute difference of OpenFace embeddings"
    used_by = "pose-evaluation cmp.py before 2019-03-07, so perhaps Monkey-Net"

    @staticmethod
    def distance(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """The distance (N,) between embeddings (N, D)."""
        return np.abs(result - truth).mean(-1)


def squared_distance(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The distance (N,) between embeddings (N, D)."""
    return ((result - truth) ** 2).sum(-1)


class Aed3dmm(Metric):
    """AED of expression coefficients. Papers report a sum or a mean, mostly without saying which, so both are given."""

    name = "aed/3dmm"
    says = "mean absolute difference of 64 expression coefficients (Deep3DFaceRecon), read from files; sum: .sum"
    used_by = "papers on animation by 3-D face models"
    tables = ("result_coefficients", "truth_coefficients")
    settings = {"coefficients": "expression, 64"}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns for mean and sum."""
        return self.name, f"{self.name}.sum"

    def update(self, batch: Batch) -> Columns:
        """Mean and sum per frame."""
        result, truth = (one.find("coefficients")[:, :64] for one in (batch.result, batch.truth))
        each, there = np.abs(result - truth), found(truth)
        return {name: masked(column, there)
                for name, column in zip(self.columns, (each.mean(1), each.sum(1)), strict=True)}  # fmt: skip

"""Kernel Inception distance."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from metrics.metric import Batch, SetMetric, Video
from metrics.parts.inception import inception_files
from metrics.parts.tools import Tools

KEPT = 4096
SUBSETS, SUBSET = 100, 1000


class Sample:
    """At most `KEPT` feature vectors, selected by a hash of video and frame: the selection does not depend on batches,
    processes, or their order."""

    def __init__(self):
        self.keys, self.features = np.zeros(0, np.uint64), np.zeros((0, 0), np.float32)
        self.seen = 0

    def add(self, video: str, first: int, features: np.ndarray) -> None:
        """Add the features of consecutive frames as candidates."""
        names = (os.fsencode(f"{video}\0{first + index}") for index in range(len(features)))
        keys = [int.from_bytes(hashlib.sha256(name).digest()[:8], "little") for name in names]
        self.seen += len(features)
        self.take(np.array(keys, np.uint64), features.astype(np.float32))

    def take(self, keys: np.ndarray, features: np.ndarray) -> None:
        """Keep the candidates with the smallest keys."""
        if len(self.keys):
            keys, features = np.concatenate([self.keys, keys]), np.concatenate([self.features, features])
        chosen = np.argsort(keys, kind="stable")[:KEPT]
        self.keys, self.features = keys[chosen], features[chosen]


class Kid(SetMetric):
    """KID. It is unbiased, so fewer frames suffice than for FID."""

    name = "kid"
    says = f"squared MMD of Inception's pool3 features, cubic kernel, mean of {SUBSETS} subsets of up to {SUBSET}"
    used_by = "papers with few frames"
    needs = ("truth|driving",)
    settings = {"kernel": "(x.y / D + 1)^3", "subsets": SUBSETS, "subset": SUBSET, "kept": KEPT, "seed": 0}
    libraries = ("torch-fidelity",)

    def __init__(self, tools: Tools):
        super().__init__(tools)
        self._generated, self._real, self._name = Sample(), Sample(), ""

    def weights(self) -> Mapping[str, Path]:
        """The Inception network."""
        return inception_files(self.tools, self.name)

    def begin(self, video: Video) -> None:
        """Start a video, whose name selects frames."""
        self._name = video.name

    def gather(self, batch: Batch) -> None:
        """Add the features of the frames as candidates."""
        self._generated.add(self._name, batch.first, batch.result.find("inception"))
        self._real.add(self._name, batch.first, batch.either("truth", "driving").find("inception"))

    def state(self) -> dict[str, np.ndarray]:
        """The selected features, and the number of candidates."""
        return {f"{name}_{part}": np.asarray(getattr(sample, part))
                for name, sample in (("made", self._generated), ("real", self._real))
                for part in ("keys", "features", "seen")}  # fmt: skip

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Merge the selections of two processes."""
        for name, sample in (("made", self._generated), ("real", self._real)):
            if len(state[f"{name}_keys"]):
                sample.take(state[f"{name}_keys"], state[f"{name}_features"])
                sample.seen += int(state[f"{name}_seen"])

    def total(self) -> tuple[float, int]:
        """The mean over the subsets."""
        generated, real = (sample.features.astype(np.float64) for sample in (self._generated, self._real))
        size = min(SUBSET, len(generated), len(real))
        if size < 2:
            return float("nan"), self._generated.seen
        rng = np.random.default_rng(0)
        values = [
            squared_mmd(generated[rng.permutation(len(generated))[:size]], real[rng.permutation(len(real))[:size]])
            for _ in range(SUBSETS)
        ]
        return float(np.mean(values)), self._generated.seen


def squared_mmd(one: np.ndarray, other: np.ndarray) -> float:
    """The unbiased estimate with the cubic kernel (Binkowski et al. 2018, eq. 4), from equally many features (M, D) of
    each."""
    count = len(one)
    within_1, within_2, between = (cubic(a, b) for a, b in ((one, one), (other, other), (one, other)))
    within = sum(float(kernel.sum() - np.trace(kernel)) for kernel in (within_1, within_2)) / (count * (count - 1))
    return within - 2 * float(between.mean())


def cubic(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The kernel of all pairs."""
    return (one @ other.T / one.shape[1] + 1) ** 3

"""Frechet distance between sets of features, accumulated in constant memory so that merging is exact."""

from collections.abc import Mapping

import numpy as np

from util.errors import UserError

STEP = 2.0**-13
"""Features are rounded to this step before they are summed. Such sums are exact in double precision, so results do not
depend on batches, processes or order; a distance changes by less than 1e-5."""
EXACT = 2.0**53 * STEP**2
"""Largest sum of products that is still exact."""


class Moments:
    """Count, sums and sums of products of feature vectors."""

    def __init__(self):
        self.count, self.sums, self.products = 0, np.zeros(0), np.zeros((0, 0))

    def add(self, features: np.ndarray) -> None:
        """Add features (N, D)."""
        rounded = np.round(np.asarray(features, np.float64) / STEP) * STEP
        self._take(len(rounded), rounded.sum(0), rounded.T @ rounded)

    def _take(self, count: int, sums: np.ndarray, products: np.ndarray) -> None:
        if not self.count:
            self.sums, self.products = np.zeros_like(sums), np.zeros_like(products)
        self.count += count
        self.sums += sums
        self.products += products

    def merge(self, state: Mapping[str, np.ndarray], prefix: str) -> None:
        """Merge a `state` of another process."""
        if int(state[f"{prefix}count"]):
            self._take(*(state[f"{prefix}{name}"] for name in ("count", "sums", "products")))

    def state(self, prefix: str) -> dict[str, np.ndarray]:
        """The state as arrays."""
        return {f"{prefix}count": np.array(self.count), f"{prefix}sums": self.sums, f"{prefix}products": self.products}

    def mean_and_covariance(self) -> tuple[np.ndarray, np.ndarray]:
        """Estimates of mean and (unbiased) covariance."""
        if np.abs(self.products).max(initial=0) > EXACT:
            raise UserError(f"{self.count} features are too many or too large for an exact sum; measure fewer")
        mean = self.sums / self.count
        return mean, (self.products - self.count * np.outer(mean, mean)) / (self.count - 1)


def frechet_distance(one: Moments, other: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017, eq. 6)."""
    (mean_1, covariance_1), (mean_2, covariance_2) = one.mean_and_covariance(), other.mean_and_covariance()
    # tr (C1 C2)^(1/2) by the symmetric R C2 R with R = C1^(1/2): real, and stable for rank-deficient covariances.
    values, vectors = np.linalg.eigh(covariance_1)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    middle = np.linalg.eigvalsh(root @ covariance_2 @ root)
    trace = np.trace(covariance_1) + np.trace(covariance_2) - 2 * np.sqrt(middle.clip(min=0)).sum()
    return float(((mean_1 - mean_2) ** 2).sum() + trace)

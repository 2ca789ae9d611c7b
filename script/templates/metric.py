"""My metric: what it measures, in one line."""

import numpy as np

from metrics.metric import Batch, Columns, Metric


class MyMetric(Metric):
    """The mean squared difference of pixels; one class per variant, "my_metric/VARIANT"."""

    name = "my_metric"
    says = "mean squared difference, pixels in [0, 1]"
    settings = {"range": [0, 1]}

    def update(self, batch: Batch) -> Columns:
        """Per frame, over rows, columns and channels."""
        difference = (batch.result.pixels - batch.truth.pixels).square()
        values: np.ndarray = difference.flatten(1).mean(1).double().cpu().numpy()
        return {self.name: values}

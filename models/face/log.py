"""loss_log.txt in the format of the original of edge-guided face animation."""

import re
from collections.abc import Mapping
from typing import Any

COLUMNS = (
    "app_gen", "correctness_p", "correctness_r", "content_gen", "style_gen", "regularization_p", "regularization_r",
    "ad_gen", "dis_img_gen", "ad_gen_v", "dis_img_gen_v",
)  # fmt: skip


def report_line(*, epoch: int, step: int, seconds: float, numbers: Mapping[str, float], **_: Any) -> str:
    """For example "(epoch: 1, iters: 100, time: 0.351) app_gen: 1.204 correctness_p: 0.310 "; absent terms are left
    out."""
    terms = {name: numbers[name] for name in COLUMNS if name in numbers} | dict(numbers)
    values = "".join(f"{name}: {value:.3f} " for name, value in terms.items())
    return f"(epoch: {epoch + 1}, iters: {step}, time: {seconds:.3f}) {values}"


def reported_step(line: str) -> int | None:
    """The step of a line; None for other lines, e.g. headings."""
    found = re.match(r"\(epoch: \d+, iters: (\d{1,18}), time: [\d.]+\) ", line)
    return int(found[1]) if found else None

"""loss_log2.txt in the format of GANimation's original."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

COLUMNS = (
    "g_fake", "g_cond", "g_mskd_fake", "g_mskd_cond", "g_cyc", "g_rgb", "g_rgb_un", "g_rgb_s", "g_m1", "g_m2", "g_m1_s",
    "g_m2_s", "g_idt", "d_real", "d_cond", "d_fake", "d_gp",
)  # fmt: skip
ALWAYS_ZERO = {"g_fake", "g_cond", "g_rgb", "g_rgb_un", "g_rgb_s", "g_idt"}
"""Columns of terms that the original lists and never computes."""


def report_line(
    *,
    epoch: int,
    step_in_epoch: int,
    steps_per_epoch: int,
    seconds: float,
    numbers: Mapping[str, float],
    time: datetime,
    **_: Any,
) -> str:
    """For example "[30/11/2026 05:01:37] (T, epoch: 1, it: 99/5200, t/smpl: 0.351s) g_fake:0.000 ... d_gp:0.413 ".

    A report without a step of the generator has none of its terms.
    """
    known = {**dict.fromkeys(ALWAYS_ZERO, 0.0), **numbers}
    values = "".join(f"{name}:{known[name]:.3f} " for name in COLUMNS if name in known)
    progress = f"epoch: {epoch + 1}, it: {step_in_epoch}/{steps_per_epoch}, t/smpl: {seconds:.3f}s"
    return f"[{time:%d/%m/%Y %H:%M:%S}] (T, {progress}) {values}"


def reported_step(line: str) -> int | None:
    """The step of a line; None for other lines, e.g. headings."""
    found = re.match(r"\[.*\] \(T, epoch: (\d{1,18}), it: (\d{1,18})/(\d{1,18}), t/smpl: [\d.]+s\) ", line)
    return (int(found[1]) - 1) * int(found[3]) + int(found[2]) + 1 if found else None

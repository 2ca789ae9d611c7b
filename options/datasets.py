"""The dataset that options name: that of one folder, or of several in shares."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data import find_dataset
from options.parser import Options
from util.errors import UserError

PARTS = 1000
"""Shares are multiples of 1/1000, so that they hold exactly in every 1000 samples or fewer."""


def build_dataset(opt: Options, training: bool) -> Any:
    """The dataset of --dataset_mode and --dataroot; several folders become one dataset."""
    from data.loading.several import Several

    mode, roots = find_dataset(opt.dataset_mode), split_roots(opt.dataroot)
    if len(roots) == 1 and not opt.shares:
        return mode(opt, training)
    block = block_of(opt.shares, roots) if opt.shares and training else ()
    if twice := next((root for root in roots if roots.count(root) > 1), None):
        raise UserError(f"--dataroot {opt.dataroot}: lists {twice} twice; list each folder once")
    return Several([mode(_of_root(opt, root), training) for root in roots], roots, training=training, block=block)


def split_roots(dataroot: str) -> list[Path]:
    """The folders that --dataroot names, with commas between them.

    A folder whose own name holds commas is meant where there is one; where none of several exists, the whole is one.
    """
    pieces, roots = dataroot.split(","), []
    while pieces:
        joined = [",".join(pieces[:count]) for count in range(len(pieces), 0, -1)]
        taken = next((text for text in joined if text and Path(text).is_dir()), joined[-1])
        if taken.strip():
            roots.append(Path(taken.strip()))
        pieces = pieces[taken.count(",") + 1 :]
    return roots if any(root.is_dir() for root in roots) else [Path(dataroot)]


def block_of(shares: Sequence[float], roots: Sequence[Path]) -> list[int]:
    """The smallest whole numbers that stand in these shares: [7, 3] for 0.7 and 0.3."""
    shown = f"--shares {','.join(f'{share:g}' for share in shares)}"
    if len(shares) != len(roots):
        names = ", ".join(map(str, roots))
        raise UserError(
            f"{shown}: {len(shares)} shares for {len(roots)} folders; --dataroot lists {names}. Set one share per "
            f"folder"
        )
    parts = [round(PARTS * share) for share in shares]
    if any(abs(PARTS * share - part) > 1e-6 or not part for share, part in zip(shares, parts, strict=True)):
        raise UserError(f"{shown}: a share must be above 0 and have at most three decimals, e.g. 0.7 or 0.125")
    if sum(parts) != PARTS:
        raise UserError(f"{shown}: add up to {sum(parts) / PARTS:g}; shares must add up to 1")
    common = math.gcd(*parts)
    return [part // common for part in parts]


def _of_root(opt: Options, root: Path) -> Options:
    changed = copy.copy(opt)
    changed.dataroot = str(root)
    return changed

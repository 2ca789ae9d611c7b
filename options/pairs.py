"""The pairs that a test.py command names, and how they are cropped, tracked and timed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.faces.landmarks import detector_settings, track_settings
from data.jobs.pair_list import (
    Request,
    is_never_still,
    read_pairs,
    refuse_inputs,
    refuse_suffix,
    unique_names,
    with_format,
)
from data.jobs.pairs import PairSettings
from util.errors import UserError
from util.printable import printable
from util.settings import settings_of


def pair_settings(opt: Any) -> PairSettings:
    """The settings of crops, tracking and sound from the options."""
    return settings_of(PairSettings, opt, detector=detector_settings(opt), tracking=track_settings(opt))


def requests(
    opt: Any,
    needs_source: bool = True,
    folder: Path = Path(),
    is_still: Callable[[Request], bool] = is_never_still,
    of_pairs: Sequence[str] = (),
) -> list[Request]:
    """The pairs named by the options, with results in `folder`; empty for the test split.

    `is_still`: whether a pair gives a picture, decided by the dataset mode; `of_pairs`: options that do not apply to
    its test split.
    """
    named = [f"--{name}" for name in ("source_image", "driving_video", "output") if getattr(opt, name)]
    if opt.pairs:
        if named:
            raise UserError(f"--pairs: the table sets inputs and outputs; remove {', '.join(named)}")
        return read_pairs(Path(opt.pairs), folder, opt.format, opt.best_frame, opt.allow_outside, is_still)
    alone = bool(opt.source_image) != bool(opt.driving_video)
    if alone and (needs_source or opt.source_image):
        given, missing = ("source_image", "driving_video") if opt.source_image else ("driving_video", "source_image")
        raise UserError(f"--{given} needs --{missing}, too: set both")
    if not opt.driving_video:
        _refuse_options_of_pairs(opt, of_pairs)
        return []
    return [_single_pair(opt, folder, is_still)]


def _single_pair(opt: Any, folder: Path, is_still: Callable[[Request], bool]) -> Request:
    """The pair of --source_image and --driving_video."""
    recorded = {"source": printable(", ".join(opt.source_image or ())), "driving": printable(opt.driving_video)}
    request = Request(
        tuple(map(Path, opt.source_image or ())), Path(opt.driving_video), best_frame=opt.best_frame, recorded=recorded
    )
    (name,) = unique_names([request.paths])
    output = Path(opt.output) if opt.output else folder / with_format(name, opt.format, is_still(request))
    if opt.output:
        refuse_suffix(output)
    refuse_inputs(output, [request])
    return replace(request, output=output, name=name)


def _refuse_options_of_pairs(opt: Any, of_pairs: Sequence[str]) -> None:
    """Test splits are cropped already, and their motion starts at the first frame."""
    given = [f"--{name}" for name in of_pairs if getattr(opt, name) not in (None, False)]
    if given:
        raise UserError(
            f"{', '.join(given)}: only for pairs (--source_image and --driving_video, or --pairs), not for the test "
            f"split"
        )

"""The options of a model as controls: only those that shape the result of a picture and a video.

They come from the options' declarations (options.declared), so that a family's new option is here at once.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from options.declared import Declared
from options.parser import spelled
from util.expressions import STRONGEST, Unit
from webapp.kinds import Kind

PARTS = ("what to animate", "cutting faces out", "faces", "what is written")
"""Sections of --help whose options are shown, for all families."""
FAMILY_PARTS = (
    "animation", "crops", "frames of a person", "frames of the person", "test sequences", "expressions",
    "pictures and units", "clips",
)  # fmt: skip
"""The same for a family or a dataset mode."""
OTHER_CONTROLS = {
    "source_image", "driving_video", "input_path", "output", "results_dir", "overwrite", "compare", "pairs", "au",
    "expression",
}  # fmt: skip
"""Options that other controls of the page set."""
OF_TEST_SPLITS = {
    "max_clips", "shard", "strict_video", "page_truth", "pairs_list", "num_pairs", "start_frame", "total_test_frames",
    "id_sampling", "split_seed", "train_ids_file", "test_ids_file", "images_folder", "aus_file", "units",
    "max_dataset_size", "frame_shape", "load_size", "shots",
}  # fmt: skip
"""Options of data folders or of training."""
OF_COMMANDS = {
    "format", "strips", "visualize", "panel", "maps", "au_grid", "au_levels", "original_levels",
    "crop_image_padding", "mode",
}  # fmt: skip
"""Options for further output files, and shorthands of other options (--mode standard)."""
OF_FILES = {
    "landmark_model", "face_detector_model", "own_aus", "driving_aus", "retargeting_weights", "save_template",
    "structure_cache", "keypoint_folder",
}  # fmt: skip
"""Options with paths of this machine: the page only uses uploaded files."""
OF_SOURCE_VIDEOS = {"source_frame", "source_video_eye_retargeting"}
"""Options of source videos: the page only takes pictures."""
OF_DRIVING = {
    "crop_image", "crop_video", "several", "on_missing", "smooth", "search_every", "audio", "find_best_frame",
    "best_frame",
}  # fmt: skip
"""Options without effect if action units drive the picture."""
OF_PICTURES = {"crop_image", "face", "paste_back", "find_best_frame", "best_frame", "retarget"}
"""Options without effect for a personal model, which needs no picture."""
EXCLUDED = OF_SOURCE_VIDEOS | OTHER_CONTROLS | OF_TEST_SPLITS | OF_COMMANDS | OF_FILES
PREVIEWED = {"cutting faces out", "crops", "faces", "frames of a person", "frames of the person"}
"""Sections whose options change the crop."""
REMARKS = {"faces": "(for face detection: crops, landmarks, the best frame)"}
AUTO = "auto"
"""Label of a switch or choice whose default depends on other options."""


def shown_options(declared: Sequence[Declared], kind: Kind) -> list[Declared]:
    """The options that the page shows for a model."""
    excluded = EXCLUDED | (OF_DRIVING if kind.units else set()) | (set() if kind.source else OF_PICTURES)
    return [option for option in declared if _is_shown(option) and option.name not in excluded]


def _is_shown(option: Declared) -> bool:
    owner, colon, part = option.part.partition(": ")
    if not colon:
        return option.part in PARTS or option.part.startswith(("family ", "dataset mode "))
    return part in FAMILY_PARTS


def group_of(option: Declared) -> str:
    """The section of --help, without the family or dataset mode."""
    return option.part.partition(": ")[2] or option.part


def control(option: Declared) -> gr.components.Component:
    """The control of an option."""
    label, info = option.name.replace("_", " "), option.help
    if option.kind in ("switch", "choice") and option.value is None:
        return gr.Dropdown([AUTO, *(option.choices or ("yes", "no"))], value=AUTO, label=label, info=info)
    if option.kind == "switch":
        return gr.Checkbox(option.value, label=label, info=info)
    if option.kind == "choice":
        return gr.Dropdown(list(option.choices), value=str(option.value), label=label, info=info)
    if option.limits:
        low, high = option.limits
        step = 1 if option.kind == "whole number" else (high - low) / 100
        return gr.Slider(low, high, value=option.value, step=step, label=label, info=info)
    if option.kind in ("number", "whole number") and option.value is not None:
        precision = 0 if option.kind == "whole number" else None
        return gr.Number(option.value, label=label, info=info, precision=precision)
    return gr.Textbox(_text(option.value), label=label, info=info, placeholder="not set")


def changed(options: Sequence[Declared], values: Sequence[Any]) -> dict[str, Any]:
    """The options with changed values, by name."""
    chosen = {}
    for option, value in zip(options, values, strict=True):
        if option.value is None and value == AUTO:
            continue
        if option.kind == "switch" and isinstance(value, str):
            value = value == "yes"
        if _text(value) != _text(option.value) and value is not None:
            chosen[option.name] = value
    return chosen


def _text(value: Any) -> str:
    """A value as written on a command line; integers without a decimal point."""
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return "" if value is None else spelled(value)


def command(arguments: Sequence[str], inputs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The equivalent command line, with the original names of uploaded files."""
    given = [word for name, value in inputs.items() if value for word in _input_arguments(name, value)]
    chosen = [f"--{name}={_text(value)}" for name, value in options.items()]
    return shlex.join(["python", "test.py", *arguments, *given, *chosen])


def _input_arguments(name: str, value: Any) -> list[str]:
    """An input as command-line arguments, one per picture."""
    if isinstance(value, list) and len(value) > 1:
        return [f"--{name}", *map(_file_name, value)]
    return [f"--{name}={_file_name(value[0] if isinstance(value, list) else value)}"]


def _file_name(value: Any) -> str:
    return value.name if isinstance(value, Path) else str(value)


class Panel:
    """The controls of a model's options, and the sliders of its action units."""

    def __init__(self, options: Sequence[Declared], kind: Kind):
        """Build the components by section; advanced options are folded."""
        self.options = shown_options(options, kind)
        self._by_name: dict[str, gr.components.Component] = {}
        self.sliders = {unit.column: _slider(unit) for unit in kind.units}
        for advanced in (False, True):
            chosen = [option for option in self.options if option.advanced == advanced]
            if chosen:
                with gr.Accordion("More options" if advanced else "Options", open=not advanced):
                    self._build(chosen)

    def _build(self, options: Sequence[Declared]) -> None:
        for part in dict.fromkeys(group_of(option) for option in options):
            gr.Markdown(f"**{part}** {REMARKS.get(part, '')}")
            with gr.Row():
                for option in options:
                    if group_of(option) == part:
                        self._by_name[option.name] = control(option)

    @property
    def controls(self) -> list[gr.components.Component]:
        """All components."""
        return [*self._by_name.values(), *self.sliders.values()]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> gr.components.Component:
        return self._by_name[name]

    def of(self, parts: Collection[str]) -> list[gr.components.Component]:
        """The components of some sections."""
        return [self._by_name[option.name] for option in self.options if group_of(option) in parts]

    def chosen(self, values: Mapping[Any, Any], parts: Collection[str] | None = None) -> dict[str, Any]:
        """The changed options of all sections, or of some."""
        options = [option for option in self.options if parts is None or group_of(option) in parts]
        return changed(options, [values[self._by_name[option.name]] for option in options])

    def units(self, values: Mapping[Any, Any]) -> dict[str, float]:
        """The intensities of the sliders."""
        return {name: values[slider] for name, slider in self.sliders.items()}


def _slider(unit: Unit) -> gr.Slider:
    label = f"{unit.column} {unit.name}"
    return gr.Slider(0, STRONGEST, 0, step=0.05, label=label, info=unit.muscles, elem_id=f"unit_{unit.column}")

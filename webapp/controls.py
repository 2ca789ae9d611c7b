"""The options of a model as controls: those that shape what is made of a picture and a video, and no others.

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
"""The titled parts of --help, of all families, whose options are offered."""
OWN_PARTS = (
    "animation", "crops", "frames of a person", "frames of the person", "test sequences", "expressions",
    "pictures and units", "clips",
)  # fmt: skip
"""The same of a family or a dataset mode."""
GIVEN_OTHERWISE = {
    "source_image", "driving_video", "input_path", "output", "results_dir", "overwrite", "compare", "pairs", "au",
    "expression",
}  # fmt: skip
"""What other controls of the page say."""
OF_TEST_SPLITS = {
    "max_clips", "shard", "strict_video", "page_truth", "pairs_list", "num_pairs", "start_frame", "total_test_frames",
    "id_sampling", "split_seed", "train_ids_file", "test_ids_file", "images_folder", "aus_file", "units",
    "max_dataset_size", "frame_shape", "load_size", "shots",
}  # fmt: skip
"""What says something of folders of data, or of how a run learned."""
OF_COMMANDS = {
    "format", "strips", "visualize", "panel", "maps", "au_grid", "au_levels", "original_levels",
    "crop_image_padding", "mode",
}  # fmt: skip
"""What makes further files or kinds of files, or says in one word what others say singly (--mode standard)."""
OF_FILES = {
    "landmark_model", "face_detector_model", "own_aus", "driving_aus", "retargeting_weights", "save_template",
    "structure_cache", "keypoint_folder",
}  # fmt: skip
"""What names files of the machine: the page takes none but those that are given to it."""
OF_SOURCE_VIDEOS = {"source_frame", "source_video_eye_retargeting"}
"""What says something of sources that are videos: the page takes pictures."""
OF_DRIVING = {
    "crop_image", "crop_video", "several", "on_missing", "smooth", "search_every", "audio", "find_best_frame",
    "best_frame",
}  # fmt: skip
"""What means nothing where action units drive the picture."""
OF_PICTURES = {"crop_image", "face", "paste_back", "find_best_frame", "best_frame", "retarget"}
"""What means nothing to a model that needs no picture, because it knows its person."""
LEFT_OUT = OF_SOURCE_VIDEOS | GIVEN_OTHERWISE | OF_TEST_SPLITS | OF_COMMANDS | OF_FILES
PREVIEWED = {"cutting faces out", "crops", "faces", "frames of a person", "frames of the person"}
"""Parts that change what is cut out."""
REMARKS = {"faces": "(where faces are looked for: crops, landmarks, the best frame)"}
AUTO = "auto"
"""What a switch or a choice says whose default depends on other things."""


def offered(declared: Sequence[Declared], kind: Kind) -> list[Declared]:
    """The options that the page shows for a model."""
    left_out = LEFT_OUT | (OF_DRIVING if kind.units else set()) | (set() if kind.source else OF_PICTURES)
    return [option for option in declared if _is_offered(option) and option.name not in left_out]


def _is_offered(option: Declared) -> bool:
    owner, colon, part = option.part.partition(": ")
    if not colon:
        return option.part in PARTS or option.part.startswith(("family ", "dataset mode "))
    return part in OWN_PARTS


def shard_suffix(option: Declared) -> str:
    """The part of --help, without whose it is."""
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
    """The options that somebody has set to something else than they are, by name."""
    said = {}
    for option, value in zip(options, values, strict=True):
        if option.value is None and value == AUTO:
            continue
        if option.kind == "switch" and isinstance(value, str):
            value = value == "yes"
        if _text(value) != _text(option.value) and value is not None:
            said[option.name] = value
    return said


def _text(value: Any) -> str:
    """A value as it stands on a command line; whole numbers without a point."""
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return "" if value is None else spelled(value)


def command(words: Sequence[str], inputs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The command line that does the same; files are called as they were before they were given to the page."""
    given = [word for name, value in inputs.items() if value for word in _given(name, value)]
    said = [f"--{name}={_text(value)}" for name, value in options.items()]
    return shlex.join(["python", "test.py", *words, *given, *said])


def _given(name: str, value: Any) -> list[str]:
    """An input as words; of several pictures each is one."""
    if isinstance(value, list) and len(value) > 1:
        return [f"--{name}", *map(_named, value)]
    return [f"--{name}={_named(value[0] if isinstance(value, list) else value)}"]


def _named(value: Any) -> str:
    return value.name if isinstance(value, Path) else str(value)


class Panel:
    """The controls of a model's options, and the sliders of its action units."""

    def __init__(self, options: Sequence[Declared], kind: Kind):
        """Makes the components, part by part; what is seldom set is folded away."""
        self.options = offered(options, kind)
        self._by_name: dict[str, gr.components.Component] = {}
        self.sliders = {unit.column: _slider(unit) for unit in kind.units}
        for advanced in (False, True):
            chosen = [option for option in self.options if option.advanced == advanced]
            if chosen:
                with gr.Accordion("More options" if advanced else "Options", open=not advanced):
                    self._build(chosen)

    def _build(self, options: Sequence[Declared]) -> None:
        for part in dict.fromkeys(shard_suffix(option) for option in options):
            gr.Markdown(f"**{part}** {REMARKS.get(part, '')}")
            with gr.Row():
                for option in options:
                    if shard_suffix(option) == part:
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
        """The components of some parts."""
        return [self._by_name[option.name] for option in self.options if shard_suffix(option) in parts]

    def said(self, values: Mapping[Any, Any], parts: Collection[str] | None = None) -> dict[str, Any]:
        """The options that somebody has changed; of all parts, or of some."""
        options = [option for option in self.options if parts is None or shard_suffix(option) in parts]
        return changed(options, [values[self._by_name[option.name]] for option in options])

    def units(self, values: Mapping[Any, Any]) -> dict[str, float]:
        """The intensities of the sliders."""
        return {name: values[slider] for name, slider in self.sliders.items()}


def _slider(unit: Unit) -> gr.Slider:
    label = f"{unit.column} {unit.name}"
    return gr.Slider(0, STRONGEST, 0, step=0.05, label=label, info=unit.muscles, elem_id=f"unit_{unit.column}")

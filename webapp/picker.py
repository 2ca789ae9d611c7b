"""The choice of a model: a run, an imported release, Grimace's own model, or a weights file."""

import json
from dataclasses import dataclass

import gradio as gr

from grimace import Model
from webapp.commands import ROOT
from webapp.context import ONE, App, showing_errors
from webapp.models import ModelArguments, arguments_of_file


def about(model: Model) -> str:
    """Facts of a model as Markdown."""
    folder = model.path if model.path.is_dir() else model.path.parent
    facts = [f"**{model.options.model}**", f"`{model.path.name}` in `{folder.name}`", str(model.device)]
    origin = folder / "origin.json"
    if origin.is_file():
        licence = json.loads(origin.read_text(encoding="utf-8")).get("licence")
        facts.append(f"licence: {licence}")
    return " · ".join(facts)


@dataclass(frozen=True)
class Picker:
    """The controls, and the arguments of the chosen model."""

    arguments: gr.State
    choice: gr.Dropdown
    again: gr.Button
    about: gr.Markdown


def build(app: App) -> Picker:
    """The row at the top of the page."""
    models = app.available_models()
    first = next(iter(models))
    arguments = gr.State(models[first])
    with gr.Row(equal_height=False):
        choice = gr.Dropdown(
            list(models), value=first, label="Model", scale=3, elem_id="model",
            info="runs of this machine, imported releases among them (python script/weights.py list)",
        )  # fmt: skip
        again = gr.Button("Look for new runs", scale=1, size="sm")
    facts = gr.Markdown(elem_id="about")
    picker = Picker(arguments, choice, again, facts)
    choice.input(
        showing_errors(lambda label: _picked(app, app.available_models()[label])), choice, [arguments, facts], **ONE
    )
    again.click(lambda: gr.Dropdown(choices=list(app.available_models())), outputs=choice)
    if app.local:
        _build_file(app, picker)
    return picker


def _build_file(app: App, picker: Picker) -> None:
    """Choose a weights file outside the runs; only for local users, as it takes paths of this machine."""
    with gr.Accordion("A released checkpoint that is not imported", open=False):
        with gr.Row(equal_height=True):
            checkpoint = gr.Textbox(label="file or folder of weights on this machine", scale=3)
            config = gr.Dropdown(
                ["", *_configs()], label="its YAML", info="default: beside the weights, or in them", scale=2
            )
            use = gr.Button("Use it", scale=1)
        use.click(
            showing_errors(lambda path, yaml: _picked(app, arguments_of_file(path, yaml))), [checkpoint, config],
            [picker.arguments, picker.about], **ONE,
        )  # fmt: skip


def _configs() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in sorted((ROOT / "configs").glob("*/*.yaml"))]


def _picked(app: App, arguments: ModelArguments) -> tuple[ModelArguments, str]:
    return arguments, about(app.models.load(arguments))


def label_of(run: str, choices: list[str]) -> str:
    """The label of a new run."""
    return next(label for label in choices if label.startswith(f"{run} ("))

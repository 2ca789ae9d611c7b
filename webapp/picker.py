"""Choosing the model: a run, a released checkpoint that was imported, the one that ships, or a file of weights."""

import json
from dataclasses import dataclass

import gradio as gr

from grimace import Model
from webapp.commands import ROOT
from webapp.context import ONE, App, told
from webapp.models import Words, words_of_file


def about(model: Model) -> str:
    """What is known of a model, as Markdown."""
    folder = model.path if model.path.is_dir() else model.path.parent
    facts = [f"**{model.options.model}**", f"`{model.path.name}` in `{folder.name}`", str(model.device)]
    origin = folder / "origin.json"
    if origin.is_file():
        licence = json.loads(origin.read_text(encoding="utf-8")).get("licence")
        facts.append(f"licence: {licence}")
    return " · ".join(facts)


@dataclass(frozen=True)
class Picker:
    """The controls, and the words of the model that is chosen."""

    words: gr.State
    choice: gr.Dropdown
    again: gr.Button
    about: gr.Markdown


def build(app: App) -> Picker:
    """The row at the top of the page."""
    models = app.offered()
    first = next(iter(models))
    words = gr.State(models[first])
    with gr.Row(equal_height=False):
        choice = gr.Dropdown(
            list(models), value=first, label="Model", scale=3, elem_id="model",
            info="runs of this machine, imported releases among them (python script/weights.py list)",
        )  # fmt: skip
        again = gr.Button("Look for new runs", scale=1, size="sm")
    facts = gr.Markdown(elem_id="about")
    picker = Picker(words, choice, again, facts)
    choice.input(told(lambda label: _picked(app, app.offered()[label])), choice, [words, facts], **ONE)
    again.click(lambda: gr.Dropdown(choices=list(app.offered())), outputs=choice)
    if app.local:
        _build_file(app, picker)
    return picker


def _build_file(app: App, picker: Picker) -> None:
    """A file of weights that no run holds; only for people at this machine, whose files it names."""
    with gr.Accordion("A released checkpoint that is not imported", open=False):
        with gr.Row(equal_height=True):
            checkpoint = gr.Textbox(label="file or folder of weights on this machine", scale=3)
            config = gr.Dropdown(
                ["", *_configs()], label="its YAML", info="none: it lies beside the weights, or in them", scale=2
            )
            use = gr.Button("Use it", scale=1)
        use.click(
            told(lambda path, yaml: _picked(app, words_of_file(path, yaml))), [checkpoint, config],
            [picker.words, picker.about], **ONE,
        )  # fmt: skip


def _configs() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in sorted((ROOT / "configs").glob("*/*.yaml"))]


def _picked(app: App, words: Words) -> tuple[Words, str]:
    return words, about(app.models.load(words))


def label_of(run: str, choices: list[str]) -> str:
    """The label of a run that has just been made."""
    return next(label for label in choices if label.startswith(f"{run} ("))

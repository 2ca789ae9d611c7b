"""The tab that trains on the spot: the demo's model, and a talking head for one person."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import gradio as gr

from webapp import jobs
from webapp.commands import ROOT
from webapp.context import ONE, App, note, paths, waiting_in
from webapp.models import runs_in
from webapp.picker import Picker, about, label_of

FIRST_STAGE = "talking_head"
WITHOUT_VGG = (f"--config={ROOT / 'configs' / 'tiny' / 'talking_head_finetune.yaml'}",)
"""Losses that need no third-party weights."""


def build(app: App, picker: Picker) -> gr.Dropdown:
    """Two parts, each with its buttons and progress."""
    _build_demo(app, picker)
    return _build_personal(app, picker)


def _chosen(app: App, run: str) -> list[Any]:
    """Choose the new run as the model."""
    models = app.available_models()
    label = label_of(run, list(models))
    return [gr.Dropdown(choices=list(models), value=label), models[label], about(app.models.load(models[label]))]


def _follow(app: App, request: gr.Request, do: Any) -> Iterator[list[Any]]:
    for status, run in app.follow(request, do):
        yield [status, *(_chosen(app, run) if run else [gr.skip()] * 3)]


def _build_demo(app: App, picker: Picker) -> None:
    gr.Markdown(
        "### The demo's model\nDraws people and trains a small first order motion model on them: about three minutes "
        "on two CPU cores. If stopped, it resumes the next time."
    )
    with gr.Row():
        run = gr.Button("Train the demo's model", variant="primary", elem_id="run_demo")
        stop = gr.Button("Stop", variant="stop")
    progress = gr.HTML(elem_id="demo_progress")

    def train(request: gr.Request) -> Iterator[list[Any]]:
        yield from _follow(app, request, partial(jobs.train_demo, app.runs, app.folder_of(request)))

    run.click(train, None, [progress, picker.choice, picker.arguments, picker.about], **waiting_in(progress), **ONE)
    stop.click(app.stop, queue=False)


def starts_in(app: App) -> list[str]:
    """The runs that a talking head of one person can start from."""
    return [run.arguments[0].removeprefix("--name=") for run in runs_in(app.runs) if run.family == FIRST_STAGE]


def _build_personal(app: App, picker: Picker) -> gr.Dropdown:
    gr.Markdown(
        "### A talking head for one person\nFinetunes a run of the family `talking_head` to the person in a video or "
        "in pictures; then a driving video is all that the new run needs. Without such a run: `python train.py "
        "--config configs/tiny/talking_head.yaml --name heads` makes a small one."
    )
    starts = starts_in(app)
    with gr.Row():
        start = gr.Dropdown(starts, value=next(iter(starts), None), label="begin with", elem_id="start")
        name = gr.Textbox("somebody", label="name of the new run", elem_id="new_name")
        steps = gr.Slider(10, 2000, 240, step=10, label="steps", elem_id="steps")
        vgg = gr.Checkbox(False, label="compare by VGG networks", info="better; needs their weights in dataset/")
    files = gr.File(label="the person: a video, or pictures", file_count="multiple", elem_id="person")
    with gr.Row():
        run = gr.Button("Finetune", variant="primary", elem_id="run_personal")
        stop = gr.Button("Stop", variant="stop", elem_id="stop_personal")
    progress = gr.HTML(elem_id="personal_progress")
    outputs = [progress, picker.choice, picker.arguments, picker.about]

    def finetune(
        start: str, name: str, steps: float, vgg: bool, given: list[str] | None, request: gr.Request
    ) -> Iterator[list[Any]]:
        if not given or not start:
            missing = "a video or pictures of the person" if start else "a run of talking_head"
            yield [note(f"{missing} is needed first", wrong=True), *[gr.skip()] * 3]
            return
        person = jobs.person_of(paths(given), app.folder_of(request))
        personal = jobs.Personal(name, app.runs / start, person, int(steps), () if vgg else WITHOUT_VGG)
        yield from _follow(app, request, partial(jobs.finetune, personal, app.runs, app.folder_of(request)))

    run.click(finetune, [start, name, steps, vgg, files], outputs, **waiting_in(progress), **ONE)
    stop.click(app.stop, queue=False)
    return start

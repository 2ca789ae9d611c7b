"""The tab in which a picture follows the camera."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from webapp.context import ONE, App, told
from webapp.controls import Panel
from webapp.kinds import Kind
from webapp.live import Live
from webapp.models import Words
from webapp.tabs import animate

EVERY = 0.1
"""Seconds between two frames of the camera, at least."""
LONGEST = 120
"""Seconds after which others get their turn."""


@dataclass(frozen=True)
class Parts:
    """The components."""

    camera: gr.Image
    again: gr.Button
    made: gr.Image
    meter: gr.Markdown


def build() -> Parts:
    """The camera on the left, the result on the right."""
    gr.Markdown(
        "The picture of the tab *Animate* follows your face. Look straight ahead when you start: movements are "
        "relative to that moment. Frames go to this machine's Grimace and nowhere else."
    )
    with gr.Row():
        camera = gr.Image(
            sources=["webcam"], streaming=True, type="numpy", label="Camera", height=360, elem_id="camera"
        )
        made = gr.Image(label="Result", interactive=False, height=360, elem_id="live", buttons=[])
    meter = gr.Markdown(elem_id="meter")
    again = gr.Button("This is my face at rest: begin anew")
    return Parts(camera, again, made, meter)


def connect(app: App, parts: Parts, pair: animate.Parts, words: Words, kind: Kind, panel: Panel) -> None:
    """What a frame of the camera does with the options of a model."""
    inputs = {parts.camera, pair.source, *panel.controls}

    def step(values: dict, request: gr.Request) -> tuple[Any, str]:
        frame, source = values[parts.camera], values[pair.source]
        if not kind.live:
            return None, "this model needs all of a driving video at once: choose another one"
        if frame is None or not source:
            return None, "give a picture in the tab *Animate* first" if not source else ""
        said = panel.said(values)
        live = app.once(
            request, "live", (words, source, sorted(said.items())),
            lambda: Live(app.models.load(words), Path(source), said),
        )  # fmt: skip
        made = live.step(np.ascontiguousarray(frame[..., :3]))
        return made, live.meter.line() if made is not None else "no face is seen yet"

    parts.camera.stream(
        told(step), inputs, [parts.made, parts.meter], stream_every=EVERY, time_limit=LONGEST, show_progress="hidden",
        **ONE,
    )  # fmt: skip
    parts.again.click(app.restart_live, queue=False)

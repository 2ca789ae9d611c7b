"""The tab in which a picture follows the camera."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from webapp.context import ONE, App, showing_errors
from webapp.controls import Panel
from webapp.kinds import Kind
from webapp.live import Live
from webapp.models import ModelArguments
from webapp.tabs import animate

EVERY = 0.1
"""Minimum seconds between two frames of the camera."""
LONGEST = 120
"""Maximum seconds before others get their turn."""


@dataclass(frozen=True)
class Parts:
    """The components."""

    camera: gr.Image
    again: gr.Button
    result: gr.Image
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
        result = gr.Image(label="Result", interactive=False, height=360, elem_id="live", buttons=[])
    meter = gr.Markdown(elem_id="meter")
    again = gr.Button("This is my neutral face: restart")
    return Parts(camera, again, result, meter)


def connect(app: App, parts: Parts, pair: animate.Parts, arguments: ModelArguments, kind: Kind, panel: Panel) -> None:
    """Attach the handler of camera frames for the options of a model."""
    inputs = {parts.camera, pair.source, *panel.controls}

    def step(values: dict, request: gr.Request) -> tuple[Any, str]:
        frame, source = values[parts.camera], values[pair.source]
        if not kind.live:
            return None, "this model needs the whole driving video: choose another model"
        if frame is None or not source:
            return None, "choose a picture in the tab *Animate* first" if not source else ""
        chosen = panel.chosen(values)
        live = app.cached(
            request, "live", (arguments, source, sorted(chosen.items())),
            lambda: Live(app.models.load(arguments), Path(source), chosen),
        )  # fmt: skip
        result = live.step(np.ascontiguousarray(frame[..., :3]))
        return result, live.meter.line() if result is not None else "no face found yet"

    parts.camera.stream(
        showing_errors(step), inputs, [parts.result, parts.meter],
        stream_every=EVERY, time_limit=LONGEST, show_progress="hidden",
        **ONE,
    )  # fmt: skip
    parts.again.click(app.restart_live, queue=False)

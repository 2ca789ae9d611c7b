"""Sliders of action units that change the picture while they move."""

from typing import Any

import gradio as gr

from util.expressions import PRESETS, STRONGEST, Unit, parse_expression
from webapp import controls
from webapp.context import ONE, App, showing_errors
from webapp.controls import Panel
from webapp.models import ModelArguments
from webapp.tabs.animate import Parts


def connect(app: App, parts: Parts, arguments: ModelArguments, units: tuple[Unit, ...], panel: Panel) -> None:
    """Show the picture with the expression of the sliders, whenever one of them moves."""
    inputs = {parts.source, *panel.controls}

    def show(values: dict, request: gr.Request) -> Any:
        source = values[parts.source]
        if not source:
            return gr.skip()
        chosen = panel.chosen(values, controls.PREVIEWED | {"pictures and units"})
        encoded = app.cached(
            request, "expressions", (arguments, source, sorted(chosen.items())),
            lambda: app.models.load(arguments).encode(source, **chosen),
        )  # fmt: skip
        return gr.Image(encoded.model.express(encoded, panel.units(values)), visible=True)

    moving = [parts.source.change, *(slider.change for slider in panel.sliders.values())]
    gr.on(
        moving, showing_errors(show), inputs, parts.picture, trigger_mode="always_last", show_progress="hidden", **ONE
    )
    preset = gr.Dropdown(["neutral", *_known(units)], value="neutral", label="preset", elem_id="preset")
    preset.input(lambda name: _positions(name, units), preset, list(panel.sliders.values()), queue=False)


def _known(units: tuple[Unit, ...]) -> list[str]:
    """The presets of which a model knows all units."""
    numbers = {unit.number for unit in units}
    return [name for name, preset in PRESETS.items() if preset.intensities and preset.intensities.keys() <= numbers]


def _positions(name: str, units: tuple[Unit, ...]) -> list[float]:
    values = parse_expression(name, units) if name != "neutral" else [0.0] * len(units)
    return [min(float(value), STRONGEST) for value in values]

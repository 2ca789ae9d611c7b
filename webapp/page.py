"""The page: the model at the top, a tab for each way to use it."""

import gradio as gr

from webapp import picker
from webapp.context import ONE, App
from webapp.controls import Panel
from webapp.kinds import Kind, kind_of
from webapp.models import ModelArguments
from webapp.tabs import animate, batch, compare, expressions, live, train

TITLE = "Grimace"
THEME = gr.themes.Base(
    primary_hue="teal", neutral_hue="slate", font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
)
"""System fonts, so that nothing is downloaded."""
CSS = """
.work { display: flex; flex-direction: column; gap: .3rem; padding: .2rem 0 }
.work progress { width: 100% }
.work.wrong span { color: #c0392b; white-space: pre-wrap }
.dark .work.wrong span { color: #ff8a7a }
iframe.results { width: 100%; height: 70vh; border: 1px solid #8884; border-radius: .4rem }
"""
UPLOAD_CLEANUP = (600, 3600)
"""Seconds between clean-ups of uploaded files, and their maximum age."""
EXPLAINED = (
    "# Grimace\nAnimate a picture with a driving video. Only animate faces of people who agreed to it. What you "
    "give stays on the machine that runs this page."
)


def build(app: App) -> gr.Blocks:
    """Build all components and their handlers."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=UPLOAD_CLEANUP) as page:
        gr.Markdown(EXPLAINED)
        model = picker.build(app)
        with gr.Tabs():
            with gr.Tab("Animate", id="animate"):
                pair = animate.build(app)
                _options_of_the_model(app, model, lambda: (pair, camera, table))
            with gr.Tab("Live", id="live"):
                camera = live.build()
            with gr.Tab("Batch", id="batch"):
                table = batch.build(app)
            with gr.Tab("Compare", id="compare"):
                compare.build(app, pair)
            with gr.Tab("Train", id="train"):
                start = train.build(app, model)
        fitted = animate.fitted(pair)
        gr.on(
            [page.load, model.arguments.change], lambda arguments: animate.fit(pair, _kind(app, arguments)),
            model.arguments, fitted,
            **ONE,
        )  # fmt: skip
        page.load(lambda: _found(app), None, [model.choice, start], queue=False)
        page.load(lambda arguments: picker.about(app.models.load(arguments)), model.arguments, model.about, **ONE)
        page.unload(app.forget)
    return page


def _found(app: App) -> list[gr.Dropdown]:
    """Refresh the list of runs when the page is opened."""
    starts = train.starts_in(app)
    return [
        gr.Dropdown(choices=list(app.available_models())),
        gr.Dropdown(choices=starts, value=next(iter(starts), None)),
    ]


def _kind(app: App, arguments: ModelArguments) -> Kind:
    return kind_of(app.models.load(arguments))


def _options_of_the_model(app: App, model: picker.Picker, tabs: object) -> None:
    """The controls of the model that is chosen, made anew for each one; `tabs()` gives the tabs that use them."""

    @gr.render(inputs=[model.arguments], **ONE)
    def options(arguments: ModelArguments) -> None:
        pair, camera, table = tabs()
        kind = _kind(app, arguments)
        panel = Panel(app.models.options(arguments), kind)
        animate.connect(app, pair, arguments, kind, panel)
        if kind.units:
            expressions.connect(app, pair, arguments, kind.units, panel)
        live.connect(app, camera, pair, arguments, kind, panel)
        batch.connect(app, table, arguments, panel)

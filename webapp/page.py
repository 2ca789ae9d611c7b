"""The page: the model at the top, a tab for each way to use it."""

import gradio as gr

from webapp import picker
from webapp.context import ONE, App
from webapp.controls import Panel
from webapp.kinds import Kind, kind_of
from webapp.models import Words
from webapp.tabs import animate, batch, compare, expressions, live, train

TITLE = "Grimace"
THEME = gr.themes.Base(
    primary_hue="teal", neutral_hue="slate", font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
)
"""Fonts of the system: none is fetched."""
CSS = """
.work { display: flex; flex-direction: column; gap: .3rem; padding: .2rem 0 }
.work progress { width: 100% }
.work.wrong span { color: #c0392b; white-space: pre-wrap }
.dark .work.wrong span { color: #ff8a7a }
iframe.results { width: 100%; height: 70vh; border: 1px solid #8884; border-radius: .4rem }
"""
KEPT = (600, 3600)
"""Seconds: how often files that browsers gave are looked over, and how old those are that are removed."""
EXPLAINED = (
    "# Grimace\nA picture moves as the driving video does. Animate only faces of people who agreed to it. What you "
    "give stays on the machine that runs this page."
)


def build(app: App) -> gr.Blocks:
    """All components, and what they do."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT) as page:
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
            [page.load, model.words.change], lambda words: animate.fit(pair, _kind(app, words)), model.words, fitted,
            **ONE,
        )  # fmt: skip
        page.load(lambda: _found(app), None, [model.choice, start], queue=False)
        page.load(lambda words: picker.about(app.models.load(words)), model.words, model.about, **ONE)
        page.unload(app.forget)
    return page


def _found(app: App) -> list[gr.Dropdown]:
    """The runs that are there when the page is opened."""
    starts = train.starts_in(app)
    return [gr.Dropdown(choices=list(app.offered())), gr.Dropdown(choices=starts, value=next(iter(starts), None))]


def _kind(app: App, words: Words) -> Kind:
    return kind_of(app.models.load(words))


def _options_of_the_model(app: App, model: picker.Picker, tabs: object) -> None:
    """The controls of the model that is chosen, made anew for each one; `tabs()` gives the tabs that use them."""

    @gr.render(inputs=[model.words], **ONE)
    def options(words: Words) -> None:
        pair, camera, table = tabs()
        kind = _kind(app, words)
        panel = Panel(app.models.options(words), kind)
        animate.connect(app, pair, words, kind, panel)
        if kind.units:
            expressions.connect(app, pair, words, kind.units, panel)
        live.connect(app, camera, pair, words, kind, panel)
        batch.connect(app, table, words, panel)

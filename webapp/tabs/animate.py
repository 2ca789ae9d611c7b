"""The tab that animates: a picture, a driving video, what is cut out of both, and the result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from webapp import controls, jobs
from webapp.context import ONE, App, note, paths, showing_errors, waiting_in
from webapp.controls import Panel
from webapp.crops import MarkedPicture, face_at, mark_faces
from webapp.kinds import Kind
from webapp.models import ModelArguments

NARROWEST = 250
"""Minimum width of a column in pixels; narrower pages stack the columns."""


@dataclass(frozen=True)
class Parts:
    """The components."""

    source: gr.Image
    more: gr.File
    driving: gr.Video
    driving_side: gr.Column
    source_view: gr.Image
    source_input: gr.Image
    source_summary: gr.Markdown
    driving_view: gr.Image
    driving_input: gr.Image
    driving_summary: gr.Markdown
    source_boxes: gr.State
    driving_boxes: gr.State
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML
    result: gr.Video
    compared: gr.Video
    picture: gr.Image
    command: gr.Textbox

    @property
    def previews(self) -> list[Any]:
        """The components that show the crops."""
        return [
            self.source_view, self.source_input, self.source_summary, self.source_boxes,
            self.driving_view, self.driving_input, self.driving_summary, self.driving_boxes,
        ]  # fmt: skip

    @property
    def outputs(self) -> list[Any]:
        """The components that a run changes."""
        return [self.progress, self.result, self.compared, self.picture, self.command]


def build(app: App) -> Parts:
    """Inputs on the left with their crops below, the result on the right."""
    with gr.Row():
        with gr.Column(min_width=NARROWEST):
            source = gr.Image(type="filepath", label="Picture", sources=["upload", "webcam", "clipboard"], height=300,
                              elem_id="source")  # fmt: skip
            gr.Examples([[str(path)] for path in app.pictures], source, label="drawn people", elem_id="pictures")
            more = gr.File(label="more pictures of the same person", file_count="multiple", visible=False)
            source_views = _build_crop("source", "the face in the picture")
        with gr.Column(min_width=NARROWEST) as driving_side:
            driving = gr.Video(label="Driving video", sources=["upload", "webcam"], height=300, elem_id="driving")
            gr.Examples([[str(path)] for path in app.videos], driving, label="drawn people", elem_id="videos")
            driving_views = _build_crop("driving", "the face in the video's first frame")
        with gr.Column(min_width=NARROWEST):
            result = gr.Video(label="Result", interactive=False, autoplay=True, height=300, buttons=["download"],
                              elem_id="result")  # fmt: skip
            picture = gr.Image(
                label="Result", interactive=False, visible=False, height=300, buttons=["download", "fullscreen"],
                elem_id="picture",
            )  # fmt: skip
            with gr.Row():
                run = gr.Button("Animate", variant="primary", elem_id="run")
                stop = gr.Button("Stop", variant="stop", elem_id="stop")
            progress = gr.HTML(elem_id="progress")
            compared = gr.Video(
                label="Source, driving video, result", interactive=False, buttons=["download"], elem_id="compared"
            )
            command = gr.Textbox(
                label="the same on the command line", lines=2, interactive=False, buttons=["copy"], elem_id="command"
            )
    source_boxes, driving_boxes = gr.State([]), gr.State([])
    stop.click(app.stop, queue=False)
    return Parts(
        source, more, driving, driving_side, *source_views, *driving_views, source_boxes, driving_boxes, run, stop,
        progress, result, compared, picture, command,
    )  # fmt: skip


def _build_crop(name: str, what: str) -> tuple[gr.Image, gr.Image, gr.Markdown]:
    """The preview of an input and of its crop."""
    with gr.Row():
        whole = gr.Image(label=what, interactive=False, height=220, scale=2, elem_id=f"{name}_view", buttons=[])
        network_input = gr.Image(
            label="what the model sees", interactive=False, height=220, elem_id=f"{name}_input", buttons=[]
        )
    return whole, network_input, gr.Markdown(elem_id=f"{name}_summary")


def fit(parts: Parts, kind: Kind) -> list[Any]:
    """The appearance of the components of `fitted` for a kind of model."""
    driven = not kind.units
    return [
        gr.Image(visible=kind.source), gr.File(visible=kind.several), gr.Column(visible=driven),
        gr.Video(visible=driven), gr.Image(visible=not driven),
        gr.Button("Animate" if driven else "Save as a file"),
    ]  # fmt: skip


def fitted(parts: Parts) -> list[Any]:
    """The components that `fit` changes."""
    return [parts.source, parts.more, parts.driving_side, parts.compared, parts.picture, parts.run]


def preview(
    app: App,
    request: gr.Request,
    arguments: ModelArguments,
    source: str | None,
    driving: str | None,
    options: dict[str, Any],
) -> list[Any]:
    """The crops of both inputs, before animation."""
    if driving:
        app.check_video(Path(driving))

    def marked(**given: str) -> MarkedPicture | None:
        views = [view for view in app.models.load(arguments).preview(**given, **options) if view is not None]
        return mark_faces(views[0]) if views else None

    views = [
        app.cached(request, name, (arguments, path, sorted(options.items())), partial(marked, **{name: path}))
        if path else None
        for name, path in (("source", source), ("driving", driving))
    ]  # fmt: skip
    return [part for view in views for part in _view_values(view)]


def _view_values(view: MarkedPicture | None) -> tuple[Any, Any, str, list]:
    if view is None:
        return None, None, "", []
    return view.picture, view.network_input, view.summary, view.boxes


def connect(app: App, parts: Parts, arguments: ModelArguments, kind: Kind, panel: Panel) -> None:
    """Attach the handlers for the options of a model."""
    inputs = {parts.source, parts.more, parts.driving, *panel.controls}

    def show(values: dict, request: gr.Request) -> list[Any]:
        chosen = panel.chosen(values, controls.PREVIEWED)
        return preview(app, request, arguments, values[parts.source], values[parts.driving], chosen)

    def show_once(values: dict, request: gr.Request) -> list[Any]:
        return [*show(values, request), gr.Timer(active=False)]

    def run(values: dict, request: gr.Request) -> Iterator[list[Any]]:
        sources = (*paths(values[parts.source]), *(paths(values[parts.more]) if kind.several else []))
        if kind.units:
            yield from _express(app, arguments, sources, panel, values, request)
        else:
            yield from _animate(
                app, arguments, kind, sources, paths(values[parts.driving]), panel.chosen(values), request
            )

    changing = [one.change for one in (parts.source, parts.driving, *panel.of(controls.PREVIEWED))]
    gr.on(
        changing,
        showing_errors(show),
        inputs,
        parts.previews,
        show_progress="minimal",
        trigger_mode="always_last",
        **ONE,
    )
    # Show inputs that were uploaded before these controls existed.
    soon = gr.Timer(0.1)
    soon.tick(showing_errors(show_once), inputs, [*parts.previews, soon], show_progress="hidden", **ONE)
    parts.run.click(run, inputs, parts.outputs, **waiting_in(parts.progress), **ONE)
    for view, boxes, name in (
        (parts.source_view, parts.source_boxes, "face"),
        (parts.driving_view, parts.driving_boxes, "several"),
    ):
        if name in panel:
            view.select(_clicked, boxes, panel[name], queue=False)


def _clicked(boxes: list, event: gr.SelectData) -> Any:
    """The number of the clicked face, for its option."""
    number = face_at(boxes, *event.index)
    return gr.skip() if number is None else str(number)


def _animate(
    app: App, arguments: ModelArguments, kind: Kind, sources: Sequence[Path], driving: Sequence[Path],
    chosen: dict[str, Any], request: gr.Request,
) -> Iterator[list[Any]]:  # fmt: skip
    if not driving or (kind.source and not sources):
        missing = "a driving video" if sources or not kind.source else "a picture"
        yield [note(f"choose {missing} first: upload one, use the camera, or click on a drawn person", True),
               gr.skip(), gr.skip(), gr.skip(), gr.skip()]  # fmt: skip
        return
    inputs = {"source_image": list(sources), "driving_video": driving[0], "output": "out.mp4"}
    line = controls.command(arguments, inputs, chosen)
    pair = jobs.Pair(arguments, tuple(sources), driving[0], chosen)

    def work(work: Any) -> jobs.PairResult:
        app.check_video(pair.driving)
        return jobs.animate(app.models, pair, app.folder_of(request), work)

    for status, outputs in app.follow(request, work):
        videos = [str(outputs.result), str(outputs.comparison)] if outputs else [gr.skip(), gr.skip()]
        yield [status, *videos, gr.skip(), line]


def _express(
    app: App, arguments: ModelArguments, sources: Sequence[Path], panel: Panel, values: dict, request: gr.Request
) -> Iterator[list[Any]]:  # fmt: skip
    if not sources:
        yield [note("choose a picture first: upload one, use the camera, or click on a drawn person", True),
               gr.skip(), gr.skip(), gr.skip(), gr.skip()]  # fmt: skip
        return
    units, chosen = panel.units(values), panel.chosen(values)
    inputs = {"input_path": sources[0], "au": jobs.au_argument(units)}
    line = controls.command(arguments, inputs, chosen)
    do = partial(jobs.express, app.models, arguments, sources[0], units, chosen, app.folder_of(request))
    for status, outputs in app.follow(request, do):
        still = outputs is not None and outputs.suffix == ".png"
        video = gr.skip() if outputs is None else gr.Video(None if still else str(outputs), visible=not still)
        picture = gr.skip() if outputs is None else gr.Image(str(outputs) if still else None, visible=still)
        yield [status, video, gr.skip(), picture, line]

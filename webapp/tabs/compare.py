"""The tab that compares several models on the same pair."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from webapp import jobs
from webapp.context import ONE, App, note, paths, waiting_in
from webapp.models import driven_by_videos
from webapp.tabs import animate


def build(app: App, pair: animate.Parts) -> None:
    """Choose the models; each uses its own options."""
    gr.Markdown("The picture and the driving video of the tab *Animate*, by several models with the options of their "
                "runs.")  # fmt: skip
    labels = list(driven_by_videos(app.runs))
    with gr.Row(equal_height=True):
        chosen = gr.CheckboxGroup(labels, value=labels[:2], label="Models", elem_id="models", scale=3)
        again = gr.Button("Look for new runs", size="sm", scale=1)
    with gr.Row():
        crop_image = gr.Checkbox(True, label="crop image", info="cut the face out of the picture")
        crop_video = gr.Checkbox(True, label="crop video", info="cut the face out of the driving video")
    with gr.Row():
        run = gr.Button("Compare", variant="primary", elem_id="run_compare")
        stop = gr.Button("Stop", variant="stop")
    progress = gr.HTML(elem_id="compare_progress")
    together = gr.Video(label="side by side", interactive=False, buttons=["download"], elem_id="together")
    files = gr.File(label="each result", file_count="multiple", interactive=False)
    again.click(lambda: gr.CheckboxGroup(choices=list(driven_by_videos(app.runs))), outputs=chosen)
    stop.click(app.stop, queue=False)

    def compare(
        labels: list[str], source: str | None, driving: str | None, image: bool, video: bool, request: gr.Request
    ) -> Iterator[list[Any]]:
        yield from _run(app, labels, source, driving, {"crop_image": image, "crop_video": video}, request)

    run.click(
        compare, [chosen, pair.source, pair.driving, crop_image, crop_video], [progress, together, files],
        **waiting_in(progress), **ONE,
    )  # fmt: skip


def _run(
    app: App, labels: list[str], source: str | None, driving: str | None, options: dict[str, Any],
    request: gr.Request,
) -> Iterator[list[Any]]:  # fmt: skip
    if not source or not driving:
        yield [note("choose a picture and a driving video in the tab Animate first", wrong=True), gr.skip(), gr.skip()]
        return
    models = driven_by_videos(app.runs)
    pair = jobs.Pair((), tuple(paths(source)), paths(driving)[0], options)

    def work(work: Any) -> Any:
        app.check_video(pair.driving)
        choices = {label: models[label] for label in labels}
        return jobs.compare(app.models, choices, pair, app.folder_of(request), work)

    for status, outputs in app.follow(request, work):
        results, together = outputs or ({}, None)
        shown = [str(together), [str(path) for path in results.values()]] if outputs else [gr.skip(), gr.skip()]
        yield [status, *shown]

"""The tab for a table of pairs: csv in, page of results out."""

import html
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from webapp import controls, jobs
from webapp.context import ONE, App, note, paths, waiting_in
from webapp.controls import Panel
from webapp.models import ModelArguments

EXAMPLE = "source,driving,output\nme.jpg,talk.mp4,first\nyou.png,talk.mp4,second\n"
WHERE = "results"
"""URL path of the folder of results."""


@dataclass(frozen=True)
class Parts:
    """The components."""

    table: gr.File
    files: gr.File
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML
    page: gr.HTML
    archive: gr.File
    command: gr.Textbox

    @property
    def outputs(self) -> list[Any]:
        """The components that a run changes."""
        return [self.progress, self.page, self.archive, self.command]


def build(app: App) -> Parts:
    """The table, its files, and the page of results."""
    gr.Markdown(
        "A table with the columns `source`, `driving` and, optionally, `frame` and `output`, for the model and the "
        "options of the tab *Animate*. Its files are those that you give here, or files of this machine by their paths."
    )
    with gr.Row():
        table = gr.File(label="pairs.csv", file_types=[".csv"], elem_id="table")
        files = gr.File(label="its pictures and videos", file_count="multiple", elem_id="files")
    gr.Code(EXAMPLE, language=None, label="for example", interactive=False)
    with gr.Row():
        run = gr.Button("Animate all", variant="primary", elem_id="run_batch")
        stop = gr.Button("Stop", variant="stop")
    progress = gr.HTML(elem_id="batch_progress")
    page = gr.HTML(elem_id="page")
    archive = gr.File(label="all of it", interactive=False)
    command = gr.Textbox(label="the same on the command line", lines=2, interactive=False, buttons=["copy"])
    stop.click(app.stop, queue=False)
    return Parts(table, files, run, stop, progress, page, archive, command)


def connect(app: App, parts: Parts, arguments: ModelArguments, panel: Panel) -> None:
    """Attach the handler for the options of a model."""
    inputs = {parts.table, parts.files, *panel.controls}

    def run(values: dict, request: gr.Request) -> Iterator[list[Any]]:
        tables = paths(values[parts.table])
        if not tables:
            yield [note("upload a table of pairs first", wrong=True), "", None, ""]
            return
        chosen = panel.chosen(values)
        given = [option.word(chosen[option.name]) for option in panel.options if option.name in chosen]
        folder = app.results / time.strftime("%Y-%m-%d_%H-%M-%S")
        line = controls.command(arguments, {"pairs": tables[0], "results_dir": folder}, chosen)
        do = partial(
            _make, app, arguments, tables[0], paths(values[parts.files]), given, folder, app.folder_of(request)
        )
        for status, outputs in app.follow(request, do):
            page, archive = outputs or (None, None)
            yield [status, _link(app, page) if page else "", archive and str(archive), line]

    parts.run.click(run, inputs, parts.outputs, **waiting_in(parts.progress), **ONE)


def _make(
    app: App,
    arguments: ModelArguments,
    table: Path,
    files: list[Path],
    given: list[str],
    folder: Path,
    own: Path,
    work: Any,
):
    if not app.local:
        jobs.refuse_paths(table, files)
    page = jobs.batch(arguments, table, files, given, folder, work)
    work.report("packing")
    return page, Path(shutil.make_archive(str(own / folder.name), "zip", folder))


def _link(app: App, page: Path) -> str:
    """A link to the page of results, and the page embedded below."""
    address = html.escape(f"{WHERE}/{page.parent.name}/{page.name}")
    return (
        f'<p><a href="{address}" target="_blank">the page of results</a>, in {html.escape(str(page.parent))}</p>'
        f'<iframe src="{address}" title="the page of results" class="results"></iframe>'
    )

"""What all tabs share: models, the work that is going on, folders, limits."""

import html
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from data.video import IMAGE_SUFFIXES, open_video
from util.errors import UserError
from webapp.models import ModelArguments, Models, available_models
from webapp.people import draw_people
from webapp.work import Progress, Stopped, Work, Workshop, message_of

ONE = {"concurrency_limit": 1, "concurrency_id": "device"}
"""A queue of one: requests that use the device run one at a time."""
STOPPED = "stopped; nothing was saved"


@dataclass(frozen=True)
class Limits:
    """Limits on uploads."""

    seconds: float
    """Of a driving video."""
    megabytes: int
    """Of a file."""


class App:
    """Models, work and folders of one server."""

    def __init__(self, *, device: torch.device, runs: Path, results: Path, folder: Path, limits: Limits, local: bool):
        """`runs` and `results` stay; `folder` is removed when the app ends. `local`: only this machine reaches the app,
        so it accepts paths of this machine."""
        self.models, self.workshop = Models(device), Workshop()
        self.runs, self.results, self.folder, self.limits, self.local = runs, results, folder, limits, local
        self.pictures, self.videos = draw_people(folder / "people")
        self._cache: dict[str, dict[str, tuple[Any, Any]]] = {}

    def available_models(self) -> dict[str, ModelArguments]:
        """The models to choose from, by label."""
        return available_models(self.runs)

    def folder_of(self, request: gr.Request) -> Path:
        """The folder of a browser's results while it is open."""
        path = self.folder / "browsers" / str(request.session_hash)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def forget(self, request: gr.Request) -> None:
        """Stop the work of a closed browser and remove its files."""
        browser = str(request.session_hash)
        self.workshop.stop(browser)
        self._cache.pop(browser, None)
        shutil.rmtree(self.folder / "browsers" / browser, ignore_errors=True)

    def stop(self, request: gr.Request) -> None:
        """Stop the work of a browser."""
        self.workshop.stop(str(request.session_hash))

    def cached(self, request: gr.Request, name: str, key: Any, make: Callable[[], Any]) -> Any:
        """A value that a browser reuses; recomputed when the key changes."""
        cache = self._cache.setdefault(str(request.session_hash), {})
        if name not in cache or cache[name][0] != key:
            cache[name] = key, make()
        return cache[name][1]

    def restart_live(self, request: gr.Request) -> None:
        """Treat the next frame of a browser's camera as the first one."""
        _, live = self._cache.get(str(request.session_hash), {}).get("live", (None, None))
        if live:
            live.restart()

    def follow(self, request: gr.Request, do: Callable[[Work], Any]) -> Iterator[tuple[str, Any]]:
        """Run work for a browser: yields its progress as HTML with None, at the end its result."""
        work = self.workshop.begin(str(request.session_hash), do)
        for progress in work.updates():
            yield bar(progress), None
        try:
            outputs = work.result()
        except Stopped:
            yield note(STOPPED), None
        except Exception as error:  # shown on the page; bugs also go to the log
            yield note(message_of(error), wrong=True), None
        else:
            yield note("stopped; saved the training until then" if work.stopping else "done"), outputs

    def check_video(self, path: Path) -> None:
        """Refuse a driving video that is too long."""
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return
        with open_video(path) as video:
            seconds = len(video) / float(video.fps)
        if seconds > self.limits.seconds:
            raise UserError(
                f"the video lasts {seconds:.0f} s; the app accepts at most {self.limits.seconds:g} s. Cut it, start "
                f"the app with a larger --max_seconds, or use test.py, which has no limit"
            )


def waiting_in(progress: gr.HTML) -> dict[str, Any]:
    """Show the position in the queue where the progress will be."""
    return {"show_progress": "minimal", "show_progress_on": progress}


def bar(progress: Progress) -> str:
    """Progress as HTML."""
    extent = f' max="{progress.of}" value="{progress.done}"' if progress.of else ""
    line = html.escape(progress.line())
    shown = f'<progress{extent} aria-label="progress"></progress><span>{line}</span>'
    return f'<div class="work" role="status">{shown}</div>'


def note(text: str, wrong: bool = False) -> str:
    """A message as HTML."""
    kind, role = ("work wrong", "alert") if wrong else ("work", "status")
    return f'<div class="{kind}" role="{role}"><span>{html.escape(text)}</span></div>'


def showing_errors(do: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a handler so that the page shows its errors."""
    from functools import wraps

    @wraps(do)
    def handler(*arguments: Any) -> Any:
        try:
            return do(*arguments)
        except Exception as error:  # shown on the page; bugs also go to the log
            raise gr.Error(message_of(error), duration=20) from error

    return handler


def paths(given: Sequence[str] | str | None) -> list[Path]:
    """The values of file components as paths."""
    if not given:
        return []
    return [Path(given)] if isinstance(given, str) else [Path(one) for one in given]

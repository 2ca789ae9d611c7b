"""Reports of a run: log, pictures, TensorBoard, and a real visdom server that may come and go."""

import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin, urlparse
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
import torch
from paths import ROOT

from engine import visdom_server
from engine.clock import Clock
from engine.monitor import Monitor
from engine.sinks import LogFile, PictureFolder, ReportLog, Sink, TensorBoard, TextLog, Visdom
from util.grid import labelled_grid


def monitor_with(sinks, **options):
    settings = {"steps": 10, "clock": Clock(8), "print_every": 2, "pictures_every": 4, "device": torch.device("cpu")}
    return Monitor(sinks, **settings | options)


def run(monitor, clock, steps=10):
    for _ in range(steps):
        clock.advance(4)
        losses = {"l1": torch.tensor(float(clock.step)), "gan": torch.tensor(2.0)}
        monitor.record(clock, losses, {"made": torch.rand(2, 3, 16, 16), "mask": torch.rand(2, 1, 4, 4)})


def test_log_and_pictures(tmp_path):
    clock = Clock(8)
    monitor = monitor_with([LogFile(tmp_path / "log.jsonl", 0), PictureFolder(tmp_path / "pictures")], clock=clock)
    run(monitor, clock)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10]
    assert [line["l1"] for line in lines] == [1.5, 3.5, 5.5, 7.5, 9.5]
    assert lines[-1]["epoch"] == 5 and lines[-1]["samples_per_second"] > 0 and 0 <= lines[-1]["waiting_for_data"] <= 1
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["00000004.png", "00000008.png"]
    picture = cv2.imread(str(tmp_path / "pictures" / "00000004.png"))
    assert picture.shape == (18 + 2 * 96, 2 * 96, 3) and picture.std() > 20


def test_losses_that_are_no_numbers_are_valid_json(tmp_path):
    path = tmp_path / "log.jsonl"
    LogFile(path, 0).validated({"step": 3, "epoch": 0.5, "values": {"val/l1": math.nan, "val/psnr": math.inf}})
    line = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert line == {"step": 3, "epoch": 0.5, "val/l1": None, "val/psnr": "inf"}


def test_a_resumed_run_replaces_repeated_log_entries(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"step": 8, "l1"')
    LogFile(path, 4)
    assert path.read_text() == '{"step": 2}\n{"step": 4}\n'


def line(epoch, step_in_epoch, step, numbers):
    return f"{epoch} {step_in_epoch} {step} {numbers['l1']:g} {numbers['gan']:g}"


def test_a_line_of_text_per_epoch(tmp_path):
    clock = Clock(12)
    run(monitor_with([TextLog(tmp_path / "log.txt", True, line, clock)], clock=clock, print_every=4), clock, 8)
    assert (tmp_path / "log.txt").read_text() == "0 2 2 2 2\n1 2 5 5 2\n", "the third epoch is not over"


def test_a_line_of_text_per_step_waits_for_the_next_report(tmp_path):
    clock = Clock(10)
    monitor = monitor_with([TextLog(tmp_path / "log.txt", False, line, clock)], clock=clock, print_every=3)
    run(monitor, clock, 2)
    assert not (tmp_path / "log.txt").exists(), "no step waits for the device"
    run(monitor, clock, 2)
    assert (tmp_path / "log.txt").read_text().splitlines() == ["0 0 0 1 2", "0 1 1 2 2", "0 2 2 3 2"]
    monitor.close()
    assert (tmp_path / "log.txt").read_text().splitlines()[-1] == "1 0 3 4 2"


@pytest.mark.parametrize(("per_epoch", "kept"), [(True, ["0", "1"]), (False, ["0", "1", "2", "3", "4"])])
def test_a_resumed_run_replaces_repeated_lines(tmp_path, per_epoch, kept):
    path = tmp_path / "log.txt"
    path.write_text("".join(f"{number}\n" for number in range(9)))
    clock = Clock(8, step=5, samples=20)
    text_log = TextLog(path, per_epoch, line, clock)
    assert path.read_text().splitlines() == kept
    run(monitor_with([text_log], clock=clock), clock, 1)
    text_log.close()
    assert path.read_text().splitlines() == [*kept, "2 1 5 6 2"]


HEADLINE = r"=+ Training Loss \(.*\) =+"


def report_line(*, epoch, step_in_epoch, steps_per_epoch, step, seconds, time, numbers):
    assert seconds > 0 and time.year > 2000
    return f"{step} {epoch} {step_in_epoch}/{steps_per_epoch} {numbers['l1']:g}"


def step_of(line):
    return int(line.split()[0]) if line[0].isdigit() else None


def test_a_line_of_text_per_report_with_a_headline_per_start(tmp_path):
    path, clock = tmp_path / "loss_log.txt", Clock(10)
    run(monitor_with([ReportLog(path, report_line, step_of, clock)], clock=clock), clock, 6)
    headline, *lines = path.read_text().splitlines()
    assert re.fullmatch(HEADLINE, headline)
    assert lines == ["2 0 1/3 1.5", "4 1 0/3 3.5", "6 2 0/3 5.5"]

    with path.open("a") as file:
        file.write("8 2 2/3")  # killed while it wrote
    clock = Clock(10, step=4, samples=16)
    run(monitor_with([ReportLog(path, report_line, step_of, clock)], clock=clock), clock, 2)
    assert path.read_text().splitlines()[1:3] == ["2 0 1/3 1.5", "4 1 0/3 3.5"]
    assert re.fullmatch(HEADLINE, path.read_text().splitlines()[3])
    assert path.read_text().splitlines()[4:] == ["6 2 0/3 5.5"]


def test_lines_of_others_stay_in_a_log_that_is_continued(tmp_path):
    path = tmp_path / "loss_log.txt"
    path.write_text("(V, epoch: 1) l1:2\n")
    ReportLog(path, report_line, step_of, Clock(10))
    assert path.read_text().startswith("(V, epoch: 1) l1:2\n===")


def test_waiting_for_data_is_measured(tmp_path):
    clock = Clock(8)
    monitor = monitor_with([LogFile(tmp_path / "log.jsonl", 0)], clock=clock, print_every=1)

    def slow():
        while True:
            time.sleep(0.05)
            yield {}

    batches = monitor.timed(slow())
    next(batches)
    run(monitor, clock, 1)
    assert json.loads((tmp_path / "log.jsonl").read_text())["waiting_for_data"] > 0.3


def test_a_broken_sink_is_dropped_with_one_warning(tmp_path, caplog):
    class Broken(Sink):
        def report(self, entry):
            raise OSError("disk full")

    clock = Clock(8)
    run(monitor_with([Broken(), LogFile(tmp_path / "log.jsonl", 0)], clock=clock), clock)
    assert caplog.text.count("stopped reporting to Broken: OSError: disk full") == 1
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 5


def test_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    clock = Clock(8)
    monitor = monitor_with([TensorBoard(tmp_path, 0)], clock=clock)
    run(monitor, clock)
    monitor.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in events.Scalars("loss/l1")] == [1.5, 3.5, 5.5, 7.5, 9.5]
    assert len(events.Images("pictures")) == 2


def test_grid_shows_every_column_and_pads_short_ones():
    grid = labelled_grid({"a": np.ones((3, 3, 8, 8)), "b": np.zeros((1, 1, 4, 8))}, rows=2, min_height=8)
    assert grid.shape == (18 + 2 * 8, 8 + 16, 3)
    assert (grid[18:, :8] == 255).all() and (grid[18:, 8:] == 0).all()


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def windows(port, environment):
    import visdom

    client = visdom.Visdom(port=port, env=environment, raise_exceptions=True, use_incoming_socket=False)
    return json.loads(client.get_window_data(env=environment) or "{}")


def until(condition, patience=30):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            if condition():
                return True
        except (OSError, ValueError, KeyError):  # the server or the window is not there yet
            pass
        time.sleep(0.1)
    return False


def curve(port, name):
    window = windows(port, "run")[f"loss {name}"]
    return list(window["content"]["data"][0]["y"])


@pytest.mark.slow
def test_visdom_is_started_survived_and_found_again(tmp_path, port, caplog, monkeypatch):
    monkeypatch.setattr(Visdom, "RETRY", 0.2)
    caplog.set_level("INFO")
    clock = Clock(8)
    sink = Visdom("http://127.0.0.1", port, "run", "batch_size: 4", tmp_path / "visdom")
    assert "started visdom for this run" in caplog.text and "cannot open" not in caplog.text
    monitor = monitor_with([sink], clock=clock)
    try:
        run(monitor, clock, 4)
        assert until(lambda: curve(port, "l1") == [1.5, 3.5])
        assert until(lambda: {"options", "pictures", "loss gan"} <= set(windows(port, "run")))
        assert "batch_size: 4" in windows(port, "run")["options"]["content"]

        sink.own_server.kill()
        sink.own_server.wait()
        run(monitor, clock, 4)
        assert until(lambda: "visdom at" in caplog.text)
        run(monitor, clock, 2)
        assert monitor.sinks == [sink], "training goes on, and the sink waits"
        sink.own_server = visdom_server.start_in_background(port, tmp_path / "again")
        assert until(lambda: curve(port, "l1") == [1.5, 3.5, 5.5, 7.5, 9.5]), "the whole curve is there again"
        assert until(lambda: "visdom is back" in caplog.text)
        assert caplog.text.count("lost visdom at") == 1
    finally:
        monitor.close()
    assert until(lambda: not visdom_server.is_listening(port)), "it ends with the run"


class Named(HTMLParser):
    """The addresses that a page loads, in `found`."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        wanted = {"script": "src", "link": "href", "img": "src"}.get(tag)
        self.found += [value for name, value in attributes if name == wanted and value]


def fetch(url):
    """The status and the content of an address, as a browser gets them."""
    try:
        with urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, b""


def visdom_with_scripts(folder):
    """Copy visdom's package, with a stand-in for every script that it downloads at its first start."""
    import visdom
    from visdom.server import build

    package = shutil.copytree(Path(visdom.__file__).parent, folder / "visdom")
    named = re.findall(r'"([^"\n]*)"', Path(build.__file__).read_text())
    for kind in ("css", "js"):
        (package / "static" / kind).mkdir(exist_ok=True)
        for name in (name for name in named if name.endswith(f".{kind}") and "/" not in name):
            (package / "static" / kind / name).touch()
    for name in ("MathJax.js", "config/TeX-AMS-MML_HTMLorMML.js"):
        path = package / "static/js/mathjax/2.7.5" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (package / "static/version.built").write_text(visdom.__version__)


def test_absent_files_of_the_visdom_page_are_reported(tmp_path, monkeypatch):
    visdom_with_scripts(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "visdom", raising=False)
    assert visdom_server.missing_files() == []
    (tmp_path / "visdom" / "static" / "js" / "jquery.min.js").unlink()
    assert visdom_server.missing_files() == ["js/jquery.min.js"]


def test_packed_files_of_the_visdom_page_install_without_a_network(tmp_path):
    visdom_with_scripts(tmp_path / "packed")
    visdom_with_scripts(tmp_path / "here")
    static = tmp_path / "here" / "visdom" / "static"
    wanted = sorted(path.name for path in static.glob("js/*"))
    for path in (static / "version.built", *static.glob("js/*.min.js")):
        path.unlink()
    subprocess.run(["tar", "-cf", "files.tar", "-C", "packed/visdom/static", "."], cwd=tmp_path, check=True)
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path / "here"} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    script = ["bash", str(ROOT / "script" / "visdom_offline.sh")]
    environment = os.environ | {"GRIMACE_VENV": str(tmp_path / "venv")}
    subprocess.run([*script, "--from", "files.tar"], cwd=tmp_path, env=environment, check=True)
    assert sorted(path.name for path in static.glob("js/*")) == wanted
    assert (static / "version.built").read_text() == (static.parent / "VERSION").read_text()
    told = subprocess.run([*script, "--from", "absent.tar"], env=environment, capture_output=True, text=True)
    assert told.returncode == 2 and "absent.tar: no such file" in told.stderr


def test_the_visdom_page_opens_with_every_file_that_it_names(tmp_path, port, monkeypatch):
    visdom_with_scripts(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = visdom_server.start_in_background(port, tmp_path / "environments")
    try:
        assert visdom_server.page_problem(port) is None
        for page in (f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/env/first_try"):
            status, content = fetch(page)
            assert status == 200, page
            named = Named()
            named.feed(content.decode())
            files = {urljoin(page, name) for name in named.found}
            local = sorted(name for name in files if urlparse(name).netloc == urlparse(page).netloc)
            assert len(local) > 15
            assert {name: fetch(name)[0] for name in local} == dict.fromkeys(local, 200)
    finally:
        server.terminate()


def test_a_refused_visdom_page_names_the_remedy(port):
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(403)

    server = HTTPServer(("127.0.0.1", port), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert re.search(r'answers 403.*pip install "tornado<6.6"', visdom_server.page_problem(port))
    finally:
        server.shutdown()
        server.server_close()
    assert "refused" in visdom_server.page_problem(port)


def test_visdom_listens_on_this_machine_alone(tmp_path, port):
    server = visdom_server.start_in_background(port, tmp_path)
    try:
        own = socket.gethostbyname(socket.gethostname())
        assert visdom_server.is_listening(port)
        assert own.startswith("127.") or not visdom_server.is_listening(port, own)
    finally:
        server.terminate()

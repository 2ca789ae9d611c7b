"""Work in the background: how far it is, how it is stopped, what commands leave behind."""

import json
import sys
import threading

import pytest

from util.errors import RunError, UserError
from webapp.commands import lines_in, run_command, step_of
from webapp.work import Progress, Stopped, Work, Workshop, message_of


def test_progress_shows_the_rate_and_the_remaining_time():
    assert Progress("frames", 10, 40, 2.0).line() == "frames: 10 of 40, 2.0 a second, 15 s left"
    assert Progress("frames", 1, 1000, 1.0).line().endswith("17 min left")
    assert Progress("loading").line() == "loading" and Progress("drawing", 3).line() == "drawing, 3"
    assert Progress("frames", 0, 40).line() == "frames: 0 of 40"


def test_work_is_followed_to_its_result():
    work = Work(lambda work: [work.report("frames", n, 2) for n in range(3)] and "made").start()
    for progress in work.updates():
        assert progress.text in ("starting", "frames")
    assert work.result() == "made"


def waiting(reached):
    """Work that goes on until it is stopped."""

    def do(work):
        reached.set()
        while True:
            work.report("waiting")

    return do


@pytest.mark.parametrize("how", ["stop", "leave", "another", "end"])
def test_work_stops_on_request_or_without_a_reader(how):
    shop, reached = Workshop(), threading.Event()
    work = shop.begin("browser", waiting(reached))
    reached.wait()
    if how == "stop":
        assert shop.stop("browser") and not shop.stop("browser")
    elif how == "leave":
        updates = work.updates()
        next(updates)
        updates.close()  # what gradio does to the handler of a browser that is gone
    elif how == "another":
        shop.begin("browser", lambda work: None).result()
    else:
        shop.stop_all()
    with pytest.raises(Stopped):
        work.result()


def test_errors_are_shown_in_one_line_and_bugs_are_logged(caplog):
    assert message_of(UserError("--fps 0: is not above 0")) == "--fps 0: is not above 0"
    work = Work(lambda work: [][0]).start()
    with pytest.raises(IndexError) as error:
        work.result()
    assert "IndexError" in message_of(error.value) and "Traceback" in caplog.text


def test_a_command_is_watched_and_its_errors_are_shown(tmp_path):
    log, counted = tmp_path / "log.txt", iter(range(100))
    work = Work(lambda work: None)
    run_command([sys.executable, "-c", "print('fine')"], work, "x", lambda: (next(counted), 9), log)
    assert log.read_text() == "fine\n"
    broken = [sys.executable, "-c", "import sys; print('much'); print('error: no such file'); sys.exit(2)"]
    with pytest.raises(RunError, match="error: no such file"):
        run_command(broken, work, "x", lambda: (0, None), log)
    run_command(broken, work, "x", lambda: (0, None), log, accepted=(2,))


def test_a_stopped_command_may_finish_its_step(tmp_path):
    program = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('saved').touch(), sys.exit(143)))\n"
        "pathlib.Path('started').touch()\n"
        "time.sleep(600)"
    )
    script = tmp_path / "train.py"
    script.write_text(program.replace("'saved'", repr(str(tmp_path / "saved"))).replace(
        "'started'", repr(str(tmp_path / "started"))))  # fmt: skip
    work = Work(lambda work: None)

    def probe():
        if (tmp_path / "started").exists():
            work.stop()
        return 0, None

    with pytest.raises(Stopped):
        run_command([sys.executable, str(script)], work, "x", probe, tmp_path / "log.txt")
    assert (tmp_path / "saved").exists()


def test_steps_and_lines_are_counted_in_files_that_are_being_written(tmp_path):
    assert step_of(tmp_path, 9) == (0, 9) and lines_in(tmp_path / "none") == 0
    (tmp_path / "log.jsonl").write_text("\n".join(json.dumps({"step": step}) for step in (5, 10)) + '\n{"st')
    assert step_of(tmp_path, None) == (10, None) and lines_in(tmp_path / "log.jsonl") == 2

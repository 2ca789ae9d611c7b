"""The app in a browser: a newcomer's way, a face that is clicked on, sliders, the camera, a browser that leaves."""

import re
import shlex
import threading

import cv2
import numpy as np
import pytest
import torch
from browser import CHROMIUM, Browser
from paths import ROOT

import grimace
from data.sample_faces import render, tiny_clip
from data.video import open_video, write_image
from options import parse

pytest.importorskip("gradio")

from webapp import jobs
from webapp.server import POLICY, Address, quiet_folder, serve
from webapp.work import Stopped

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def served(sample, tmp_path_factory):
    """The app with a run of action units, and where it is."""
    from webapp.context import App, Limits
    from webapp.page import CSS, THEME, build

    folder = tmp_path_factory.mktemp("app")
    grimace.train(
        config=ROOT / "configs" / "tiny" / "ganimation.yaml", dataroot=sample / "aus", steps=1, batch_size=2,
        nThreads=0, device="cpu", checkpoints_dir=folder / "runs", name="units", validate_every=0,
    )  # fmt: skip
    with quiet_folder() as given:
        app = App(
            device=torch.device("cpu"), runs=folder / "runs", results=folder / "results", folder=given,
            limits=Limits(60, 50), local=True,
        )  # fmt: skip
        page = build(app)
        address = serve(
            page, Address(), results=folder / "results", megabytes=50, theme=THEME, css=CSS, block=False
        )  # fmt: skip
        yield app, address
        page.close()


@pytest.fixture
def browser(served, tmp_path):
    """A browser whose page is ready, with a drawn person before its camera."""
    frames, _ = tiny_clip(identity=5, frames=8, size=256, kind=1)
    with (tmp_path / "camera.y4m").open("wb") as file:
        file.write(b"YUV4MPEG2 W256 H256 F25:1 Ip A1:1 C420jpeg\n")
        for frame in frames:
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes())
    options = (*CAMERA, f"--use-file-for-fake-video-capture={tmp_path / 'camera.y4m'}")
    with Browser(tmp_path / "profile", 1400, 1400, options) as opened:
        opened.open(served[1])
        opened.until("document.body.innerText.includes('crop video')")
        yield opened


def choose_people(browser):
    for what, shown in (("pictures", "#source img"), ("videos", "#driving video")):
        browser.run(f"document.querySelector('#{what} button').click()")
        browser.until(f"!!document.querySelector('{shown}')")
    browser.until("!!document.querySelector('#driving_input img') && !!document.querySelector('#source_input img')")


def text(browser, selector):
    return browser.run(f"document.querySelector('{selector}').innerText")


def open_tab(browser, name):
    browser.run(f"[...document.querySelectorAll('[role=tab]')].find(one => one.innerText.trim() == '{name}').click()")


def click(browser, found, across=0.5):
    place = f"(one => [one.left + {across} * one.width, one.top + one.height / 2])(({found}).getBoundingClientRect())"
    x, y = browser.run(place)
    for kind in ("mousePressed", "mouseReleased"):
        browser.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def give(browser, selector, *files):
    document = browser.send("DOM.getDocument")["root"]["nodeId"]
    node = browser.send("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
    browser.send("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])


def test_a_first_visit_animates_and_loads_nothing_from_other_servers(served, browser):
    app, address = served
    choose_people(browser)
    browser.run("document.querySelector('#run').click()")
    browser.until("document.querySelector('#progress').innerText.includes('done')")
    browser.until("document.querySelector('#result video')?.readyState >= 2")
    assert browser.run("document.querySelector('#compared video').videoWidth") == 3 * 128
    (outputs,) = app.folder.glob("browsers/*/*_compared.mp4")
    with open_video(outputs) as video:
        assert video.has_audio
    arguments = shlex.split(browser.run("document.querySelector('#command textarea').value"))
    assert parse(arguments[2:], training=False).driving_video == app.videos[0].name
    asked = [url for url in browser.requests() if not url.startswith(("data:", "blob:"))]
    assert asked and all(url.startswith(address) for url in asked) and not browser.errors()
    headers = browser.run("fetch(location.href).then(answer => answer.headers.get('content-security-policy'))")
    assert headers == POLICY


def test_a_face_is_chosen_by_a_click(browser, tmp_path):
    write_image(tmp_path / "two.png", np.concatenate([render(identity=n, size=192).image for n in (3, 8)], axis=1))
    give(browser, "#source input[type=file]", tmp_path / "two.png")
    browser.until("document.querySelector('#source_summary').innerText.includes('2 faces')")
    browser.until("document.querySelector('#source_view img').naturalWidth > 0")
    number = "[...document.querySelectorAll('input, textarea')].find(one => one.value == '{}')"
    seen = "document.querySelector('#source_input img').src"
    before = None  # the largest face may be the first one that is clicked on
    for across, face in ((0.25, 1), (0.75, 2), (0.25, 1)):
        click(browser, "document.querySelector('#source_view img')", across)
        browser.until(f"!!{number.format(face)}")
        browser.until(f"{seen} != '{before}'")
        before = browser.run(seen)


def test_sliders_of_action_units_change_the_picture(browser):
    click(browser, "document.querySelector('#model input')")
    units = "[...document.querySelectorAll('[role=option]')].find(one => one.innerText.includes('units'))"
    browser.until(f"!!{units}")
    click(browser, units)
    browser.until("!!document.querySelector('#unit_AU26 input[type=range]')")
    browser.run("document.querySelector('#pictures button').click()")
    browser.until("!!document.querySelector('#picture img')")
    browser.until("document.querySelector('#driving')?.offsetParent == null")  # nothing drives but the sliders
    before = browser.run("document.querySelector('#picture img').src")
    move = "slider.value = 5; slider.dispatchEvent(new Event('input', {bubbles: true}))"
    browser.run(f"(slider => {{ {move} }})(document.querySelector('#unit_AU26 input[type=range]'))")
    browser.until(f"document.querySelector('#picture img').src != '{before}'")
    browser.run("document.querySelector('#run').click()")
    browser.until("document.querySelector('#progress').innerText.includes('done')")
    assert "--au=AU26=5" in browser.run("document.querySelector('#command textarea').value")


def test_the_picture_follows_the_camera_and_a_meter_shows_the_speed(browser):
    choose_people(browser)
    open_tab(browser, "Live")
    for label in ("Webcam", "Record"):
        button = f"[...document.querySelectorAll('#camera button')].find(one => one.innerText.includes('{label}'))"
        browser.until(f"!!{button}")
        browser.run(f"{button}.click()")
    browser.until("document.querySelector('#meter').innerText.includes('frames/s')")
    assert re.match(r"\d+\.\d frames/s \(\d+ ms", text(browser, "#meter"))
    browser.until("!!document.querySelector('#live img')")


def test_closing_the_browser_stops_its_work_and_removes_its_files(served, tmp_path, monkeypatch):
    app, address = served
    working, over = threading.Event(), threading.Event()

    def endless(models, pair, folder, work):
        (folder / "half.mp4").touch()
        working.set()
        try:
            while True:
                work.report("frames", 1, 2)
        except Stopped:
            over.set()
            raise

    monkeypatch.setattr(jobs, "animate", endless)
    with Browser(tmp_path / "profile", 1400, 1400) as opened:
        opened.open(address)
        opened.until("document.body.innerText.includes('crop video')")
        choose_people(opened)
        opened.run("document.querySelector('#run').click()")
        assert working.wait(60)
        (half,) = app.folder.glob("browsers/*/half.mp4")
    assert over.wait(60)
    for _ in range(600):
        if not half.exists():
            return
        threading.Event().wait(0.1)
    raise AssertionError("its files are still there")


def test_work_is_stopped_by_the_button(browser, monkeypatch):
    def endless(models, pair, folder, work):
        while True:
            work.report("frames", 1, 2)

    monkeypatch.setattr(jobs, "animate", endless)
    choose_people(browser)
    browser.run("document.querySelector('#run').click()")
    browser.until("document.querySelector('#progress').innerText.includes('frames: 1 of 2')")
    browser.run("document.querySelector('#stop').click()")
    browser.until("document.querySelector('#progress').innerText.includes('stopped')")

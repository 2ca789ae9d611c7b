"""The page of results in a browser: what it loads and plays, finds and sorts, and its large view."""

import json
import os
from urllib.parse import unquote

import numpy as np
import pytest
from browser import CHROMIUM, Browser

from data.jobs.page_files import PageFiles
from data.video import VideoWriter
from engine.records import Commands, Failures, Records
from engine.results_page import write_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

COUNT, FRAMES, SIDE = 240, 10, 64
WITH = {"weights": "1", "options": "2"}


def frames(bright):
    return [np.full((SIDE, SIDE, 3), (bright, 20 * number, 90), np.uint8) for number in range(FRAMES)]


def write_result(path, bright, truth):
    """A result with what the page needs of it; its facts."""
    writer = VideoWriter(path, 10, as_folder=path.suffix == "")
    page = PageFiles(path, 10, source=frames(bright)[0], with_truth=truth)
    with writer, page:
        for frame in frames(bright):
            writer.write(frame)
            page.write(frame, frame)
    return {"output": path, "frames": FRAMES, "fps": "10"} | page.facts


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Many results: links to one video, but for a folder of frames and one with truth and metrics."""
    folder = tmp_path_factory.mktemp("results")
    records = Records(folder, WITH)
    records.add(
        write_result(folder / "a#first.mp4", 200, truth=True) | {"l1": 0.5, "l1_of_repeating": 1, "source": "anna.png"}
    )
    records.add(write_result(folder / "frames", 100, truth=True) | {"l1": 0.4, "l1_of_repeating": 1})
    for number in range(COUNT - 2):
        output = folder / f"z{number:03d}.mp4"
        os.link(folder / "a#first.mp4", output)
        facts = {"frames": FRAMES, "fps": "10", "size": [SIDE, SIDE], "l1": number / 1000, "l1_of_repeating": 1}
        records.add({"output": output} | facts)
    with Failures(folder, (1, 1), 0, 1) as failures:
        failures.add({"name": "lost", "output": folder / "lost.mp4"}, "<b>no video</b>")
    Commands(folder).add({"command": "python test.py --name x", "differing": {"steps": "3"}} | WITH)
    rows = [f"{name},{number},{number / 10}" for name in ("a#first", "frames") for number in range(FRAMES)]
    (folder / "metrics.csv").write_text("\n".join(["video,frame,psnr", *rows]) + "\n")
    told = {
        "videos": {"a#first": {"psnr": 20.0}, "frames": {"psnr": 30.0}},
        "definitions": {"psnr": {"better": "higher"}},
    }
    (folder / "metrics.json").write_text(json.dumps(told))
    assert write_page(folder) == COUNT
    return folder


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(started, results):
    """The browser, newly on the page."""
    started.open("about:blank?next")
    started.events.clear()
    started.open((results / "index.html").as_uri())
    yield started
    assert started.errors() == []


def names(browser):
    return browser.run("chosen.map(index => results[index].name)")


def choose(browser, name, value, event):
    browser.run(f"$('{name}').value = {json.dumps(value)}; $('{name}').dispatchEvent(new Event('{event}'))")


def test_only_what_is_visible_loads_and_plays(browser, results):
    browser.until("document.querySelectorAll('#grid video').length > 5")
    browser.until("[...document.querySelectorAll('#grid video')].every(video => !video.paused)")
    assert browser.run("document.querySelectorAll('#grid video').length") < COUNT / 2
    browser.run("scrollTo(0, document.body.scrollHeight)")
    browser.until(f"cards.get({COUNT - 1})?.video && !cards.get({COUNT - 1}).video.paused && !cards.has(0)")
    loaded = {address for address in browser.requests() if address.endswith(".mp4")}
    assert 5 < len(loaded) < COUNT / 2
    inside = (results.as_uri() + "/", "blob:", "data:", "about:")
    assert all(address.startswith(inside) for address in browser.requests())


def test_all_videos_stop_in_step(browser):
    browser.until("[...document.querySelectorAll('#grid video')].filter(video => video.currentTime > 0.2).length > 5")
    browser.run("$('play').click()")
    browser.until("[...document.querySelectorAll('#grid video')].every(video => video.paused && !video.seeking)")
    times = browser.run("[...document.querySelectorAll('#grid video')].map(video => video.currentTime)")
    assert max(times) - min(times) < 0.03 and browser.run("$('play').textContent") == "play"


def test_worst_come_first_and_filters_take_words_and_numbers(browser):
    choose(browser, "sort", "psnr", "change")
    assert browser.run("$('order').selectedOptions[0].textContent") == "worst first"
    assert names(browser)[:3] == ["a#first.mp4", "frames", "z000.mp4"], "those without a value come last"
    choose(browser, "sort", "l1", "change")
    assert names(browser)[:3] == ["a#first.mp4", "frames", f"z{COUNT - 3}.mp4"]
    choose(browser, "order", "up", "change")
    assert names(browser)[:2] == ["z000.mp4", "z001.mp4"]
    choose(browser, "filter", "l1 >= 0.002, l1 < 0.005, z", "input")
    assert names(browser) == ["z002.mp4", "z003.mp4", "z004.mp4"]
    assert browser.run("$('count').textContent") == f"3 of {COUNT}"
    assert browser.run("document.querySelectorAll('#grid li').length") == 3
    choose(browser, "filter", "source: ANNA", "input")
    assert names(browser) == ["a#first.mp4"]
    choose(browser, "filter", "lpips < 3", "input")
    assert "no fact called lpips < 3" in browser.run("$('count').textContent")


def test_the_address_keeps_filter_order_and_large_view(browser, results):
    choose(browser, "filter", "z00", "input")
    choose(browser, "sort", "l1", "change")
    browser.run("openLarge(chosen[0])")
    address = browser.run("location.href")
    browser.open("about:blank?next")
    browser.open(address)
    assert names(browser)[0] == "z009.mp4" and browser.run("view.result.name") == "z009.mp4"
    assert unquote(address).startswith(results.as_uri())


def test_keys_open_step_and_close_the_large_view(browser):
    browser.run("document.querySelector('#grid li button').focus()")
    browser.press("Enter")
    browser.until("dialog.open && view.panels.result.node.duration > 0")
    browser.press("ArrowRight")
    browser.until("view.result.name === 'frames' && dialog.open")
    browser.press("ArrowLeft")
    browser.until("view.result.name === 'a#first.mp4' && view.panels.truth.node.duration > 0")
    browser.run("seekFrame(4)")
    browser.press(".", "Period")
    browser.until(f"frameNow() === 5 && $('frame').textContent === 'frame 5 of {FRAMES}'")
    for panel in ("result", "truth"):  # the same frame of both
        browser.until(f"Math.abs(view.panels.{panel}.node.currentTime - 0.55) < 0.02")
    browser.press(" ", "Space")
    browser.until("!view.panels.result.node.paused && largeClock.playing")
    browser.press("Escape")
    browser.until("!dialog.open && document.activeElement === cards.get(0).item.firstChild")


def test_a_slider_wipes_between_result_and_truth(browser):
    browser.run("openLarge(0)")
    browser.press("w")
    browser.until("$('layout').value === 'wipe' && view.panels.truth.node.readyState > 1")
    choose(browser, "wipe", 25, "input")
    assert browser.run("getComputedStyle(view.panels.result.node).clipPath") == "inset(0px 0px 0px 25%)"
    both = "[view.panels.truth.node, view.panels.result.node].map(node => JSON.stringify(node.getBoundingClientRect()))"
    truth, result = browser.run(both)
    assert truth == result, "the two lie on each other"


def test_curves_follow_the_frame_and_lead_to_the_worst(browser):
    browser.run("openLarge(0)")
    browser.until("document.querySelectorAll('.curve').length === 1")
    browser.run("seekFrame(6)")
    browser.until("document.querySelector('.curve output').textContent === '0.6'")
    assert browser.run("document.querySelector('.curve .head').style.left").startswith("66.6")
    browser.run("document.querySelector('.curve button').click()")
    browser.until("frameNow() === 0")  # psnr is better when it is higher


def test_curves_of_a_result_that_was_left_do_not_appear_beside_another(browser):
    places = (f"results.findIndex(one => one.name === '{name}')" for name in ("a#first.mp4", "z000.mp4"))
    curved, bare = map(browser.run, places)
    # The script is asked for, and arrives when another result is shown.
    browser.run(f"openLarge({curved}); late = document.getElementById('curves-script'); openLarge({bare})")
    browser.run("new Promise(done => { late.onload = done; setTimeout(done, 2000); })")
    assert browser.run("document.querySelectorAll('#curves .curve').length") == 0
    browser.run(f"openLarge({curved})")
    browser.until("document.querySelectorAll('#curves .curve').length === 1")


def test_a_folder_of_frames_plays(browser):
    browser.run("openLarge(1)")
    browser.run("seekFrame(7)")
    shown = "view.panels.result.node"
    browser.until(f"{shown}.src.endsWith('frames/000007.png') && {shown}.naturalWidth === {SIDE}")
    browser.run("$('large-play').click()")
    browser.until("!view.panels.result.node.src.endsWith('000007.png')")


def test_cards_are_as_wide_as_their_pictures_and_fit_a_narrow_window(browser):
    browser.run("results[0].width = 3 * results[0].height; arrange()")
    wide, other = browser.run("[0, 1].map(index => cards.get(index).item.offsetWidth)")
    assert wide - 2 == 3 * (other - 2)
    choose(browser, "size", 320, "input")
    assert browser.run("cards.get(1).item.offsetWidth") == 322
    browser.send("Emulation.setDeviceMetricsOverride", width=400, height=700, deviceScaleFactor=1, mobile=False)
    browser.until("innerWidth === 400")
    browser.run("arrange()")
    assert browser.run("document.documentElement.scrollWidth") <= 400
    browser.run("openLarge(0)")
    assert browser.run("dialog.scrollWidth") <= 400
    browser.send("Emulation.clearDeviceMetricsOverride")


def test_the_page_shows_failures_and_commands(browser):
    text = browser.run("document.querySelector('.lost').textContent")
    assert "1 failed" in text and "<b>no video</b>" in text
    browser.run("openLarge(0); document.querySelector('#large-facts a').click()")
    assert browser.run("!dialog.open && $('made0').open && document.activeElement.tagName === 'SUMMARY'")
    assert "python test.py --name x" in browser.run("$('made0').textContent")


@pytest.mark.parametrize("large", [False, True])
def test_a_screen_reader_has_a_name_for_everything_to_use(browser, large):
    browser.run("openLarge(0)" if large else "1")
    browser.until("document.querySelectorAll('.curve').length === 1" if large else "cards.size > 5")
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    used = [node for node in nodes if not node["ignored"] and node["role"]["value"] in
            ("button", "slider", "combobox", "searchbox", "dialog", "link", "list", "image")]  # fmt: skip
    assert len(used) > 10 and all(node.get("name", {}).get("value") for node in used), used


def test_light_and_dark_follow_the_system(browser):
    colours = []
    for scheme in ("light", "dark"):
        browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        colours.append(browser.run("getComputedStyle(document.body).backgroundColor"))
    browser.send("Emulation.setEmulatedMedia", features=[])
    assert colours == ["rgb(255, 255, 255)", "rgb(24, 24, 24)"]

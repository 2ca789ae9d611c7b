"""The container's commands: prepare.py animates with test.py, prepare.sh gives Docker the right files."""

import os
import re
import shutil
import subprocess

import pytest
from paths import ROOT
from running import run

from data.sample_faces import tiny_clip
from data.video import VideoWriter, open_video, write_image


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A drawn person and a video of another."""
    folder = tmp_path_factory.mktemp("files")
    write_image(folder / "me.png", tiny_clip(identity=1, frames=1, size=256)[0][0])
    with VideoWriter(folder / "talk it.mp4", 25) as writer:
        for frame in tiny_clip(identity=2, frames=3, size=256)[0]:
            writer.write(frame)
    return folder


@pytest.mark.slow
def test_prepare_animates_with_the_own_model(files):
    pair = ["--source_image", "me.png", "--driving_video", "talk it.mp4"]
    run(files, *pair, "--output", "out.mp4", "--cpu", script="docker/prepare.py")
    with open_video(files / "out.mp4") as made:
        assert len(made) == 3 and made.size == (128, 128)
    told = run(files, *pair, script="docker/prepare.py", status=2)
    assert "the following arguments are required: --output" in told


def test_the_wrapper_mounts_the_files_and_passes_other_options_on(files, tmp_path):
    program = tmp_path / "docker"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >> told\n')
    program.chmod(0o755)
    environment = os.environ | {"GRIMACE_DOCKER": str(program), "GRIMACE_GPUS": "all"}

    def prepare(*words):
        command = ["bash", str(ROOT / "docker" / "prepare.sh"), *words]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)

    pair = ["--source_image", str(files / "me.png"), f"--driving_video={files / 'talk it.mp4'}"]
    assert prepare(*pair, "--output", "new/out.mp4", "--compare").returncode == 0
    told = (tmp_path / "told").read_text().splitlines()
    told = told[told.index("run") :]
    assert f"{files / 'talk it.mp4'}:/in/driving/talk it.mp4:ro" in told and f"{tmp_path / 'new'}:/out" in told
    assert told[told.index("--gpus") + 1] == "all" and f"{os.getuid()}:{os.getgid()}" in told
    assert told[told.index("python") :] == [
        "python", "prepare.py", "--source_image", "/in/source/me.png", "--driving_video", "/in/driving/talk it.mp4",
        "--output", "/out/out.mp4", "--compare",
    ]  # fmt: skip
    refused = prepare("--source_image", "absent.png", "--output", "out.mp4")
    assert refused.returncode == 2 and "absent.png: no such file" in refused.stderr
    shutil.copy(files / "talk it.mp4", tmp_path / "12:30.mp4")
    refused = prepare(*pair[:2], "--driving_video=12:30.mp4", "--output", "out.mp4")
    assert (
        refused.returncode == 2 and "12:30.mp4: a container cannot get files whose path has a colon" in refused.stderr
    )


def test_the_image_copies_existing_files_and_no_data():
    text = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (.+) \./$", text, re.MULTILINE)[0].split()
    assert all((ROOT / name).is_file() for name in [*copied, "docker/prepare.py"])
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {"dataset/*", "result", "eval_results", "weights/*", "!weights/own", ".git"} <= set(ignored)
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)

"""Grimace from Python: what it makes is what test.py makes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from paths import ROOT
from running import environment
from running import run as command

import grimace
from data.sample_faces import render
from data.video import open_video, read_image, write_image
from util.errors import UserError


@pytest.fixture(scope="module")
def run(sample, tmp_path_factory):
    """A run of a few steps of the small fomm, trained from Python, and its folder."""
    folder = tmp_path_factory.mktemp("python")
    model = grimace.train(
        config=ROOT / "configs" / "tiny" / "fomm.yaml", dataroot=sample, steps=2, batch_size=2, nThreads=0,
        device="cpu", checkpoints_dir=folder, name="mine", validate_every=0,
    )  # fmt: skip
    return model, folder / "mine"


@pytest.fixture(scope="module")
def clip(sample, tmp_path_factory):
    """A video, its first frame as a picture, and its frames."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("clip")
    path = next(path for path in sorted((sample / "test").iterdir()))
    with open_video(path) as video:
        frames = list(video)
    Image.fromarray(frames[0]).save(folder / "me.png")
    return path, folder / "me.png", np.stack(frames)


@pytest.mark.slow
def test_frames_are_those_of_the_command(run, clip, tmp_path):
    model, folder = run
    path, picture, frames = clip
    command(
        tmp_path, f"--checkpoint={folder}", f"--source_image={picture}", f"--driving_video={path}", "--gpu_id=-1",
        "--format=png", "--output=made", script="test.py",
    )  # fmt: skip
    expected = [read_image(one) for one in sorted((tmp_path / "made").glob("*.png"))]
    made = list(model.animate(picture, path))
    assert len(made) == len(frames) == len(expected)
    assert all(np.array_equal(one, other) for one, other in zip(made, expected, strict=True))
    output = model.animate(picture, path, tmp_path / "out" / "a.mp4")
    with open_video(output) as video:
        assert len(video) == len(frames)


def test_paths_arrays_generators_and_encoded_sources_make_the_same_frames(run, clip):
    model, path, (picture, frames) = run[0], clip[0], clip[1:]
    expected = np.stack(list(model.animate(picture, path)))
    source = model.encode(picture)
    for driven in (
        model.animate(frames[0], path),
        model.animate(str(picture), list(frames)),
        model.animate(frames[0], frames),
        model.animate(picture, (frame for frame in frames)),
        model.animate(source, path),
        model.animate(source, frames),
    ):
        assert np.array_equal(np.stack(list(driven)), expected)
    live = [model.step(source, frame) for frame in frames]
    assert np.abs(np.stack(live).astype(int) - expected).max() <= 1, "batches of one, rounded"
    source.restart()
    assert np.array_equal(model.step(source, frames[0]), live[0])


def test_frames_are_made_lazily(run, clip):
    seen = []

    def endless():
        while True:
            seen.append(1)
            yield clip[2][0]

    made = run[0].animate(clip[2][0], endless())
    assert not seen
    next(made)
    assert len(seen) == run[0].options.animate_batch


def test_a_source_is_encoded_once(run, clip, monkeypatch):
    model, calls = run[0], []
    encode = model.family.encode_source
    monkeypatch.setattr(model.family, "encode_source", lambda source: calls.append(1) or encode(source))
    source = model.encode(clip[1])
    for _ in range(3):
        list(model.animate(source, clip[2]))
    assert calls == [1]


def test_a_reconstruction_has_the_numbers_of_the_command(run, clip, tmp_path, sample):
    model, folder = run
    made = model.reconstruct(clip[0], tmp_path / "again.mp4", metrics=("l1", "ssim/gauss"))
    call = [f"--checkpoint={folder}", "--mode=reconstruction", f"--dataroot={sample}", "--max_clips=1", "--gpu_id=-1"]
    command(tmp_path, *call, "--results_dir=r", script="test.py")
    (entry,) = map(json.loads, (tmp_path / "r" / "results.jsonl").read_text().splitlines())
    assert made.frames == entry["frames"] and made.metrics["l1"] == pytest.approx(entry["l1"], abs=1e-6)
    assert 0 < made.metrics["ssim/gauss"] < 1 and made.output.is_file()


def test_options_are_those_of_the_commands(run, clip, tmp_path):
    model = run[0]
    standard = np.stack(list(model.animate(clip[1], clip[0], relative=False)))
    assert standard.shape == np.stack(list(model.animate(clip[1], clip[0]))).shape
    wide = model.animate(clip[1], clip[0], tmp_path / "wide.mp4", compare=True)
    with open_video(wide) as video:
        assert video.size[1] > 2 * clip[2].shape[2]
    with pytest.raises(UserError, match="no such option.*relative"):
        model.animate(clip[1], clip[0], relativ=False)
    with pytest.raises(UserError, match="set these options of an encoded source in encode"):
        model.animate(model.encode(clip[1]), clip[0], relative=False)
    with pytest.raises(UserError, match="give its path instead of frames"):
        model.animate(clip[1], clip[2], crop_video=True)
    with pytest.raises(UserError, match="no such file or folder"):
        grimace.load(tmp_path / "nothing")


def test_options_that_a_family_reads_when_it_is_built_count_for_one_call(run, clip, tmp_path):
    model, folder = run
    other = grimace.load(folder, relative=False, device="cpu")
    assert model.options.relative and not other.options.relative
    turned = np.stack([frame[:, ::-1] for frame in clip[2]])  # an untrained face does not move by much
    expected = np.stack(list(other.animate(clip[1], turned)))
    assert np.array_equal(np.stack(list(model.animate(clip[1], turned, relative=False))), expected)
    source = model.encode(clip[1], relative=False)
    assert np.array_equal(np.stack(list(model.animate(source, turned))), expected)
    assert model.options.relative, "later calls are as before"
    with pytest.raises(UserError, match=r"precision: set it in grimace\.load"):
        model.animate(clip[1], clip[0], precision="bf16")


def test_work_is_watched_and_aborted_without_leaving_files(run, clip, tmp_path):
    model, seen = run[0], []
    made = model.animate(
        clip[1], clip[0], tmp_path / "a.mp4", comparison=tmp_path / "b.mp4", watch=lambda *how: seen.append(how)
    )
    assert seen[-1] == (len(clip[2]), len(clip[2])) and made == tmp_path / "a.mp4"
    sizes = []
    for name in ("a.mp4", "b.mp4"):
        with open_video(tmp_path / name) as video:
            sizes.append((len(video), video.size[1]))
    side = clip[2].shape[2]
    assert sizes[0] == (len(clip[2]), side) and sizes[1][0] == len(clip[2]) and sizes[1][1] >= 3 * side

    def give_up(done, of):
        raise InterruptedError

    folder = tmp_path / "given_up"
    with pytest.raises(InterruptedError):
        model.animate(clip[1], clip[0], folder / "a.mp4", comparison=folder / "b.mp4", watch=give_up)
    assert not list(folder.iterdir())


def two_people(side=128):
    return np.concatenate([render(identity=number, size=side).image for number in (3, 8)], axis=1)


@pytest.mark.slow
def test_a_preview_shows_the_crops_of_a_call(run, clip, tmp_path):
    model, both = run[0], two_people()
    source, driving = model.preview(both, clip[0], crop_image=True, face=2)
    assert len(source.faces) == 2 and source.faces[0][0] < 128 <= source.faces[1][0]
    assert source.cut[:, 0].min() >= 100, "the second face"
    assert source.network_input.shape == (64, 64, 3) and np.array_equal(driving.picture, clip[2][0])
    item = model.encode(both, crop_image=True, face=2).item
    assert np.array_equal(
        source.network_input, (255 * item["image"].numpy().transpose(1, 2, 0)).round().astype(np.uint8)
    )
    other, _ = model.preview(both, crop_image=True, face="left")
    assert other.cut[:, 0].max() <= 156 and not np.array_equal(other.network_input, source.network_input)
    assert model.preview(None, None) == (None, None)
    with pytest.raises(UserError, match=r"--face 3: picture shows 2 face"):
        model.preview(both, crop_image=True, face=3)


@pytest.fixture(scope="module")
def expressive(sample, tmp_path_factory):
    """A small GANimation of a few steps."""
    return grimace.train(
        config=ROOT / "configs" / "tiny" / "ganimation.yaml", dataroot=sample / "aus", steps=1, batch_size=2,
        nThreads=0, device="cpu", checkpoints_dir=tmp_path_factory.mktemp("units"), name="mine", validate_every=0,
    )  # fmt: skip


@pytest.mark.slow
def test_units_change_a_picture_as_the_command_does(expressive, tmp_path):
    picture = tmp_path / "two.png"
    write_image(picture, two_people())
    options = {"face": 2}
    path = expressive.make(tmp_path / "made", input_path=picture, au="AU12=4", **options)
    assert path == tmp_path / "made" / "two.png"
    source = expressive.encode(two_people(), **options)
    frame = expressive.express(source, {"AU12": 4})
    assert np.array_equal(frame, read_image(path)) and np.array_equal(frame[:, :100], two_people()[:, :100])
    assert np.array_equal(frame, expressive.express(source, [4, 0, 0]))
    assert not np.array_equal(frame, expressive.express(source, {"AU26": 5}))
    with pytest.raises(UserError, match="2 intensities: this model expects 3 units: AU12, AU25, AU26"):
        expressive.express(source, [1, 2])


class Two(torch.utils.data.Dataset):
    """Two samples that an author has in memory."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        picture = torch.linspace(0, 1, 3 * 64 * 64).view(3, 64, 64)
        return {"source": picture, "driving": picture.flip(2 if index else 1), "name": str(index)}


def test_training_accepts_a_dataset_object(tmp_path):
    model = grimace.train(
        config=ROOT / "configs" / "tiny" / "fomm.yaml", dataset=Two(), steps=2, batch_size=2, nThreads=0,
        device="cpu", checkpoints_dir=tmp_path, name="mine", validate_every=0,
    )  # fmt: skip
    assert model.path.parent == tmp_path / "mine" and not model.family.training
    lines = [json.loads(line) for line in (tmp_path / "mine" / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 2 and lines[-1]["epoch"] == 2


@pytest.mark.slow
def test_it_is_imported_from_anywhere_and_adds_its_packages_itself(tmp_path):
    program = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('grimace', {str(ROOT / 'grimace.py')!r})\n"
        "grimace = importlib.util.module_from_spec(spec); spec.loader.exec_module(grimace)\n"
        "print(grimace.load(device='cpu').options.model)"
    )
    variables = environment() | {"PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "mraa", done.stderr

"""LivePortrait by the commands: both stages, resumed, by more processes; a pair with a template; edits."""

import json

import pytest
import torch
from paths import ROOT
from running import run

from data.video import open_video, read_image

pytestmark = pytest.mark.slow
TINY = f"--config={ROOT / 'configs' / 'tiny' / 'live_portrait.yaml'}"


SECOND = f"--config={ROOT / 'configs' / 'tiny' / 'live_portrait_retarget.yaml'}"
GUIDED = ("--weight_guide=1", "--weight_headpose=0.1", "--perceptual_regions=whole,face,lips", "--region_size=32")


def training(sample):
    return (f"--dataroot={sample}", "--batch_size=2", "--num_repeats=1", "--visdom=no", "--nThreads=0")


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    words = (TINY, *training(sample), *GUIDED, "--gpu_id=-1")
    run(folder, *words, "--steps=2")
    run(folder, *words, "--steps=3", "--continue_train")
    return folder


def weights(folder):
    files = sorted(folder.glob("latest-*.pth"))
    assert files
    return {f"{file.stem}.{name}": value for file in files for name, value in torch.load(file).items()}


def test_both_stages_train_resume_and_take_another_number_of_processes(folder, sample):
    # The weights are not those of one process: each draws its own transforms for the equivariance loss.
    run(
        folder,
        TINY,
        *training(sample),
        *GUIDED,
        "--gpu_id=-1,-1",
        "--steps=4",
        "--name=live_portrait",
        "--continue_train",
    )
    state = torch.load(folder / "result" / "live_portrait" / "latest_training.pth", weights_only=False)
    assert state["clock"]["step"] == 4
    assert all(torch.isfinite(value).all() for value in weights(folder / "result" / "live_portrait").values())
    second = (SECOND, *training(sample), "--gpu_id=-1", "--init_from=result/live_portrait", "--name=stitched")
    run(folder, *second, "--steps=2")
    began = weights(folder / "result" / "stitched")
    run(folder, SECOND, *training(sample), "--gpu_id=-1", "--name=stitched", "--steps=4", "--continue_train")
    ended, base = weights(folder / "result" / "stitched"), weights(folder / "result" / "live_portrait")
    moved = {name.split(".")[0] for name, value in ended.items() if not torch.equal(value, began[name])}
    assert moved == {f"latest-{name}" for name in ("stitching", "eye", "lip")}
    kept = [name for name in base if name.startswith(("latest-motion", "latest-warping", "latest-spade"))]
    assert kept and all(torch.equal(base[name], ended[name]) for name in kept)
    clip = sorted((sample / "test").glob("*.mp4"))[0]
    animate(
        folder, "--name=stitched", f"--source_image={clip}", "--source_frame=0", f"--driving_video={clip}",
        "--no_crop_image", "--output=stitched.mp4", tiny=False,
    )  # fmt: skip
    with open_video(folder / "stitched.mp4") as made:
        assert len(made) == 8


def animate(folder, *arguments, status=0, tiny=True):
    return run(folder, *[TINY][: int(tiny)], "--cpu", *arguments, script="test.py", status=status)


def test_a_pair_its_template_and_an_edit(folder, sample):
    clip = sorted((sample / "test").glob("*.mp4"))[0]
    source = [f"--source_image={clip}", "--source_frame=1"]
    animate(folder, *source, f"--driving_video={clip}", "--save_template=nod.npz", "--output=out.mp4", "--compare")
    with open_video(folder / "out.mp4") as made:
        assert len(made) == 8 and made.size == (64, 3 * 64) and made.has_audio
    animate(folder, *source, "--driving_video=nod.npz", "--output=again.mp4")
    with open_video(folder / "again.mp4") as made:
        assert len(made) == 8 and made.size == (64, 64)
    animate(folder, *source, "--edit=yaw=10", "--edit_grid", "--results_dir=edits")
    assert read_image(folder / "edits" / f"{clip.stem}_edit.png").shape == (64, 64, 3)
    records = [json.loads(line) for line in (folder / "edits" / "results.jsonl").read_text().splitlines()]
    assert {record["name"] for record in records} == {f"{clip.stem}_edit", f"{clip.stem}_grid"}
    told = animate(folder, *source, "--edit=smil=1", status=2)
    assert "no such edit" in told and "Traceback" not in told

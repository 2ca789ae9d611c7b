"""test.py as people call it: pairs, lists, test splits, crops, sound, shards, failures."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from fractions import Fraction
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from browser import content_of
from paths import ROOT
from running import run

from data.video import VideoWriter, open_video, read_image, write_image
from engine.distributed import UNHURRIED, start

pytestmark = pytest.mark.slow
TINY = f"--config={ROOT / 'configs' / 'tiny' / 'fomm.yaml'}"


@pytest.fixture(scope="module")
def folder(sample, tmp_path_factory):
    """A working folder with a model of two steps: result/tiny."""
    folder = tmp_path_factory.mktemp("work")
    run(
        folder, TINY, f"--dataroot={sample}", "--steps=2", "--batch_size=2", "--num_repeats=1", "--name=tiny",
        "--gpu_id=-1", "--visdom=no",
    )  # fmt: skip
    return folder


def animate(folder, *arguments, status=0):
    return run(folder, "--name=tiny", "--cpu", *arguments, script="test.py", status=status)


def clips_of(sample):
    return sorted((sample / "test").glob("*.mp4"))


@pytest.fixture(scope="module")
def portrait(sample, folder):
    """A picture larger than the networks' size, with one face in it."""
    with open_video(clips_of(sample)[0]) as video:
        face = np.kron(video[0], np.ones((3, 3, 1), np.uint8))
    picture = np.full((300, 400, 3), 90, np.uint8)
    picture[40 : 40 + face.shape[0], 100 : 100 + face.shape[1]] = face
    write_image(folder / "portrait.png", picture)
    return folder / "portrait.png"


def test_training_writes_the_original_s_line_per_epoch(folder):
    number = r"-?\d+\.\d{5}"
    terms = "; ".join(f"{name} - {number}" for name in ("pixels", "equivariance_value", "equivariance_jacobian"))
    assert re.fullmatch(rf"00000000\) {terms}\n", (folder / "result" / "tiny" / "log.txt").read_text())


def test_one_pair_with_sound(folder, sample, portrait):
    driving = clips_of(sample)[0]
    flags = ("--audio", "--verbose")  # as the originals have them
    output = animate(folder, f"--source_image={portrait}", f"--driving_video={driving}", "--output=out.mp4", *flags)
    assert "wrote out.mp4" in output and "frames/s" in output and re.search(r"kp_detector, [\d,]+ parameters:", output)
    with open_video(folder / "out.mp4") as made, open_video(driving) as video:
        assert len(made) == len(video) and made.fps == video.fps and made.has_audio
        assert made.size == (64, 64)


def test_without_sound_and_lossless(folder, sample, portrait):
    driving = clips_of(sample)[0]
    pair = [f"--source_image={portrait}", f"--driving_video={driving}"]
    animate(folder, *pair, "--output=frames", "--audio=none", "--format=png")
    with open_video(folder / "frames") as made:
        assert len(made) == 8 and made[0].shape == (64, 64, 3)
    animate(folder, *pair, "--output=quiet.mp4", "--audio=none")
    with open_video(folder / "quiet.mp4") as made:
        assert not made.has_audio


def test_frames_are_those_of_the_networks(folder, sample):
    """A picture of the networks' own size passes unchanged through everything around them."""
    from engine.animator import Animator
    from engine.checkpoints.load import load_networks
    from models import find_family
    from options import parse

    driving = clips_of(sample)[0]
    with open_video(driving) as video:
        write_image(folder / "own.png", video[0])
        tensors = [torch.from_numpy(frame.copy()).permute(2, 0, 1).float() / 255 for frame in video]
    animate(folder, "--source_image=own.png", f"--driving_video={driving}", "--output=exact", "--format=png")
    opt = parse([f"--config={folder / 'result' / 'tiny' / 'options.yaml'}"], training=False)
    family = find_family("fomm")(opt, training=False).eval()
    load_networks(family, folder / "result" / "tiny")
    animator = Animator(family, torch.device("cpu"))
    expected = animator.stream({"image": tensors[0]}, ({"image": tensor} for tensor in tensors))
    with open_video(folder / "exact") as made:
        for ours, direct in zip(made, expected, strict=True):
            assert np.abs(ours.astype(int) - direct).max() <= 1


def test_paste_back_leaves_the_rest_of_the_picture_alone(folder, sample, portrait):
    animate(
        folder, f"--source_image={portrait}", f"--driving_video={clips_of(sample)[0]}", "--output=pasted",
        "--format=png", "--paste_back",
    )  # fmt: skip
    whole = read_image(portrait)
    with open_video(folder / "pasted") as made:
        frame = made[3]
    assert frame.shape == whole.shape
    assert np.array_equal(frame[:, :40], whole[:, :40])
    assert not np.array_equal(frame[60:200, 120:280], whole[60:200, 120:280])


def test_side_by_side(folder, sample, portrait):
    pair = [f"--source_image={portrait}", f"--driving_video={clips_of(sample)[0]}"]
    animate(folder, *pair, "--output=three.mp4", "--compare", "-ci", "-cip", "4", "4", "4", "4", "-cv")
    with open_video(folder / "three.mp4") as made:
        assert made.size == (64, 192)


def test_best_frame_keeps_the_order_of_the_driving_video(folder, sample, portrait):
    pair = [f"--source_image={portrait}", f"--driving_video={clips_of(sample)[0]}"]
    animate(folder, *pair, "--output=first", "--format=png")
    animate(folder, *pair, "--output=best", "--format=png", "--best_frame=5")
    animate(folder, *pair, "--output=zero", "--format=png", "--best_frame=0")
    with (
        open_video(folder / "first") as first,
        open_video(folder / "best") as best,
        open_video(folder / "zero") as zero,
    ):
        assert len(first) == len(best) == 8
        assert all(np.array_equal(one, other) for one, other in zip(first, zero, strict=True))
    output = animate(folder, *pair, "--output=x.mp4", "--best_frame=8", status=2)
    assert "has frames 0 to 7" in output


def test_find_best_frame(folder, sample, portrait):
    pair = [f"--source_image={portrait}", f"--driving_video={clips_of(sample)[0]}"]
    animate(folder, *pair, "--output=found.mp4", "-ci", "--find_best_frame")
    with open_video(folder / "found.mp4") as made:
        assert len(made) == 8 and made.size == (64, 64), "faces are looked for at a size at which they are found"


def test_a_list_of_pairs_resumes_and_names_failures(folder, sample, portrait):
    first, second = clips_of(sample)
    (folder / "broken.mp4").write_bytes(b"no video")
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["source", "driving", "frame", "output"])
        rows.writerow([portrait, first, "", ""])
        rows.writerow([portrait, "broken.mp4", "", "lost"])
        rows.writerow([first, second, "2.0", "named/here"])
        rows.writerow([portrait, first, "", f"{'long' * 64}.mp4"])
    output = animate(folder, "--pairs=pairs.csv", "--results_dir=many", "--strips", status=1)
    assert "2 failed" in output and "Traceback" not in output
    assert (folder / "many" / "named" / "png" / "here.png").is_file()
    lost, long = failures_in(folder / "many")
    known = {"name": "lost", "line": "3", "source": str(portrait), "driving": "broken.mp4", "output": "lost.mp4"}
    assert known.items() <= lost.items() and "cannot read it as a video" in lost["reason"]
    assert long["line"] == "5" and "file name too long" in long["reason"]
    page = (folder / "many" / "index.html").read_text()
    assert "<h2>2 failed</h2>" in page and "<td>lost.mp4</td>" in page and "cannot read it as a video" in page
    made = folder / "many" / f"{first.stem}-portrait.mp4"
    stamp = made.stat().st_mtime_ns
    assert made.name in page.replace("%23", "#")
    there = json.loads((folder / "many" / "results.jsonl").read_text().splitlines()[-1])
    assert (there["name"], there["line"], there["output"]) == ("named/here", 4, "named/here.mp4")
    assert (there["source"], there["driving"]) == (str(first), str(second))
    (folder / "broken.mp4").write_bytes(second.read_bytes())
    (folder / "pairs.csv").write_text((folder / "pairs.csv").read_text().replace("long" * 64, "short"))
    output = animate(folder, "--pairs=pairs.csv", "--results_dir=many", "--strips")
    assert "skipped 2 existing results" in output
    assert made.stat().st_mtime_ns == stamp, "what is there is not made again"
    assert not (folder / "many" / "failures.csv").exists(), "nothing fails any more"
    assert "failed" not in (folder / "many" / "index.html").read_text()


def failures_in(folder):
    with (folder / "failures.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_outputs_of_a_list_take_the_format_and_stay_in_the_results_folder(folder, sample, portrait):
    driving = clips_of(sample)[0]
    (folder / "lists").mkdir()
    (folder / "lists" / "out.csv").write_text(
        f"source,driving,output\n{portrait},{driving},a\n{portrait},{driving},in/b\n{portrait},{driving},c.mp4\n"
    )
    animate(folder, "--pairs=lists/out.csv", "--results_dir=formed", "--format=gif")
    made = sorted(str(path.relative_to(folder)) for path in folder.glob("**/*.gif"))
    assert made == ["formed/a.gif", "formed/in/b.gif"] and (folder / "formed" / "c.mp4").is_file()
    assert list((folder / "lists").iterdir()) == [folder / "lists" / "out.csv"]


def test_driving_videos_with_one_stem_get_separate_results(folder, sample, portrait):
    """VoxCeleb calls every driving video 00001.mp4."""
    for name, clip in zip(("p/x", "p/y"), clips_of(sample), strict=True):
        (folder / name).mkdir(parents=True)
        (folder / name / "00001.mp4").write_bytes(clip.read_bytes())
    (folder / "vox.csv").write_text(
        "source,driving\nportrait.png,p/x/00001.mp4\nportrait.png,p/y/00001.mp4\n"
    )  # fmt: skip
    animate(folder, "--pairs=vox.csv", "--results_dir=vox")
    made = sorted(path.name for path in (folder / "vox").glob("*.mp4"))
    assert made == ["x_00001-portrait.mp4", "y_00001-portrait.mp4"]


def test_a_name_outside_the_folder_of_runs_is_refused(folder, tmp_path):
    for script in ("train.py", "test.py"):
        begin = f"--checkpoint={folder / 'result' / 'tiny'}"
        told = run(folder, "--model=fomm", "--name=../../x", begin, script=script, status=2)
        assert "--name ../../x: is outside the folder of runs" in told and "--allow_outside" in told
    (tmp_path / "runs").mkdir()
    (tmp_path / "beside").symlink_to(folder / "result" / "tiny")
    call = [f"--checkpoints_dir={tmp_path / 'runs'}", "--name=../beside", "--print_config"]
    assert "../beside" in run(tmp_path, *call, "--allow_outside", script="test.py")


def test_a_damaged_driving_video_is_recorded_or_fails_with_strict_video(folder, sample, portrait):
    whole = clips_of(sample)[0].read_bytes()
    at = whole.index(b"mdat") + (len(whole) - whole.index(b"mdat")) // 2
    (folder / "half.mp4").write_bytes(whole[:at] if whole.index(b"moov") < at else whole)
    (folder / "half.csv").write_text("source,driving,output\nportrait.png,half.mp4,half\n")
    told = animate(folder, "--pairs=half.csv", "--results_dir=half")
    numbers = re.search(r"half.mp4: .*; (\d) of 8 frames could be read", told)
    assert numbers and 0 < int(numbers[1]) < 8
    (entry,) = [json.loads(line) for line in (folder / "half" / "results.jsonl").read_text().splitlines()]
    assert entry["frames"] == int(numbers[1]) and numbers[0] in entry["damaged"]
    (shown,) = content_of(folder / "half" / "index.html")["results"]
    assert shown["facts"]["damaged"].startswith(numbers[0])
    told = animate(folder, "--pairs=half.csv", "--results_dir=strict", "--strict_video", status=1)
    assert numbers[0] in told and "Traceback" not in told and not list((folder / "strict").glob("*.mp4"))
    (failure,) = failures_in(folder / "strict")
    assert failure["output"] == "half.mp4" and numbers[0] in failure["reason"]


def test_names_outside_utf_8_do_not_stop_a_batch(folder, sample, portrait):
    latin, escaped = os.fsdecode(b"caf\xe9"), r"caf\xe9"
    (folder / latin / "test").mkdir(parents=True)
    shutil.copy(clips_of(sample)[0], folder / latin / "test" / f"{latin}.mp4")
    (folder / latin / "test" / f"{latin} broken.mp4").write_bytes(b"no video")
    animate(folder, f"--dataroot={folder / latin}", "--mode=reconstruction", "--results_dir=latin", status=1)
    (failure,) = failures_in(folder / "latin")
    assert failure["output"] == f"{escaped} broken.mp4" and f"{escaped} broken.mp4: cannot read" in failure["reason"]
    pair = [f"--source_image={portrait}", f"--driving_video={folder / latin / 'test' / f'{latin}.mp4'}"]
    animate(folder, *pair, "--results_dir=latin")
    made = sorted(path.name for path in (folder / "latin").glob("*.mp4"))
    assert made == [f"{escaped}-portrait.mp4", f"{escaped}.mp4"]
    page = (folder / "latin" / "index.html").read_text(encoding="utf-8")
    assert 'href="caf%5Cxe9.mp4"' in page and "<h2>1 failed</h2>" in page
    entries = [json.loads(line) for line in (folder / "latin" / "results.jsonl").read_text().splitlines()]
    assert entries[1]["driving"].endswith(f"{escaped}.mp4") and entries[1]["name"] == f"{escaped}-portrait"


def test_failures_of_shards_are_kept_apart(folder, sample):
    driving = clips_of(sample)[0]
    (folder / "strangers.csv").write_text(f"source,driving\na.png,{driving}\nb.png,{driving}\n")
    for shard in ("1/2", "2/2"):
        animate(folder, "--pairs=strangers.csv", "--results_dir=apart", f"--shard={shard}", status=1)
    written = [(folder / "apart" / f"failures_{part}_of_2.csv").read_text() for part in (1, 2)]
    assert "a.png" in written[0] and "b.png" in written[1]


def test_reconstruction_measures_the_test_split(folder, sample):
    output = animate(folder, f"--dataroot={sample}", "--mode=reconstruction", "--results_dir=rec", "--strips")
    entries = [json.loads(line) for line in (folder / "rec" / "results.jsonl").read_text().splitlines()]
    assert len(entries) == 2 and all(0 < entry["l1"] < 1 and entry["frames"] == 8 for entry in entries)
    mean = sum(entry["l1"] * entry["frames"] for entry in entries) / 16
    printed = float(output.split("Reconstruction loss: ")[1].split()[0])
    assert printed == pytest.approx(mean)
    strip = read_image(next((folder / "rec" / "png").glob("*.png")))
    assert strip.shape == (64, 8 * 64, 3)


def test_reconstructions_are_recorded_with_the_truth_and_their_command(folder, sample):
    call = [f"--dataroot={sample}", "--mode=reconstruction", "--max_clips=1"]
    animate(folder, *call, "--results_dir=shown")
    (shown,) = content_of(folder / "shown" / "index.html")["results"]
    assert shown["facts"]["l1"] > 0 and (shown["width"], shown["height"], shown["frames"]) == (64, 64, 8)
    with open_video(folder / "shown" / unquote(shown["truth"])) as truth, open_video(clips_of(sample)[0]) as driving:
        differences = [abs(a.astype(float) - b).mean() for a, b in zip(truth, driving, strict=True)]
    assert max(differences) < 6, "a copy of the driving video"
    for picture in (shown["poster"], shown["shown_source"]):
        assert read_image(folder / "shown" / unquote(picture)).shape == (64, 64, 3)
    (made,) = [json.loads(line) for line in (folder / "shown" / "commands.jsonl").read_text().splitlines()]
    assert "--results_dir=shown" in made["command"] and made["trained"] == "2 steps"
    assert made["differing"]["mode"] == "reconstruction" and "quality" not in made["differing"]
    assert made["command"] in (folder / "shown" / "index.html").read_text() and shown["made"] == 0
    animate(folder, *call, "--results_dir=bare", "--page_truth=no")
    (bare,) = content_of(folder / "bare" / "index.html")["results"]
    assert "truth" not in bare and [path.suffix for path in (folder / "bare" / ".page").iterdir()] == [".jpg"]


def test_results_of_other_weights_are_distinguished(folder, sample):
    call = [f"--dataroot={sample}", "--mode=reconstruction", "--max_clips=1", "--results_dir=twice"]
    before = animate(folder, *call)
    video = next((folder / "twice").glob("*.mp4"))
    stamp = video.stat().st_mtime_ns
    assert "skipped 1 existing results" in animate(folder, *call)
    weights = folder / "result" / "tiny" / "latest-checkpoint.pth.tar"
    content = torch.load(weights, weights_only=True)
    content["generator"]["final.bias"] += 1
    torch.save(content, folder / "other.pth.tar")
    config = f"--config={folder / 'result' / 'tiny' / 'options.yaml'}"
    told = animate(folder, config, *call, "--checkpoint=other.pth.tar", status=2)
    assert "exists already, made with other weights" in told and video.stat().st_mtime_ns == stamp
    after = animate(folder, config, *call, "--checkpoint=other.pth.tar", "--overwrite")
    losses = [float(output.split("Reconstruction loss: ")[1].split()[0]) for output in (before, after)]
    assert losses[0] != losses[1]


def test_results_of_two_models_are_not_mixed(folder, sample):
    call = [f"--dataroot={sample}", "--mode=reconstruction", "--results_dir=parts"]
    animate(folder, *call, "--shard=1/2")
    (there,) = (folder / "parts").glob("*.mp4")
    assert "made with other options" in animate(folder, *call, "--quality=10", status=2)
    assert list((folder / "parts").glob("*.mp4")) == [there]


def test_several_processes_write_all_failures_and_the_page(folder, sample):
    first, second = clips_of(sample)
    (folder / "some.csv").write_text(
        f"source,driving\nno.png,{first}\nnone.png,{first}\nnothing.png,{second}\n{first},{second}\n"
    )
    call = ["--name=tiny", "--gpu_id=-1,-1", "--pairs=some.csv", "--results_dir=both"]
    run(folder, *call, script="test.py", status=1)
    written = [(folder / "both" / f"failures_{rank}.csv").read_text() for rank in (0, 1)]
    assert "nothing.png" in written[0] and "none.png" in written[1]
    assert f"{second.stem}-{first.stem}".replace("#", "%23") in (folder / "both" / "index.html").read_text()


def test_a_process_waits_for_others_with_longer_videos(monkeypatch):
    joined = {}
    monkeypatch.setattr("torch.distributed.init_process_group", lambda backend, **settings: joined.update(settings))
    monkeypatch.setenv("WORLD_SIZE", "2")
    start([-1], patience=UNHURRIED)
    assert joined["timeout"] > timedelta(days=30)


def test_write_errors_are_reported_without_a_traceback(folder, sample, portrait):
    (folder / "taken.mp4").mkdir()
    pair = [f"--source_image={portrait}", f"--driving_video={clips_of(sample)[0]}", "--output=taken.mp4"]
    output = animate(folder, *pair, "--overwrite", status=1)
    assert "taken.mp4" in output and "Traceback" not in output


def test_names_with_dots_become_folders_of_frames(folder, sample, portrait):
    driving = folder / "my.driving.mp4"
    driving.write_bytes(clips_of(sample)[0].read_bytes())
    animate(folder, f"--source_image={portrait}", f"--driving_video={driving}", "--format=png", "--results_dir=dots")
    with open_video(folder / "dots" / "my.driving-portrait") as made:
        assert len(made) == 8
    (shown,) = content_of(folder / "dots" / "index.html")["results"]
    assert (shown["kind"], shown["frames"], shown["file"]) == ("frames", 8, "my.driving-portrait")


NESTED = """
dataset_params: {root_dir: DATA, frame_shape: [64, 64, 3]}
model_params:
  common_params: {num_kp: 5, num_channels: 3, estimate_jacobian: True}
  kp_detector_params:
    {temperature: 0.1, block_expansion: 16, max_features: 64, scale_factor: 0.25, num_blocks: 3, pad: 3}
  generator_params:
    block_expansion: 24
    max_features: 64
    num_down_blocks: 0
    num_bottleneck_blocks: 1
    estimate_occlusion_map: True
    dense_motion_params: {block_expansion: 8, max_features: 64, num_blocks: 3, scale_factor: 1}
reconstruction_params: {num_videos: 1000, format: '.mp4'}
animate_params:
  num_pairs: 1
  format: '.mp4'
  normalization_params: {adapt_movement_scale: False, use_relative_movement: True, use_relative_jacobian: True}
visualizer_params: {kp_size: 2, draw_border: True, colormap: gist_rainbow}
"""


def test_reconstructing_where_clips_were_animated(folder, sample):
    call = [f"--dataroot={sample}", "--results_dir=mixed", "--max_clips=1"]
    animate(folder, *call)
    assert "Reconstruction loss" in animate(folder, *call, "--mode=reconstruction")


def test_a_file_of_the_original_writes_what_the_original_writes(folder, sample):
    (folder / "nested.yaml").write_text(NESTED.replace("DATA", str(sample)))
    weights = folder / "log" / "00000001-checkpoint.pth.tar"
    weights.parent.mkdir()
    weights.write_bytes((folder / "result" / "tiny" / "latest-checkpoint.pth.tar").read_bytes())
    call = ["--config=nested.yaml", f"--checkpoint={weights}", "--cpu"]
    for mode, place, columns in (("animate", "animation", 6), ("reconstruction", "reconstruction", 5)):
        run(folder, *call, f"--mode={mode}", script="test.py")
        video = next((weights.parent / place).glob("*.mp4"))
        with open_video(video) as made:
            assert made.size == (64, columns * 64) and len(made) == 8
        assert read_image(video.parent / "png" / f"{video.stem}.png").shape == (64, 8 * 64, 3)
    run(folder, *call, "--visualize=no", "--strips=no", "--results_dir=plain", script="test.py")
    with open_video(next((folder / "plain").glob("*.mp4"))) as made:
        assert made.size == (64, 64)
    assert not (folder / "plain" / "png").exists()


def test_visualisations_explain_frames(folder, sample, portrait):
    pair = [f"--source_image={portrait}", f"--driving_video={clips_of(sample)[0]}", "--output=how.mp4", "--visualize"]
    animate(folder, *pair)
    with open_video(folder / "how.mp4") as made:
        assert made.size == (64, 6 * 64) and len(made) == 8
    assert "remove --compare" in animate(folder, *pair, "--overwrite", "--compare", status=2)


def test_shards_make_each_video_once(folder, sample):
    for shard in ("1/2", "2/2"):
        animate(
            folder, f"--dataroot={sample}", "--num_pairs=4", "--max_clips=3", "--results_dir=shared", f"--shard={shard}"
        )
    assert len(list((folder / "shared").glob("*.mp4"))) == 3
    entries = [json.loads(line)["name"] for line in (folder / "shared" / "results.jsonl").read_text().splitlines()]
    assert len(entries) == len(set(entries)) == 3


def test_a_gif_and_a_folder_drive_too(folder, sample, portrait):
    with VideoWriter(folder / "drive.gif", Fraction(10)) as writer, open_video(clips_of(sample)[0]) as video:
        for frame in video:
            writer.write(frame)
    animate(folder, f"--source_image={portrait}", "--driving_video=drive.gif", "--output=gifted.gif")
    with open_video(folder / "gifted.gif") as made:
        assert len(made) == 8 and made.fps == 10
    driving = next((sample / "test_data").iterdir())
    animate(folder, f"--source_image={clips_of(sample)[1]}", f"--driving_video={driving}", "--output=foldered.mp4")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source_image=portrait.png"], "--source_image needs --driving_video"),
        (["--source_image=absent.png", "--driving_video=absent.mp4"], "absent.png: no such file"),
        (["--pairs=absent.csv"], "absent.csv: no such file"),
        (["--shard=3/2"], "'3/2' is not i/N with i from 1 to N"),
        (["--checkpoint=absent"], "absent"),
        (["--num_kp=7"], "does not fit"),
        (["--formt=gif"], "Did you mean --format"),
        (["--output=all.mp4"], "--output names the result of one pair"),
        (["--pairs=absent.csv", "--output=one.mp4"], "remove --output"),
        (["--crop_image", "--find_best_frame"], "--crop_image, --find_best_frame: only for pairs"),
        (["--source_image=a.png", "--driving_video=b.mp4", f"--output={'long' * 64}.mp4"], "file name too long"),
        (["--results_dir=/proc/nothing"], "--results_dir: cannot write into /proc/nothing"),
    ],
)
def test_bad_input_ends_with_status_2_and_no_traceback(folder, sample, portrait, arguments, words):
    output = animate(folder, f"--dataroot={sample}", *arguments, status=2)
    assert words in output and "Traceback" not in output


def test_the_benchmark_reports_the_share_of_each_network():
    small = ["--config=configs/tiny/live_portrait.yaml", "--size=64", "--rounds=1", "--threads=1", "--networks"]
    command = [sys.executable, "script/benchmark.py", "animate", "--model=live_portrait", *small]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (\w+) \| [\d.]+ \| (\d+)% \| ([\d.]+) \| \d+% \|$", done.stdout, re.MULTILINE)
    assert {name: theirs for name, _, theirs in rows} == {
        "appearance_feature_extractor": "0.82", "motion_extractor": "0.84", "warping_module": "5.21",
        "spade_generator": "7.59",
    }  # fmt: skip
    assert sum(int(share) for _, share, _ in rows) == pytest.approx(100, abs=2)


def test_the_benchmark_compares_with_a_plain_loop():
    small = ["--config=configs/tiny/fomm.yaml", "--size=64", "--frames=3", "--batch=2", "--rounds=1", "--threads=1"]
    command = [sys.executable, "script/benchmark.py", "animate", *small]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # speed is not for a test to judge
    differences = re.findall(r"fomm.yaml, (\w+): .* times the plain loop, largest difference (\S+)", done.stdout)
    assert [name for name, _ in differences] == ["fp32", "bf16"]
    assert float(differences[0][1]) < 1e-4 < float(differences[1][1]) < 0.1


def test_the_benchmark_ends_with_the_error_of_a_variant():
    command = [sys.executable, "script/benchmark.py", "animate", "--config=absent.yaml", "--rounds=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "absent.yaml" in done.stderr and "Traceback" not in done.stderr

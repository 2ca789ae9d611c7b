"""Import a released file as a run that test.py --name finds with its options; checked on a drawn person."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from engine.checkpoints.released import set_of
from models import find_family
from options import Options
from options.resolve import NOT_INHERITED, family_options, options_as_yaml
from script.zoo.recognise import facts_of, options_of
from script.zoo.table import ROOT, Model, sha256_of
from util.errors import UserError
from util.files import replacing_folder, write_text

ORIGIN = "origin.json"
WEIGHTS = (".pth", ".tar", ".safetensors")


def bring_in(model: Model, path: Path, target: Path, overwrite: bool) -> dict[str, str]:
    """Turn a released file or folder into a run; returns the hashes of its files."""
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; --overwrite replaces it")
    files = _files(model, path)
    digests = {name: sha256_of(file) for name, file in files.items()}
    _refuse_other(model, path, digests)
    with replacing_folder(target) as folder:
        for name, file in files.items():
            place = folder / _name_here(model, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            _link(file, place)
        write_text(folder / "options.yaml", saved_options(model))
        write_text(folder / ORIGIN, json.dumps(facts_of(model, digests), indent=1) + "\n")
    return digests


def saved_options(model: Model) -> str:
    """The options of a released model as YAML: all of its family's, and others that differ from their defaults."""
    opt = options_of(model)
    own = {name: value for name, value in opt.differing().items() if name not in NOT_INHERITED}
    return options_as_yaml(
        Options(**({"model": opt.model, "dataset_mode": opt.dataset_mode} | family_options(opt) | own))
    )


def _files(model: Model, path: Path) -> dict[str, Path]:
    """The weights files, by their released names."""
    if path.is_file():
        return {path.name: path}
    found = {str(file.relative_to(path)): file for file in sorted(path.rglob("*")) if file.suffix in WEIGHTS}
    return {name: file for name, file in found.items() if not model.is_folder or name in model.files} or found


def _refuse_other(model: Model, path: Path, digests: Mapping[str, str]) -> None:
    """Raise an error if a file has a known file's name but different content."""
    for name, digest in digests.items():
        known = model.files.get(name)
        if known and known.sha256 and known.sha256 != digest:
            raise UserError(f"{path}: {name} is not the released file: its SHA-256 is {digest}, not {known.sha256}; "
                            "download it again")  # fmt: skip


def _name_here(model: Model, name: str) -> str:
    """The name of a file in a run, where commands expect it."""
    layout = find_family(model.family).layout
    if model.is_folder or any(set_of(Path(name).name, one) for one in (layout, *layout.others)):
        return name
    if "{entry}" in layout.pattern:
        raise UserError(f"{name}: no network has this file name; restore its released name: {', '.join(model.files)}")
    pattern = layout.pattern.format(which="latest")
    return f"{pattern.split('.pth')[0]}.safetensors" if name.endswith(".safetensors") else pattern


def _link(file: Path, name: Path) -> None:
    """Link a file under another name; copy it across disks."""
    try:
        os.link(file.resolve(), name)
    except OSError:
        shutil.copyfile(file, name)


def animate_drawn(model: Model, folder: Path) -> str:
    """Animate a drawn person with a run, through test.py; returns a description of the outcome."""
    from data.sample_faces import tiny_clip
    from data.video import VideoWriter, write_image

    with tempfile.TemporaryDirectory() as place:
        picture, video, results = (Path(place) / name for name in ("person.png", "other.mp4", "made"))
        write_image(picture, tiny_clip(identity=1, frames=1, size=256)[0][0])
        with VideoWriter(video, 25) as writer:
            for frame in tiny_clip(identity=2, frames=4, size=256)[0]:
                writer.write(frame)
        arguments = [word.format(picture=picture, video=video) for word in model.check]
        run = ["--cpu", f"--checkpoints_dir={folder.parent}", f"--name={folder.name}", f"--results_dir={results}"]
        command = [sys.executable, str(ROOT / "test.py"), *run, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise UserError(f"{folder}: test.py fails to animate a drawn person with it:\n{result.stderr[-1500:]}")
        return _check_results(results)


def _check_results(folder: Path) -> str:
    """Describe the results; an error if they have a single colour, as with wrong weights."""
    from data.video import IMAGE_SUFFIXES, open_video, read_image
    from engine.records import Records

    paths = [folder / entry["output"] for entry in Records(folder, {}).entries()]
    if not paths:
        raise UserError(f"{folder}: test.py made no result from a drawn person")
    frames = []
    for path in paths:
        if path.suffix in IMAGE_SUFFIXES:
            frames.append(read_image(path))
        else:
            with open_video(path) as video:
                frames += list(video)
    if min(frame.std() for frame in frames) < 1:
        raise UserError(f"{paths[0].name}: a frame of one colour: weights and configuration do not match")
    return f"animates a drawn person: {len(frames)} frame(s) of {frames[0].shape[1]} x {frames[0].shape[0]}"

"""script/calibrate.py: every comparison agrees; what disagrees, what is missing, what is published."""

import json

import numpy as np
import pytest
from metrics_faces import run_script, write_frames

from script.calibration import references as module
from script.calibration.references import Reference, references
from util.yaml_file import read_yaml_file


@pytest.fixture
def few(monkeypatch):
    """References that the tests have the libraries for, one that disagrees, and one that is not installed."""
    chosen = [
        one
        for one in references()
        if one.by in ("numpy", "scikit-image") and one.metric in ("l1", "ssim/win7", "ssim/gfla")
    ]
    wrong = Reference("psnr", "formula of nobody", lambda made, real: 1.0, 1e-3)
    absent = Reference("psnr", "no-such-package", lambda made, real: 1.0, 1e-3)
    monkeypatch.setattr(module, "references", lambda: [*chosen, wrong, absent])
    monkeypatch.setattr(module, "lpips_references", lambda folder: [])


def test_the_page_lists_agreements_and_differences(few, tmp_path):
    (tmp_path / "results" / "x").mkdir(parents=True)
    total = {"l1": {"frames": 0.04321, "videos": 0.1}}
    (tmp_path / "results" / "x" / "metrics.json").write_text(json.dumps({"total": total}))
    (tmp_path / "published.yaml").write_text(
        "- {source: S, data: D, values: {l1: 0.043, akd: 1.2}, command: python test.py --name x}\n"
    )
    given = ("--published", tmp_path / "published.yaml", "--results", tmp_path / "results")
    code, output = run_script("calibrate", "--frames", 3, "--out", tmp_path / "page.md", *given, "--json")
    assert code == 1 and "4 comparisons, 1 beyond what is expected: psnr" in output, output
    facts = json.loads(output.strip().splitlines()[-1])
    found = {row["metric"]: row for row in facts["compared"]}
    assert found["l1"]["agrees"] and found["ssim/win7"]["agrees"] and not found["psnr"]["agrees"]
    assert found["ssim/win7"]["program"].startswith("scikit-image ") and facts["missing"] == ["no-such-package"]
    page = (tmp_path / "page.md").read_text()
    assert "| `l1` | 0.043 | 0.04321 | `python test.py --name x` |" in page
    assert "| `akd` | 1.2 | – |" in page and "Not installed, so not compared: no-such-package." in page


def test_frames_that_cannot_be_compared_are_reported(tmp_path):
    frames = np.full((3, 64, 64, 3), 90, np.uint8)
    faceless, short = write_frames(tmp_path / "faceless", frames), write_frames(tmp_path / "short", frames[:2])
    out = ("--out", tmp_path / "page.md")
    for arguments, message in (
        (("--frames", 2), "--frames: '2' is not a whole number of at least 3"),
        (("--video", short), "has 2 frames; at least 3 are compared"),
        (("--video", faceless), "dlib finds no face in frame 0; choose one that shows a clear face"),
    ):
        code, output = run_script("calibrate", *arguments, *out)
        assert code == 2 and message in output and "Traceback" not in output
    assert not (tmp_path / "page.md").exists()


def test_the_list_of_published_numbers_names_their_pages(tmp_path):
    from paths import ROOT

    from metrics import find_metric

    for entry in read_yaml_file(ROOT / "docs" / "published.yaml"):
        assert entry["source"] and "--name" in entry["command"]
        assert all(find_metric(name) and np.isfinite(value) for name, value in entry["values"].items())

"""docs/tour.ipynb runs from its first cell to its last, and stays short."""

from pathlib import Path

import pytest
from paths import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
TOUR = Path(ROOT) / "docs" / "tour.ipynb"


@pytest.fixture
def tour():
    return nbformat.read(TOUR, as_version=4)


def test_the_tour_is_short_and_kept_without_results(tour):
    assert len(tour.cells) <= 30
    assert all(not cell.outputs and cell.execution_count is None for cell in tour.cells if cell.cell_type == "code")


@pytest.mark.slow
def test_the_tour_runs(tour, monkeypatch, tmp_path):
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    nbclient.NotebookClient(tour, timeout=300, resources={"metadata": {"path": str(TOUR.parent)}}).execute()
    texts = ["".join(str(output) for output in cell.get("outputs", ())) for cell in tour.cells]
    assert any("Reconstructed(frames=12" in text and "ssim/gauss" in text for text in texts)
    assert any("'edges'" in text and "'step': 20" in text for text in texts), "the loss of one's own is in the log"
    assert sum("image/png" in text for text in texts) >= 4

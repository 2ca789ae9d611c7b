"""The command script/prepare_au_annotations.py under the name that GANimation's users know."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(
        str(Path(__file__).resolve().parents[1] / "script" / "prepare_au_annotations.py"), run_name="__main__"
    )

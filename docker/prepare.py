"""Animates one picture by one video, from anywhere in the container: the options of images for portrait animation.

    python prepare.py --source_image me.jpg --driving_video talk.mp4 --output out.mp4

By default with the model that ships with Grimace; other options are those of test.py (--checkpoint, --model ...)."""

import argparse
import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLACES = (HERE, HERE.parent, Path("/grimace"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--source_image", required=True, help="picture of the person who is animated")
    parser.add_argument("--driving_video", required=True, help="video whose movements are followed")
    parser.add_argument("--output", required=True, help="the result, e.g. out.mp4")
    known, more = parser.parse_known_args()
    root = next((place for place in PLACES if (place / "test.py").is_file()), None)
    if root is None:
        sys.exit(f"error: Grimace's test.py is in none of {', '.join(map(str, PLACES))}")
    arguments = [f"--{name}={value}" for name, value in vars(known).items()]
    sys.path.insert(0, str(root))
    sys.argv = [str(root / "test.py"), *arguments, *more]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()

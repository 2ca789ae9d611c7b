"""The options of dataset mode `aus`: which expressions a face gets and what is written."""

from typing import Any

from util.expressions import EASINGS, PRESETS
from util.values import at_least, list_of, not_negative, one_of, share, text, within


def add_expression_options(parser: Any) -> None:
    """Declare pictures, expressions and outputs."""
    parser = parser.add_argument_group("expressions", example="--input_path me.jpg --expression smile --interpolate 20")
    parser.add_alias("--output_dir", "--results_dir")
    parser.set_defaults(results_dir="./output", paste_back=True)
    parser.add_argument("--input_path", type=text, help="picture of a face, or a folder of pictures")
    _add_expressions(parser)
    _add_movements(parser)
    _add_outputs(parser)


def _add_expressions(parser: Any) -> None:
    add = parser.add_argument
    add(
        "--au", type=text, default="",
        help='intensities 0 to 5 by number or name: 12=3.5,AU6=2,"lip corner puller"=4; they override --expression',
    )  # fmt: skip
    add("--expression", type=text, default="",
        help=f"presets, e.g. smile, smile=0.5 or smile,blink: {', '.join(PRESETS)}; default: smile, or for the test "
        "split the expression of another picture")  # fmt: skip
    add("--intensity", type=not_negative, default=1.0, help="factor on all wanted intensities, e.g. of a driving table")
    add(
        "--own_aus", type=text, default="",
        help="the pictures' own intensities: an OpenFace csv, a folder of them, .pkl, .npz, or the word pyfeat",
    )  # fmt: skip
    add("--start", type=one_of("own", "neutral"), default="own",
        help="what movements begin with: the picture's own expression where it is known, or none",
        advanced=True)  # fmt: skip


def _add_movements(parser: Any) -> None:
    add = parser.add_argument
    add("--interpolate", "--interpolate_len", type=at_least(0), default=0,
        help="frames from the beginning to the wanted expression; 0: a still picture")  # fmt: skip
    add(
        "--easing", type=one_of(*EASINGS), default="smooth", help="how --interpolate speeds up and slows down",
        advanced=True,
    )  # fmt: skip
    add("--sweep", type=text, default="",
        help="UNIT=START:STOP:FRAMES, e.g. AU12=0:5:30; several, separated by commas, run in sequence")  # fmt: skip
    add(
        "--driving_aus", type=text, default="",
        help="OpenFace csv of a video to follow, or of a picture whose expression is taken",
    )  # fmt: skip
    add("--min_confidence", type=share, default=0.75, help="ignore table rows below this confidence", advanced=True)


def _add_outputs(parser: Any) -> None:
    add = parser.add_argument
    parser.add_switch("--all_faces", help="change all faces of a picture, as --face all", advanced=True)
    parser.add_switch("--whole_picture", help="the picture is a cropped face: skip face detection", advanced=True)
    parser.add_switch("--panel", default=True, help="with still pictures, both passes with attention and colour")
    parser.add_switch(
        "--original_levels", help="panels truncated to 254 levels, as the original writes them", advanced=True
    )
    parser.add_switch("--maps", help="also write attention and colour")
    parser.add_switch("--au_grid", help="a picture of every unit at every one of --au_levels")
    levels = list_of(within(0, 5), empty=False)
    add("--au_levels", type=levels, default=[1, 2, 3, 4, 5], help="intensities of --au_grid")


def add_face_option(parser: Any) -> None:
    """How faces are cropped, in training data and pictures."""
    parser.add_argument(
        "--face_crop", type=one_of("square", "box"), default="square",
        help="square: around the landmarks, 1.35 times as large, as script/prepare_videos.py cuts; box: the detector's "
        "box, as the released models were trained",
    )  # fmt: skip

"""The options of test.py for inputs, crops and outputs."""

from typing import Any

from data.faces import landmarks
from options.parser import OptionGroup, OptionParser
from util.values import WHOLE, at_least, integer, number, one_of, positive, shard, text, within

KINDS = ("mp4", "gif", "webm", "png")


def result_format(value: Any) -> str:
    """Accept mp4, or .mp4 as in the original projects."""
    return one_of(*KINDS)(str(value).removeprefix("."))


def add_input_options(parser: OptionParser) -> None:
    """Declare the animation options of all families."""
    _add_inputs(parser)
    _add_crops(parser)
    _add_outputs(parser)
    landmarks.add_options(parser)
    parser.advanced.update(landmarks.SELDOM_SET)


def _add_inputs(parser: OptionParser) -> None:
    group = parser.group(
        "what to animate", "One pair, a list of pairs, or the test split of --dataroot.",
        example="--source_image me.jpg --driving_video talk.mp4 --find_best_frame",
    )  # fmt: skip
    group.add_argument(
        "--mode", type=text, default="animate",
        help="animate sources by driving videos, or reconstruct test clips from their own first frames and measure; "
        "families have further words, each a way to animate",
    )  # fmt: skip
    group.add_words("--mode", animate={}, reconstruction={})
    group.add_argument(
        "--source_image", nargs="+", type=text,
        help="picture of the face to animate (or several, where the dataset mode takes them), or a video of it",
        shapes_result=False,
    )  # fmt: skip
    group.add_argument(
        "--source_frame", type=at_least(0), default=0, help="frame to take where the source is a video", advanced=True
    )
    group.add_argument("--driving_video", type=text, help="video whose movements are followed", shapes_result=False)
    group.add_argument(
        "--pairs", type=text,
        help="csv with the columns source, driving and, if wanted, frame (best frame), output (in the results folder; "
        "without suffix that of --format; without output: driving-source)", shapes_result=False,
    )  # fmt: skip
    _add_choices(group)


def _add_choices(group: OptionGroup) -> None:
    """Declare which frames are used and which videos are made."""
    group.add_argument("--fps", type=positive, help="frames per second to which the driving video is brought first")
    group.add_switch(
        "--strict_video", help="a video that can be read in part only is an error, in place of a warning and a note",
        shapes_result=False, advanced=True,
    )  # fmt: skip
    group.add_switch("--find_best_frame", help="begin where the driving face is most like the source's")
    group.add_argument(
        "--best_frame", type=at_least(0), help="begin with this frame of the driving video, both ways",
        shapes_result=False,
    )  # fmt: skip
    group.add_argument(
        "--max_clips", "--how_many", type=at_least(0), help="make so many videos at most; 0: all", shapes_result=False
    )
    group.add_argument(
        "--shard", type=shard, default=WHOLE, help="make only the i-th of N parts of the videos: 1/4 ... 4/4",
        shapes_result=False, advanced=True,
    )  # fmt: skip


def _add_crops(parser: OptionParser) -> None:
    group = parser.group("cutting faces out", example="--crop_image --crop_video --paste_back")
    group.add_switch("--crop_image", "-ci", help="cut the face out of the source picture")
    group.add_argument(
        "--crop_image_padding", "-cip", nargs="+", type=number, default=[0],
        help="pixels around that cut: one number, or left upper right lower", advanced=True,
    )  # fmt: skip
    group.add_switch("--crop_video", "-cv", help="cut the face out of the driving video: one square for all of it")
    group.add_switch("--paste_back", help="put the result back into the whole source picture (cuts the face out of it)")


def _add_outputs(parser: OptionParser) -> None:
    group = parser.group("what is written", example="--output me.mp4 --compare --audio driving")
    group.add_argument(
        "--output", "--result_video", type=text, help="the result of a single pair, e.g. out.mp4", shapes_result=False
    )
    group.add_argument(
        "--results_dir", type=text,
        help="folder of the results; default: eval_results/NAME, as the original for its YAML", shapes_result=False,
    )  # fmt: skip
    group.add_argument(
        "--format", type=result_format, default="mp4", metavar="|".join(KINDS),
        help="kind of the videos; png: a folder of lossless frames each",
    )  # fmt: skip
    group.add_argument("--quality", type=within(0, 100, integer), default=80, help="of lossy kinds")
    group.add_argument(
        "--audio", type=one_of("driving", "source", "none"), default="driving", nargs="?", const="driving",
        help="whose sound the result has; --audio alone, as the originals have it: the driving video's",
    )  # fmt: skip
    group.add_switch("--compare", help="write source | driving | result side by side")
    group.add_switch(
        "--page_truth", default=True,
        help="reconstruction: keep small copies of the truth and the source for the page of results",
        shapes_result=False, advanced=True,
    )  # fmt: skip
    group.add_switch(
        "--strips", default=None,
        help="also write png/NAME.png, all result frames in one lossless picture; default: for the originals' YAML",
        advanced=True,
    )  # fmt: skip
    group.add_switch(
        "--visualize", default=None,
        help="let the videos show how each frame came about: source, driving frame, warp, result and more side by "
        "side; default: for the originals' YAML, where they do",
    )  # fmt: skip
    group.add_switch("--overwrite", help="make again what is already there", shapes_result=False)

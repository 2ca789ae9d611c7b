"""The options of test.py for inputs, crops and outputs."""

from typing import Any

from data.faces import landmarks
from options.parser import OptionGroup, OptionParser
from util.values import WHOLE, at_least, count, integer, keyword_or, number, one_of, positive, shard, text, within

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
    group.add_keywords("--mode", animate={}, reconstruction={})
    group.add_argument(
        "--source_image", nargs="+", type=text,
        help="picture of the face to animate (or several, if the dataset mode accepts them), or a video of it",
        shapes_result=False,
    )  # fmt: skip
    group.add_argument(
        "--source_frame", type=at_least(0), default=0, help="frame to use if the source is a video", advanced=True
    )
    group.add_argument("--driving_video", type=text, help="video that provides the motion", shapes_result=False)
    group.add_argument(
        "--pairs", type=text,
        help="csv with the columns source, driving and, if wanted, frame (best frame), output (in the results folder; "
        "without suffix that of --format; without output: driving-source)", shapes_result=False,
    )  # fmt: skip
    _add_choices(group)


def _add_choices(group: OptionGroup) -> None:
    """Declare which frames are used and which videos are made."""
    group.add_argument("--fps", type=positive, help="resample the driving video to this frame rate first")
    group.add_switch(
        "--strict_video", help="damaged videos are errors instead of warnings",
        shapes_result=False, advanced=True,
    )  # fmt: skip
    group.add_switch(
        "--find_best_frame", help="start from the driving frame whose face is most similar to the source's"
    )
    group.add_argument(
        "--best_frame", type=at_least(0), help="begin with this frame of the driving video, both ways",
        shapes_result=False,
    )  # fmt: skip
    group.add_argument(
        "--max_clips", "--how_many", type=at_least(0), help="maximum number of videos; 0: all", shapes_result=False
    )
    group.add_argument(
        "--shard", type=shard, default=WHOLE, help="make only the i-th of N parts of the videos: 1/4 ... 4/4",
        shapes_result=False, advanced=True,
    )  # fmt: skip


def _add_crops(parser: OptionParser) -> None:
    group = parser.group("cutting faces out", example="--crop_image --face 2 --crop_video --paste_back")
    group.add_switch("--crop_image", "-ci", help="crop the face in the source picture")
    group.add_argument(
        "--crop_image_padding", "-cip", nargs="+", type=number, default=[0],
        help="padding of this crop in pixels: one number, or left upper right lower", advanced=True,
    )  # fmt: skip
    group.add_argument(
        "--face", type=keyword_or(count, largest="largest", left="left", all="all"), default="largest",
        help="which of several faces of a source picture: the N-th from the left; all: where the family can",
    )  # fmt: skip
    group.add_switch("--crop_video", "-cv", help="crop the face in the driving video, with one square for all frames")
    group.add_switch("--paste_back", help="paste the result into the full source picture (implies --crop_image)")


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
        help="format of the videos; png: a folder of lossless frames each",
    )  # fmt: skip
    group.add_argument("--quality", type=within(0, 100, integer), default=80, help="quality of lossy formats")
    group.add_argument(
        "--audio", type=one_of("driving", "source", "none"), default="driving", nargs="?", const="driving",
        help="source of the result's sound; --audio without a value: the driving video's, as in the originals",
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
    group.add_switch("--overwrite", help="overwrite existing results", shapes_result=False)

"""The small configurations of configs/tiny on the drawn sample, as tests of every family take them."""

from paths import ROOT

from models import find_family
from options import parse

PERSONAL = "talking_head_finetune"
"""The family that learns one person, out of one video."""
EVERYTHING_ON = {
    "fomm": ["--weight_generator_gan=1"],
    "fomm_prior": ["--weight_generator_gan=1"],
    "live_portrait": ["--weight_gan=1"],
    "mraa": ["--way=standard"],
    "tps": ["--bg", "--way=standard"],
}
"""Options that enable a part that the small configuration leaves out."""


def options(name, sample, training=True):
    """The options of train.py or test.py."""
    config = ROOT / "configs" / "tiny" / f"{name}.yaml"
    assert config.is_file(), f"every family has a small configuration: {config} is missing"
    folder = {"ganimation": sample / "aus", "talking_head": sample / "talking_head"}.get(name, sample)
    settings = ["--batch_size=2", *EVERYTHING_ON.get(name, [])] if training else ["--mode=reconstruction"]
    if training and find_family(name).begins_with:
        settings += ["--init_from=first_stage"]
    if name == PERSONAL:
        settings += [f"--source={next((sample / 'test').glob('*.mp4'))}", "--shots=1"]
    return parse([f"--config={config}", f"--dataroot={folder}", f"--checkpoints_dir={sample}", *settings], training)

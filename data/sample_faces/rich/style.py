"""What a person of a rich set wears, beyond what the plain set knows."""

from dataclasses import dataclass, replace

import numpy as np

from data.sample_faces.identity import HAIR_TONES, Identity, draw_identity, linear

PATTERNS = ("plain", "stripes", "checks", "dots", "blotches", "print")


@dataclass(frozen=True)
class Style:
    """Accessories and colours of one person; colours are linear RGB, lengths millimetres."""

    glasses: str  # "", "round", "square", "dark"
    hat: str  # "", "beanie", "cap", "brim"
    scarf: bool
    earrings: str  # "", "studs", "hoops"
    make_up: float  # 0..1
    pattern: str  # of the clothes
    frame_tone: tuple[float, float, float]
    hat_tone: tuple[float, float, float]
    scarf_tone: tuple[float, float, float]
    shadow_tone: tuple[float, float, float]  # of the eyelids
    print_tone: tuple[float, float, float]
    pattern_scale: float


def any_tone(rng: np.random.Generator) -> tuple[float, float, float]:
    """A colour that things have: anything from grey to vivid, from dark to light."""
    grey, vivid = rng.uniform(15, 235), rng.uniform(0, 1) ** 1.5
    tone = grey * (1 - vivid) + rng.uniform(10, 245, 3) * vivid
    return tuple(float(value) for value in linear(np.clip(tone, 6, 245)))


def draw_style(seed: int, number: int, identity: Identity) -> Style:
    """Draw what a person wears."""
    rng = np.random.default_rng([seed, number, 31])
    man = identity.masculine > 0.5
    glasses = str(rng.choice(["", "round", "square", "dark"], p=[0.66, 0.14, 0.14, 0.06]))
    hat = str(rng.choice(["", "beanie", "cap", "brim"], p=[0.84, 0.06, 0.06, 0.04]))
    earrings = str(rng.choice(["", "studs", "hoops"], p=[0.9, 0.06, 0.04] if man else [0.5, 0.25, 0.25]))
    return Style(
        glasses=glasses,
        hat=hat,
        scarf=bool(rng.uniform() < 0.12),
        earrings=earrings,
        make_up=0.0 if man else float(np.clip(rng.normal(0.35, 0.35), 0, 1)),
        pattern=str(rng.choice(PATTERNS, p=[0.4, 0.14, 0.12, 0.1, 0.12, 0.12])),
        frame_tone=any_tone(rng) if rng.uniform() < 0.4 else (0.01, 0.01, 0.01),
        hat_tone=any_tone(rng),
        scarf_tone=any_tone(rng),
        shadow_tone=any_tone(rng),
        print_tone=any_tone(rng),
        pattern_scale=float(rng.uniform(0.5, 1.8)),
    )


def draw_rich_identity(seed: int, number: int) -> Identity:
    """A person of a rich set: shapes spread a little wider, any colour of clothes, sometimes dyed hair."""
    identity = draw_identity(seed, number)
    rng = np.random.default_rng([seed, number, 32])
    names = ("face_width", "face_length", "jaw_width", "chin", "cheekbones", "fullness", "nose_width", "nose_height")
    shape = {name: float(np.clip(1.15 * getattr(identity, name), -2.0, 2.0)) for name in names}
    hair = identity.hair
    if rng.uniform() < 0.12:
        hair = any_tone(rng)
    elif rng.uniform() < 0.4:
        hair = tuple(float(v) for v in linear(np.asarray(HAIR_TONES[rng.integers(len(HAIR_TONES))])))
    lips = identity.lips
    if identity.masculine <= 0.5 and rng.uniform() < 0.3:
        lips = tuple(float(v) for v in linear(rng.uniform([120, 15, 25], [215, 70, 95])))
    return replace(identity, **shape, clothes=any_tone(rng), hair=hair, lips=lips)

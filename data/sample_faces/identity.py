"""Who a drawn person is: shape, skin, hair, clothes, background and light, all drawn from one seed."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Identity:
    """A person. Lengths are millimetres, colours linear RGB; the other numbers are about 0 +- 1 or in 0..1."""

    seed: int
    masculine: float  # 0..1
    age: float  # 0 (about twenty) .. 1 (about seventy)
    face_width: float
    face_length: float
    jaw_width: float
    chin: float
    cheekbones: float
    fullness: float
    eye_distance: float
    eye_width: float
    eye_opening: float
    eye_tilt: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    nose_length: float
    nose_width: float
    nose_height: float
    nose_hook: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    mouth_height: float
    ear_size: float
    neck_width: float
    skin: tuple[float, float, float]
    lips: tuple[float, float, float]
    iris: tuple[float, float, float]
    hair: tuple[float, float, float]
    hair_style: str
    fringe: float  # 0: combed back; 1: over the forehead
    beard: float  # 0..1
    freckles: float  # 0..1
    clothes: tuple[float, float, float]
    clothes_style: str
    backdrop: tuple[tuple[float, float, float], tuple[float, float, float]]
    light_side: float  # -1..1, where the key light stands
    light_warmth: float
    number: int  # position in its set


SKIN_TONES = (  # sRGB, from fair to dark
    (241, 205, 184), (233, 190, 164), (224, 172, 138), (205, 152, 115), (184, 130, 94), (150, 100, 70), (112, 73, 51),
    (84, 54, 40),
)  # fmt: skip
HAIR_TONES = ((28, 22, 20), (44, 30, 24), (70, 46, 32), (104, 68, 42), (158, 116, 70), (196, 160, 108), (128, 54, 26))
GREY_HAIR = (168, 164, 160)
IRIS_TONES = ((72, 46, 28), (96, 62, 34), (110, 92, 52), (86, 110, 76), (84, 118, 150), (112, 130, 142))
CLOTHES_TONES = (
    (38, 52, 84), (96, 30, 38), (44, 70, 56), (52, 52, 56), (196, 190, 180), (112, 80, 52), (70, 92, 120),
    (140, 70, 84), (188, 144, 60), (30, 32, 38),
)  # fmt: skip
BACKDROPS = (
    ((168, 178, 186), (98, 108, 118)), ((196, 184, 166), (128, 112, 96)), ((120, 142, 150), (52, 66, 76)),
    ((176, 166, 176), (96, 86, 104)), ((150, 168, 146), (78, 94, 80)), ((206, 206, 202), (150, 150, 148)),
)  # fmt: skip


def linear(colour) -> np.ndarray:
    """Linear light from an 8-bit display colour (a gamma of two is close enough, and its inverse is a square root)."""
    return (np.asarray(colour, np.float64) / 255.0) ** 2


def _tuple(colour: np.ndarray) -> tuple[float, float, float]:
    return tuple(float(value) for value in colour)


def _mix(tones, tone: float) -> np.ndarray:
    """A tone between the neighbours of a list."""
    low = int(min(tone, len(tones) - 1.001))
    return np.asarray(tones[low]) * (1 - (tone - low)) + np.asarray(tones[low + 1]) * (tone - low)


def _colours(rng: np.random.Generator, tone: float, age: float, masculine: float) -> dict:
    """Skin, lips, iris, hair and clothes; dark skin goes with dark eyes and hair more often than not."""
    darkness = tone / (len(SKIN_TONES) - 1)
    skin = _mix(SKIN_TONES, tone) + rng.normal(0, 3, 3)
    rosy = np.array([0.80, 0.50, 0.50]) if masculine > 0.5 else np.array([0.86, 0.44, 0.48])
    lips = skin * (rosy * (1 - 0.25 * darkness) + 0.12)
    hair_range = 2.4 if darkness > 0.5 else len(HAIR_TONES) - 1.001
    hair = np.asarray(HAIR_TONES[int(rng.uniform(0, hair_range + 0.999))], np.float64)
    grey = np.clip((age - 0.45) * 2.2 + rng.normal(0, 0.12), 0, 0.95)
    hair = hair * (1 - grey) + np.asarray(GREY_HAIR) * grey
    iris = IRIS_TONES[int(rng.uniform(0, 2.2 if darkness > 0.5 else len(IRIS_TONES)))]
    return {
        "skin": _tuple(linear(np.clip(skin, 0, 255))),
        "lips": _tuple(linear(lips)),
        "iris": _tuple(linear(iris)),
        "hair": _tuple(linear(hair)),
        "clothes": _tuple(linear(np.clip(np.asarray(CLOTHES_TONES[rng.integers(len(CLOTHES_TONES))]), 0, 255))),
    }


def draw_identity(seed: int, variant: int | None = None) -> Identity:
    """Draw a person. People of one set pass their position as `variant`, which spreads skin, age and hair evenly."""
    rng = np.random.default_rng([seed, 7919 if variant is None else variant])
    spread = (
        rng.uniform(size=3)
        if variant is None
        else np.array([(variant * 0.618 + 0.08) % 1.0, (variant * 0.414 + 0.15) % 1.0, (variant * 0.5 + 0.25) % 1.0])
    )
    masculine = float(np.clip(spread[2] + rng.normal(0, 0.08), 0, 1))
    age = float(np.clip(spread[1] ** 1.3 * 0.95, 0, 1))
    colours = _colours(rng, spread[0] * (len(SKIN_TONES) - 1.001), age, masculine)
    if masculine > 0.5:
        styles = ("short", "parted", "buzz", "short", "curly", "bald" if age > 0.4 else "parted")
    else:
        styles = ("long", "bob", "tied", "curly", "long", "bob")
    style = styles[(variant if variant is not None else int(rng.integers(99))) // 2 % len(styles)]
    fringe = float(rng.uniform(0.6, 1.0)) if style in ("long", "bob", "short") and rng.uniform() < 0.4 else 0.0
    beard = float(rng.uniform(0.25, 1.0)) if masculine > 0.5 and rng.uniform() < 0.55 else 0.0
    backdrop = BACKDROPS[int(rng.integers(len(BACKDROPS)))]
    shape = {name: float(np.clip(rng.normal(), -1.7, 1.7)) for name in (
        "face_width", "face_length", "jaw_width", "chin", "cheekbones", "fullness", "eye_distance", "eye_width",
        "eye_opening", "eye_tilt", "brow_height", "brow_thickness", "brow_arch", "nose_length", "nose_width",
        "nose_height", "nose_hook", "mouth_width", "upper_lip", "lower_lip", "mouth_height", "ear_size", "neck_width",
    )}  # fmt: skip
    return Identity(
        seed=seed, masculine=masculine, age=age, **shape, **colours,
        hair_style=style, fringe=fringe, beard=beard, freckles=float(rng.uniform() if rng.uniform() < 0.35 else 0.0),
        clothes_style=str(rng.choice(["crew", "vee", "collar"])),
        backdrop=tuple(_tuple(linear(tone)) for tone in backdrop),
        light_side=float(rng.choice([-1, 1]) * rng.uniform(0.3, 1.0)), light_warmth=float(rng.uniform(-1, 1)),
        number=seed if variant is None else variant,
    )  # fmt: skip

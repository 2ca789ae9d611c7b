"""Flows as colours: the hue is the direction, the saturation the length (colour wheel of the Middlebury benchmark)."""

import numpy as np

RED, GREEN, BLUE = range(3)
RAMPS = (
    (15, RED, GREEN, "rises"), (6, GREEN, RED, "falls"), (4, GREEN, BLUE, "rises"),
    (11, BLUE, GREEN, "falls"), (13, BLUE, RED, "rises"), (6, RED, BLUE, "falls"),
)  # fmt: skip
"""Segments of the wheel: number of colours, constant channel, changing channel and its direction."""


def wheel() -> np.ndarray:
    """The 55 colours of the wheel (55, 3), in [0, 1]."""
    parts = []
    for steps, full, changing, how in RAMPS:
        ramp = np.floor(255 * np.arange(steps) / steps)
        part = np.zeros((steps, 3))
        part[:, full] = 255
        part[:, changing] = ramp if how == "rises" else 255 - ramp
        parts.append(part)
    return np.concatenate(parts) / 255


def flow_colours(flow: np.ndarray) -> np.ndarray:
    """A flow (2, H, W), x before y, as colours (H, W, 3) in [0, 1], relative to its longest vector."""
    u, v = flow[1].astype(np.float64), flow[0].astype(np.float64)
    longest = np.sqrt(u**2 + v**2).max() + 1e-5
    u, v = u / longest, v / longest
    radius = np.sqrt(u**2 + v**2)[..., None]
    colours = wheel()
    position = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(colours) - 1)
    before = np.floor(position).astype(int)
    share = (position - before)[..., None]
    colour = (1 - share) * colours[before] + share * colours[(before + 1) % len(colours)]
    return np.where(radius <= 1, 1 - radius * (1 - colour), 0.75 * colour)

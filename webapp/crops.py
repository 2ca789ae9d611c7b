"""Previews of crops with face boxes, and the face at a clicked position."""

from dataclasses import dataclass

import cv2
import numpy as np

from data.base import Preview

LONGEST = 640
"""Longer side of a preview in pixels."""
CUT, FACE, CHOSEN = (40, 200, 90), (250, 190, 40), (40, 120, 250)


@dataclass(frozen=True)
class MarkedPicture:
    """A picture with its face boxes and the outline of the crop."""

    picture: np.ndarray
    boxes: list[list[float]]
    """Face boxes from the left, in pixels of the picture."""
    network_input: np.ndarray
    """The crop that the networks get."""

    @property
    def summary(self) -> str:
        """The number of faces in words."""
        count = len(self.boxes)
        if count == 0:
            return "no face found: using the whole picture"
        return "one face" if count == 1 else f"{count} faces: click on the one to use"


def mark_faces(preview: Preview) -> MarkedPicture:
    """Draw numbered face boxes and the outline of the crop."""
    height, width = preview.picture.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = cv2.resize(preview.picture, size, interpolation=cv2.INTER_AREA)
    boxes = [[float(edge) * scale for edge in box] for box in preview.faces]
    corners = np.round(preview.cut * scale).astype(np.int32)
    thick = max(1, round(max(size) / 250))
    for number, box in enumerate(boxes, 1):
        left, top, right, bottom = map(round, box)
        inside = cv2.pointPolygonTest(corners.astype(np.float32), ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), False)
        colour = CHOSEN if inside >= 0 else FACE
        cv2.rectangle(picture, (left, top), (right, bottom), colour, thick)
        if len(boxes) > 1:
            cv2.putText(picture, str(number), (left + 3, bottom - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, thick + 1)
    cv2.polylines(picture, [corners], True, CUT, thick)
    return MarkedPicture(picture, boxes, preview.network_input)


def face_at(boxes: list[list[float]], x: float | None, y: float | None) -> int | None:
    """The number from the left, from 1 on, of the face that was clicked on; of several the smallest.

    A click beside the picture has no position.
    """
    if x is None or y is None:
        return None
    there = [
        (box[2] - box[0], number)
        for number, box in enumerate(boxes, 1)
        if box[0] <= x <= box[2] and box[1] <= y <= box[3]
    ]
    return min(there)[1] if there else None

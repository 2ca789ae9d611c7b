"""What is cut out of a picture, drawn for people, and the face that they click on."""

import numpy as np

from data.base import Preview, corners_of
from webapp.crops import LONGEST, face_at, mark_faces

BOXES = [np.array([100, 100, 300, 300]), np.array([900, 100, 1000, 200])]


def preview(boxes=BOXES):
    picture = np.full((800, 2 * LONGEST, 3), 90, np.uint8)
    return Preview(picture, boxes, corners_of((50, 50, 350, 350)), picture[50:350, 50:350])


def test_large_pictures_are_shown_small_with_their_boxes():
    view = mark_faces(preview())
    assert view.picture.shape == (400, LONGEST, 3) and view.boxes == [[50, 50, 150, 150], [450, 50, 500, 100]]
    assert view.network_input.shape == (300, 300, 3) and "2 faces: click" in view.summary
    assert not np.array_equal(view.picture[25, 30:170], view.picture[10, 30:170]), "the outline of what is cut out"
    assert "no face" in mark_faces(preview([])).summary and mark_faces(preview(BOXES[:1])).summary == "one face"


def test_a_click_means_the_face_under_it_or_the_smallest_of_several():
    boxes = [[0, 0, 100, 100], [40, 40, 80, 80], [200, 0, 300, 100]]
    assert (face_at(boxes, 10, 10), face_at(boxes, 60, 60), face_at(boxes, 250, 50)) == (1, 2, 3)
    assert face_at(boxes, 150, 50) is None and face_at(boxes, None, None) is None

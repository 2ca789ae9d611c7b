"""The sound of videos as samples in time with their frames."""

import numpy as np
import pytest
from sounding import frame, with_sound

from data.video import VideoWriter
from data.video.sound import read_sound
from util.errors import UserError

RATE = 16_000
KINDS = [("talk.mp4", "libx264"), ("talk.webm", "libvpx"), ("talk.mkv", "libx264")]


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind[0])
def film(request, tmp_path_factory):
    """Four seconds with clicks at 1.0 and 2.5."""
    name, codec = request.param
    return with_sound(tmp_path_factory.mktemp("films") / name, codec)


def clicks(sound):
    """The start times of clicks."""
    loud = np.flatnonzero(np.abs(sound) > 0.3)
    return loud[np.diff(loud, prepend=-RATE) > RATE // 10] / RATE


def test_samples_are_in_time_with_the_frames(film):
    sound = read_sound(film, RATE)
    assert sound.dtype == np.float32 and len(sound) / RATE == pytest.approx(4, abs=0.1)
    assert clicks(sound) == pytest.approx([1.0, 2.5], abs=0.01)


@pytest.mark.parametrize(("start", "click"), [(0.9, 1.0), (2.43, 2.5), (-0.3, 1.0)])
def test_a_part_is_as_in_time_as_the_whole(film, start, click):
    """webm stores times in milliseconds."""
    part = read_sound(film, RATE, start, 1.4)
    assert len(part) == round(1.4 * RATE)
    assert start + clicks(part) == pytest.approx([click], abs=2e-3)
    assert start > 0 or not part[: round(-start * RATE)].any()


def test_after_the_end_there_is_silence(film):
    part = read_sound(film, RATE, 3.9, 1.0)
    assert len(part) == RATE and not part[RATE // 2 :].any()
    assert not read_sound(film, RATE, 100, 0.1).any()


def test_a_video_without_sound_is_reported(tmp_path):
    with VideoWriter(tmp_path / "mute.mp4", 25) as writer:
        for number in range(3):
            writer.write(frame(number))
    with pytest.raises(UserError, match="mute.mp4: has no sound"):
        read_sound(tmp_path / "mute.mp4", RATE)
    with pytest.raises(UserError, match="no such file"):
        read_sound(tmp_path / "gone.mp4", RATE)

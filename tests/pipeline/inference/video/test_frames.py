import sys

import numpy as np
import pytest

from rasterloom.models.errors import (
    MissingExtraError,
    MissingInputError,
    OutputExistsError,
    ReadError,
    SettingError,
)
from rasterloom.pipeline.inference.video.frames import CODECS, VideoFacts, VideoReader, VideoWriter
from tests.support.videos import read_video, scene, write_video

FACTS = VideoFacts((64, 48), 10.0, 0)


def shades(count=6, size=(64, 48)):
    return [np.full((size[1], size[0], 3), 30 * k, np.uint8) for k in range(count)]


def test_frames_come_one_by_one_with_their_times(tmp_path):
    frames = [scene((64, 48), [(k, 0, k + 9, 9)], (250, 120, 10)) for k in range(5)]
    with VideoReader(write_video(tmp_path / "a.mov", frames, rate=12.5)) as reader:
        assert reader.facts == VideoFacts((64, 48), 12.5, 5)
        found = list(reader)
    assert [frame.number for frame in found] == [0, 1, 2, 3, 4]
    assert [frame.time for frame in found] == [0, 80_000, 160_000, 240_000, 320_000]
    for frame, wanted in zip(found, frames, strict=True):
        assert (frame.pixels[..., ::-1] == wanted).all()


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_videos_of_every_name_can_be_written_and_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix.upper()}"
    with VideoWriter(path, FACTS) as writer:
        for frame in shades():
            writer.write(frame)
    read = read_video(path)
    assert len(read) == 6
    for got, wanted in zip(read, shades(), strict=True):
        assert abs(got.astype(int) - wanted).max() <= 8  # they are compressed
    with VideoReader(path) as reader:
        times = [frame.time for frame in reader]
    assert times == pytest.approx([100_000 * k for k in range(6)], abs=1000)
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_that_is_not_finished_leaves_nothing(tmp_path):
    with pytest.raises(AssertionError), VideoWriter(tmp_path / "a.mp4", FACTS) as writer:
        writer.write(np.zeros((9, 9, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_is_there_is_kept_unless_told_otherwise(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        VideoWriter(path, FACTS)
    with VideoWriter(path, FACTS, overwrite=True) as writer:
        writer.write(shades()[0])
        assert path.read_bytes() == b"old"
    assert len(read_video(path)) == 1


def test_names_that_no_video_can_have_are_refused(tmp_path):
    with pytest.raises(SettingError, match=r"\.mp4.*\.avi"):
        VideoWriter(tmp_path / "a.gif", FACTS)
    with pytest.raises(MissingInputError, match="no folder"):
        VideoWriter(tmp_path / "none" / "a.mp4", FACTS)
    playlist = tmp_path / "a.m3u8"
    playlist.write_text("#EXTM3U\nhttp://example.org/a.ts\n")
    with pytest.raises(SettingError, match="not read as a video"):
        VideoReader(playlist)
    with pytest.raises(MissingInputError, match="no video"):
        VideoReader(tmp_path / "b.mp4")


def test_what_is_no_video_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"not a video" * 100)
    with pytest.raises(ReadError, match="damaged"):
        VideoReader(path)


def test_a_video_that_is_cut_off_is_told_of(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), np.uint8)
    whole = write_video(tmp_path / "a.avi", noise, codec="MJPG").read_bytes()
    cut = tmp_path / "b.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    with VideoReader(cut) as reader, pytest.warns(UserWarning, match=r"ends after \d+ of 20 frames"):
        assert 0 < len(list(reader)) < 18


def test_without_opencv_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"rasterloom\[video\]"):
        VideoReader(tmp_path / "a.mp4")

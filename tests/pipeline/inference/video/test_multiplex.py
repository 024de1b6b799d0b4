import io

import pytest

from rasterloom.pipeline.inference.video.movie import Samples, inner_boxes
from rasterloom.pipeline.inference.video.multiplex import multiplexed
from tests.support.videos import read_video, scene, write_video


def some():
    samples = Samples(io.BytesIO())
    for number in range(5):
        samples.append(b"packet %d" % number, number * 100_000)
    return samples


def frames():
    return [scene((64, 48), [(5 * k, 5, 5 * k + 20, 30)]) for k in range(5)]


def metadata_of(path):
    kinds = [kind for kind, _ in inner_boxes(path.read_bytes())]
    assert kinds.count(b"moov") == 1
    return b"".join(b"packet %d" % k for k in range(5)) in path.read_bytes()


def test_a_movie_is_copied_as_it_is(tmp_path):
    movie, path = write_video(tmp_path / "a.mov", frames()), tmp_path / "b.MOV"
    multiplexed(movie, some(), path, end=500_000)
    assert metadata_of(path)
    assert all((a == b).all() for a, b in zip(read_video(movie), read_video(path), strict=True))
    assert sorted(tmp_path.iterdir()) == [movie, path]


def test_transport_streams_are_made_of_movies_and_copied_from_their_like(tmp_path):
    movie = write_video(tmp_path / "a.mov", frames())
    first, second = tmp_path / "b.ts", tmp_path / "c.TS"
    multiplexed(movie, some(), first, end=500_000)
    multiplexed(first, some(), second, end=500_000)
    assert len(read_video(first)) == 5
    assert all((a == b).all() for a, b in zip(read_video(first), read_video(second), strict=True))
    assert sorted(tmp_path.iterdir()) == [movie, first, second]
    assert b"packet 4" in first.read_bytes()
    assert first.read_bytes().count(b"packet 4") + 1 == second.read_bytes().count(b"packet 4")


@pytest.mark.parametrize("kind", ["avi", "fragments"])
def test_other_videos_are_compressed_anew(tmp_path, kind):
    if kind == "avi":
        video = write_video(tmp_path / "a.avi", frames(), codec="MJPG")
    else:
        video = write_video(tmp_path / "a.mov", frames())
        with video.open("ab") as file:
            file.write(b"\0\0\0\x08moof")
    path = tmp_path / "b.mov"
    multiplexed(video, some(), path, end=500_000)
    assert metadata_of(path)
    pairs = list(zip(read_video(path), frames(), strict=True))
    assert all(abs(got.astype(int) - wanted).mean() < 6 for got, wanted in pairs)
    assert sorted(tmp_path.iterdir()) == [video, path]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    movie = write_video(tmp_path / "a.mov", frames())
    samples = some()
    samples.file.close()
    with pytest.raises(ValueError, match="closed"):
        multiplexed(movie, samples, tmp_path / "b.mov", end=500_000)
    assert list(tmp_path.iterdir()) == [movie]

"""Write a video that carries its metadata: the pictures of one file, packets beside them."""

import tempfile
from pathlib import Path

from rasterloom.models.errors import ReadError
from rasterloom.pipeline.inference.video.frames import VideoReader, VideoWriter
from rasterloom.pipeline.inference.video.movie import MOVIES, Samples, with_track
from rasterloom.pipeline.inference.video.transport import STREAMS, with_packets

CARRIERS = (*MOVIES, *STREAMS)
"""Names of videos that can carry metadata end in one of these."""


def multiplexed(video: Path, samples: Samples, path: Path, *, end: int) -> None:
    """Write a video with the pictures of another and a track, or stream, of its metadata.

    Pictures and sound are copied as they are from a movie to a movie, and from a transport stream to another.
    Otherwise, and from movies in fragments, the pictures are compressed anew and the sound is left out.

    Parameters
    ----------
    samples
        The packets and their times.
    path
        Where the video goes, its name ending in one of CARRIERS; what is there is replaced when it is whole.
    end
        Microseconds at which the last packet ends.
    """
    temporary = path.with_name(f".{path.name}.part")
    kinds = next(kinds for kinds in (MOVIES, STREAMS) if path.suffix.lower() in kinds)
    try:
        if not (video.suffix.lower() in kinds and _copied(video, samples, temporary, end)):
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".multiplex") as folder:
                pictures = Path(folder) / ("pictures.mov" if kinds is MOVIES else "pictures.ts")
                _compress(video, pictures)
                _joined(pictures, samples, temporary, end)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _copied(video: Path, samples: Samples, path: Path, end: int) -> bool:
    try:
        _joined(video, samples, path, end)
    except ReadError:  # of its form, not of its pictures: those were all read before
        return False
    return True


def _joined(video: Path, samples: Samples, path: Path, end: int) -> None:
    if video.suffix.lower() in STREAMS:
        with_packets(video, samples, path)
    else:
        with_track(video, samples, path, end=end)


def _compress(video: Path, target: Path) -> None:
    with VideoReader(video) as reader, VideoWriter(target, reader.facts) as writer:
        for frame in reader:
            writer.write(frame.pixels)

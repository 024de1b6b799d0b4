"""Frames of video files, read and written one after the other with OpenCV."""

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np

from rasterloom.models.errors import (
    MissingExtraError,
    MissingInputError,
    OutputError,
    OutputExistsError,
    ReadError,
    SettingError,
)

READABLE = (
    *(".mp4", ".m4v", ".mp4v", ".mpg4", ".mpeg4", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".ts", ".m2t"),
    *(".mts", ".m2ts", ".mpg", ".mpeg", ".mpg2", ".mpeg2", ".mp2", ".ps", ".vob", ".h264", ".264", ".h265"),
    *(".265", ".hevc", ".av1", ".ivf"),
)
"""Names of videos end in one of these. Playlists are left out: they lead elsewhere."""
CODECS = MappingProxyType(
    {
        ".mp4": "mp4v",
        ".m4v": "mp4v",
        ".mov": "mp4v",
        ".mkv": "mp4v",
        ".ts": "mp4v",
        ".avi": "MJPG",
        ".webm": "VP90",
    }
)
"""How a video is compressed, by the end of its name: MPEG-4 part 2, motion JPEG, VP9."""

_PROMISED = 0.9
"""Part of the frames that a file promises, below which it is called cut off."""


@dataclass(frozen=True)
class Frame:
    """One picture of a video."""

    number: int
    """From 0."""
    time: int
    """Microseconds since the first frame."""
    pixels: np.ndarray
    """(height, width, 3) uint8; blue, green, red."""


@dataclass(frozen=True)
class VideoFacts:
    """What a file says of its video."""

    size: tuple[int, int]
    """Width and height, in pixels."""
    rate: float
    """Frames in a second."""
    count: int
    """Frames, as far as the file knows; 0 where it does not."""


class VideoReader:
    """The frames of a video file, each read when it is asked for."""

    def __init__(self, path: str | Path) -> None:
        """Open a video.

        Raises
        ------
        MissingInputError
            If there is no such file.
        SettingError
            If its name is not that of a video.
        ReadError
            If it holds no video that can be read.
        MissingExtraError
            If OpenCV is not installed.
        """
        cv2 = load_cv2()
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise MissingInputError(f"there is no video {self.path}.")
        if self.path.suffix.lower() not in READABLE:
            raise SettingError(
                f"{self.path.name} is not read as a video: its name should end in one of "
                f"{', '.join(READABLE)}."
            )
        self._capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        width, height = (
            int(self._capture.get(name)) for name in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if not self._capture.isOpened() or not width or not height:
            raise ReadError(
                f"{self.path} holds no video that can be read: it is damaged, or no video at all."
            )
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.facts = VideoFacts((width, height), rate if rate > 0 else 25.0, max(count, 0))
        self._clock = cv2.CAP_PROP_POS_MSEC

    def __iter__(self) -> Iterator[Frame]:
        """The frames in their order, once.

        Warns
        -----
        UserWarning
            If the file ends long before it says.
        """
        number, begun, last = 0, 0.0, -1
        while True:
            read, pixels = self._capture.read()
            if not read:
                break
            clock = float(self._capture.get(self._clock))
            begun = clock if number == 0 else begun
            time = round((clock - begun) * 1000)
            if time <= last:  # a file without times: frames follow each other evenly
                time = round(number * 1e6 / self.facts.rate)
            last = max(time, last + 1)
            yield Frame(number, last, pixels)
            number += 1
        if number == 0:
            raise ReadError(f"{self.path} holds no frame that can be read: it is damaged.")
        if number < _PROMISED * self.facts.count:
            warnings.warn(
                f"{self.path} ends after {number} of {self.facts.count} frames: it is cut off, or damaged.",
                stacklevel=2,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._capture.release()


class VideoWriter:
    """A video file that gains frames; whole under its name when it is closed without an error."""

    def __init__(self, path: Path, facts: VideoFacts, *, overwrite: bool = False) -> None:
        """Begin a video of the size and rate of another.

        Raises
        ------
        SettingError
            If no codec is known for its name.
        OutputExistsError
            If it is there already.
        OutputError
            If it cannot be written.
        """
        cv2 = load_cv2()
        check_video_output(path, overwrite=overwrite)
        self.path = path
        self._size = facts.size
        self._temporary = path.with_name(f".{path.stem}.part{path.suffix.lower()}")
        codec = cv2.VideoWriter_fourcc(*CODECS[path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, codec, facts.rate, facts.size)
        if not self._writer.isOpened():
            self._temporary.unlink(missing_ok=True)
            raise OutputError(f"{path} cannot be written as a video of {facts.size} pixels.")

    def write(self, pixels: np.ndarray) -> None:
        """Add a frame, (height, width, 3) uint8; blue, green, red."""
        assert pixels.shape[1::-1] == self._size, "OpenCV drops frames of another size without a word"
        self._writer.write(pixels)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.release()
        if kind is None:
            self._temporary.replace(self.path)
        else:
            self._temporary.unlink(missing_ok=True)


def check_video_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a name that no video can be written under.

    Raises
    ------
    SettingError
        If no codec is known for its name.
    MissingInputError
        If its folder is not there.
    OutputExistsError
        If it is there already.
    """
    if path.suffix.lower() not in CODECS:
        raise SettingError(
            f"{path.name} cannot be written: its name should end in one of {', '.join(CODECS)}."
        )
    if not path.parent.is_dir():
        raise MissingInputError(f"there is no folder {path.parent} for the video: make it first.")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} is there already: name another file, or say overwrite=True.")


def load_cv2() -> Any:
    """OpenCV.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise MissingExtraError(
            "videos need OpenCV, which is not installed: pip install 'rasterloom[video]'."
        ) from error
    with contextlib.suppress(AttributeError):
        cv2.setLogLevel(2)  # errors only; what goes wrong is said in our words
    return cv2

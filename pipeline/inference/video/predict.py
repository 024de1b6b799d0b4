"""Find the objects in every frame of a video: what a model's ``predict_video`` does."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.errors import MissingInputError, OutputExistsError, SettingError
from rasterloom.pipeline.inference.objects.pictures import (
    Looking,
    PictureFinder,
    classes_of,
    looking_with,
    picture_of,
)
from rasterloom.pipeline.inference.video.draw import VisualOptions, drawn
from rasterloom.pipeline.inference.video.frames import (
    CODECS,
    Frame,
    VideoReader,
    VideoWriter,
    check_video_output,
)
from rasterloom.pipeline.inference.video.metadata import MetadataTable
from rasterloom.pipeline.inference.video.movie import Samples
from rasterloom.pipeline.inference.video.multiplex import CARRIERS, multiplexed
from rasterloom.pipeline.inference.video.telemetry import telemetry
from rasterloom.pipeline.inference.video.tracks import Tracker, TrackerOptions
from rasterloom.pipeline.inference.video.vmti import FrameTargets, Target, uas_packet, vmti_set
from rasterloom.pipeline.seams.found import Found

_COLORS = ("red", "green", "blue")


@dataclass(frozen=True)
class VideoPredictions:
    """What was found in a video, and where it is written."""

    frames: int
    """Frames that were looked at."""
    objects: int
    """Objects in all of them, each frame's counted."""
    tracks: int
    """Different tracks; 0 without tracking."""
    metadata_file: Path
    """The table."""
    output_file: Path | None = None
    """The video with what was found drawn into it."""
    multiplex_file: Path | None = None
    """The video that carries what was found."""


@dataclass(frozen=True)
class Outputs:
    """Where the results of a video go."""

    metadata: Path
    video: Path | None
    multiplex: Path | None


def predict_video(
    model: Any,
    input_video_path: str | Path,
    metadata_file: str | Path,
    *,
    threshold: float = 0.5,
    nms_overlap: float = 0.1,
    track: bool = False,
    visualize: bool = False,
    output_file_path: str | Path | None = None,
    multiplex: bool = False,
    multiplex_file_path: str | Path | None = None,
    tracker_options: Mapping[str, Any] | None = None,
    visual_options: Mapping[str, Any] | None = None,
    resize: bool = False,
    batch_size: int = 1,
    overwrite: bool = False,
) -> VideoPredictions:
    """Write what is in every frame of a video into its metadata, and perhaps into videos.

    Frames are read, seen and written ``batch_size`` at a time: memory does not grow with the length of the
    video, but for twelve bytes a frame where it is multiplexed.

    Parameters
    ----------
    model
        One that finds objects in images of three bands.
    input_video_path
        A video file.
    metadata_file
        A table (csv) with one row for each frame. Its rows are kept, and gain the objects in the column
        ``vmtilocaldataset``. Where there is none it is made.
    threshold, nms_overlap, resize, batch_size
        How the model looks at a frame: see :class:`Looking`.
    track
        Whether objects are followed from frame to frame.
    visualize, output_file_path
        Whether a video with the objects drawn into it is written, and where. None: beside the video, its name
        with ``_prediction``.
    multiplex, multiplex_file_path
        Whether a video that carries the metadata is written, and where. None: beside the video, its name
        with ``_multiplex.MOV``. A name ending in ``.ts`` makes a transport stream, as MISB ST 1402 has it.
    tracker_options, visual_options
        See :class:`TrackerOptions` and :class:`VisualOptions`.
    overwrite
        Whether videos that are there are replaced.

    Raises
    ------
    MissingInputError, ReadError
        If there is no such video, or it or its metadata cannot be read.
    SettingError
        If a setting cannot work, or the model does not see three bands.
    OutputExistsError
        If an output is there already.
    MissingExtraError
        If OpenCV is not installed.
    """
    tracker = Tracker(TrackerOptions.read(tracker_options)) if track else None
    visual = VisualOptions.read(visual_options)
    looking = Looking(threshold=threshold, nms_overlap=nms_overlap, resize=resize, batch_size=batch_size)
    order = _order_of_bands(model)
    source = Path(input_video_path).expanduser()
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(source))
        outputs = Outputs(
            Path(metadata_file).expanduser(),
            _video_output(source, output_file_path, overwrite) if visualize else None,
            _multiplex_output(source, multiplex_file_path, overwrite) if multiplex else None,
        )
        _check_different(source, outputs)
        table = stack.enter_context(MetadataTable(outputs.metadata))
        writer = (
            None
            if outputs.video is None
            else stack.enter_context(VideoWriter(outputs.video, reader.facts, overwrite=overwrite))
        )
        samples = (
            None
            if outputs.multiplex is None
            else Samples(stack.enter_context(tempfile.TemporaryFile(dir=outputs.multiplex.parent)))
        )
        finder = stack.enter_context(looking_with(model, looking))
        frames = objects = time = 0
        for frame, targets in _seen(reader, finder, model, order, tracker):
            found = FrameTargets(frame.number, table.time_of(frame.time), reader.facts.size, targets)
            vmti = vmti_set(found, video=source.stem)
            if samples is not None:
                samples.append(uas_packet(vmti, found.time, telemetry(table.waiting)), frame.time)
            table.append(vmti if targets else b"", found.time)
            if writer is not None:
                writer.write(drawn(frame.pixels, targets, visual))
            frames, objects, time = frames + 1, objects + len(targets), frame.time
        if samples is not None and outputs.multiplex is not None:
            end = time + round(1e6 / reader.facts.rate)
            multiplexed(source, samples, outputs.multiplex, end=end)
    tracks = 0 if tracker is None else tracker.known
    return VideoPredictions(frames, objects, tracks, outputs.metadata, outputs.video, outputs.multiplex)


def _seen(
    reader: VideoReader, finder: PictureFinder, model: Any, order: list[int], tracker: Tracker | None
) -> Iterator[tuple[Frame, tuple[Target, ...]]]:
    """Frames with their objects; as many at once as the network sees chips."""
    for frames in _lots(reader, finder.batch_size):
        pictures = [
            picture_of(np.moveaxis(frame.pixels[..., order], -1, 0), model, "the video") for frame in frames
        ]
        for frame, found in zip(frames, finder.find(pictures), strict=True):
            yield frame, _targets(found, model, tracker)


def _lots(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    source = iter(frames)
    while lot := list(islice(source, size)):
        yield lot


def _targets(found: Found, model: Any, tracker: Tracker | None) -> tuple[Target, ...]:
    tracks = np.zeros(len(found), int) if tracker is None else tracker.update(found.boxes, found.labels)
    rows = zip(
        found.boxes.tolist(),
        classes_of(found, model.spec.classes),
        found.scores.tolist(),
        tracks.tolist(),
        strict=True,
    )
    return tuple(
        Target((box[0], box[1], box[2], box[3]), info.name, score, number, info.color)
        for box, info, score, number in rows
    )


def _order_of_bands(model: Any) -> list[int]:
    """Positions of a frame's colours (blue, green, red) in the order in which the model sees them."""
    names = [name.lower() for name in model.spec.bands]
    if len(names) != 3:
        raise SettingError(
            f"the model sees {len(names)} bands ({', '.join(model.spec.bands)}), and a video has red, green "
            "and blue: use a model of three bands."
        )
    order = names if sorted(names) == sorted(_COLORS) else list(_COLORS)
    return [2 - _COLORS.index(name) for name in order]


def _video_output(source: Path, given: str | Path | None, overwrite: bool) -> Path:
    suffix = source.suffix if source.suffix.lower() in CODECS else ".mp4"
    path = (
        source.with_name(f"{source.stem}_prediction{suffix}") if given is None else Path(given).expanduser()
    )
    check_video_output(path, overwrite=overwrite)
    return path


def _multiplex_output(source: Path, given: str | Path | None, overwrite: bool) -> Path:
    path = source.with_name(f"{source.stem}_multiplex.MOV") if given is None else Path(given).expanduser()
    if path.suffix.lower() not in CARRIERS:
        raise SettingError(
            f"{path.name} cannot carry metadata here: its name should end in one of {', '.join(CARRIERS)}."
        )
    if not path.parent.is_dir():
        raise MissingInputError(f"there is no folder {path.parent} for {path.name}: make it first.")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} is there already: name another file, or say overwrite=True.")
    return path


def _check_different(source: Path, outputs: Outputs) -> None:
    paths = [source, *(p for p in (outputs.metadata, outputs.video, outputs.multiplex) if p is not None)]
    if len({path.resolve() for path in paths}) < len(paths):
        told = ", ".join(str(path) for path in paths)
        raise SettingError(f"the video, its metadata and the outputs should be different files: {told}.")

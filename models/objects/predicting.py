"""Objects in single images and in videos, for every model that finds objects."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rasterloom.models.services import service

TRACKER_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {"assignment_iou_thrd": 0.3, "detect_frames": 10, "vanish_frames": 40}
)
"""Least overlap of a box with where its track should be; frames that an object must be found in to be
tracked, and absent from to have vanished."""
VISUAL_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {"color": (255, 255, 255), "fontface": 0, "show_labels": True, "show_scores": True, "thickness": 2}
)
"""Colour (blue, green, red), OpenCV's number of a font, what stands beside a box, and its lines in pixels."""


def predict_image(
    model: Any,
    image_path: Any,
    threshold: float = 0.5,
    nms_overlap: float = 0.1,
    return_scores: bool = False,
    visualize: bool | str | Path = False,
    resize: bool = False,
    batch_size: int = 1,
    **kwargs: Any,
) -> tuple[Any, ...]:
    """The objects of one image, the most certain first.

    Parameters
    ----------
    image_path
        Path of an image or raster of any size, or an array (height, width, bands).
    threshold
        Least score of an object, 0..1.
    nms_overlap
        Of objects of a class that overlap more than this, the most certain one is kept.
    return_scores
        Whether scores are returned too.
    visualize
        True draws the image with its objects, in a notebook or a window; a path saves the picture there.
    resize
        False sees the image chip by chip, joined without seams; True sees it once, at the size of a chip.
    batch_size
        Chips that the network sees at once.
    kwargs
        ``tta_prediction``: see every chip in its eight flips and rotations; ``min_obj_size``: pixels that
        the shorter side of a box has at least; ``return_masks``: return masks (n, height, width) too.

    Returns
    -------
    tuple
        ``[[xmin, ymin, width, height], ...]`` in pixels, class values, and what else is returned.
    """
    found: tuple[Any, ...] = service("predict_image")(
        model,
        image_path,
        threshold=threshold,
        nms_overlap=nms_overlap,
        return_scores=return_scores,
        visualize=visualize,
        resize=resize,
        batch_size=batch_size,
        **kwargs,
    )
    return found


def predict_video(
    model: Any,
    input_video_path: str | Path,
    metadata_file: str | Path,
    threshold: float = 0.5,
    nms_overlap: float = 0.1,
    track: bool = False,
    visualize: bool = False,
    output_file_path: str | Path | None = None,
    multiplex: bool = False,
    multiplex_file_path: str | Path | None = None,
    tracker_options: Mapping[str, Any] = TRACKER_OPTIONS,
    visual_options: Mapping[str, Any] = VISUAL_OPTIONS,
    resize: bool = False,
    **kwargs: Any,
) -> Any:
    """Write the objects of every frame of a video into its metadata, and perhaps into videos.

    Parameters
    ----------
    input_video_path
        A video file; the model sees red, green and blue.
    metadata_file
        A table (csv) with a row for each frame. Its rows are kept and gain the objects as VMTI, in the column
        ``vmtilocaldataset``; where there is no such file it is made.
    threshold, nms_overlap
        As for an image.
    track
        Whether objects are followed from frame to frame.
    visualize, output_file_path
        Whether a video with the objects drawn into it is written, and where: beside the video, its name with
        ``_prediction``, unless it is named.
    multiplex, multiplex_file_path
        Whether a video that carries the metadata is written, and where: beside the video, its name with
        ``_multiplex.MOV``, unless it is named. A name ending in ``.ts`` makes a transport stream.
    tracker_options
        Some of :data:`TRACKER_OPTIONS`; the others stay as they are.
    visual_options
        Some of :data:`VISUAL_OPTIONS`; the others stay as they are.
    resize
        False sees a frame chip by chip, joined without seams; True sees it once, at the size of a chip.
    kwargs
        ``batch_size``: chips that the network sees at once; ``overwrite``: replace videos that are there.

    Returns
    -------
    VideoPredictions
        How many frames, objects and tracks, and the files that were written.
    """
    return service("predict_video")(
        model,
        input_video_path,
        metadata_file,
        threshold=threshold,
        nms_overlap=nms_overlap,
        track=track,
        visualize=visualize,
        output_file_path=output_file_path,
        multiplex=multiplex,
        multiplex_file_path=multiplex_file_path,
        tracker_options=tracker_options,
        visual_options=visual_options,
        resize=resize,
        **kwargs,
    )

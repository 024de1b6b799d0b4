"""Objects drawn into the frames of a video."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.video.frames import load_cv2
from rasterloom.pipeline.inference.video.vmti import Target

FONTS = (0, 1, 2, 3, 4, 5, 6, 7)
"""OpenCV's numbers of its fonts, each also with 16 added for italics; it draws some of them alike."""
_ITALIC = 16
_SCALE = 0.5
"""Size of the text, as a part of the font's own."""


@dataclass(frozen=True, kw_only=True)
class VisualOptions:
    """How objects are drawn."""

    color: tuple[int, int, int] = (255, 255, 255)
    """Blue, green, red, 0..255."""
    fontface: int = 0
    """OpenCV's number of a font, 0..7, with 16 added for italics."""
    show_labels: bool = True
    """Whether the class stands beside the box."""
    show_scores: bool = True
    """Whether the score does."""
    thickness: int = 2
    """Of the lines, in pixels, from 1."""

    @classmethod
    def read(cls, options: Mapping[str, Any] | None) -> "VisualOptions":
        """Options by their names; those not named stay as they are.

        Raises
        ------
        SettingError
            If a name is unknown or a value cannot work.
        """
        known = [option.name for option in fields(cls)]
        given = dict(options or {})
        if unknown := sorted(set(given) - set(known)):
            raise SettingError(f"visual_options has {', '.join(unknown)}: it knows {', '.join(known)}.")
        if "color" in given:
            given["color"] = _color(given["color"])
        read = cls(**given)
        if read.fontface not in {*FONTS, *(font + _ITALIC for font in FONTS)}:
            raise SettingError(
                f"fontface={read.fontface!r} cannot work: use 0 to 7, or 16 to 23 for italics."
            )
        if isinstance(read.thickness, bool) or not isinstance(read.thickness, int) or read.thickness < 1:
            raise SettingError(
                f"thickness={read.thickness!r} cannot work: use a whole number of pixels, 1 or more."
            )
        return read


def drawn(pixels: np.ndarray, targets: Sequence[Target], options: VisualOptions) -> np.ndarray:
    """A frame with its objects drawn on it; the frame itself stays as it is.

    Parameters
    ----------
    pixels
        (height, width, 3) uint8; blue, green, red.
    """
    cv2 = load_cv2()
    picture = np.ascontiguousarray(pixels).copy()
    for target in targets:
        left, top, right, bottom = (round(value) for value in target.box)
        # the last pixel of a box is the one before its edge
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), options.color, options.thickness)
        if text := caption(target, options):
            (width, height), _ = cv2.getTextSize(text, options.fontface, _SCALE, 1)
            above = top >= height + 2 * options.thickness
            up = top - 2 * options.thickness if above else top + height + options.thickness + 2
            right_of = left if above else left + options.thickness + 2
            across = max(min(right_of, picture.shape[1] - width), 0)
            cv2.putText(picture, text, (across, up), options.fontface, _SCALE, options.color, 1, cv2.LINE_AA)
    return picture


def caption(target: Target, options: VisualOptions) -> str:
    """What stands beside the box of an object: its track, class and score."""
    words = [f"{target.track}:"] if target.track else []
    if options.show_labels:
        words.append(target.label.encode("ascii", "replace").decode())  # the fonts know no other signs
    if options.show_scores:
        words.append(f"{target.score:.2f}")
    return " ".join(words)


def _color(value: Any) -> tuple[int, int, int]:
    try:
        blue, green, red = (int(part) for part in value)
    except (TypeError, ValueError):
        blue = green = red = -1
    if not all(0 <= part <= 255 for part in (blue, green, red)):
        raise SettingError(f"color={value!r} cannot work: use (blue, green, red), each 0 to 255.")
    return blue, green, red

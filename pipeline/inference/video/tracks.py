"""Which objects of a frame are those of the frames before: tracks by motion and overlap.

Every track keeps where its box is, how fast it moves, and how sure that is: a Kalman filter for each of
centre, width and height. Found boxes are given to tracks so that the sum of overlaps is largest, as in SORT
(Bewley et al., 2016, arXiv:1602.00763).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from rasterloom.models.errors import SettingError

_POSITION, _SPEED = 1 / 20, 1 / 160
"""How far a box is off, and how much its speed changes from frame to frame, as a part of its height."""
_FILTERED = 4  # centre x, centre y, width, height


@dataclass(frozen=True, kw_only=True)
class TrackerOptions:
    """When a box belongs to a track, and when a track begins and ends."""

    assignment_iou_thrd: float = 0.3
    """Least overlap of a box with where its track should be, as intersection over union, 0..1."""
    detect_frames: int = 10
    """Frames that an object must be found in before it is tracked."""
    vanish_frames: int = 40
    """Frames that an object must be absent from to have vanished."""

    @classmethod
    def read(cls, options: Mapping[str, Any] | None) -> "TrackerOptions":
        """Options by their names; those not named stay as they are.

        Raises
        ------
        SettingError
            If a name is unknown or a value cannot work.
        """
        known = [option.name for option in fields(cls)]
        given = dict(options or {})
        if unknown := sorted(set(given) - set(known)):
            raise SettingError(f"tracker_options has {', '.join(unknown)}: it knows {', '.join(known)}.")
        read = cls(**given)
        overlap = read.assignment_iou_thrd
        if isinstance(overlap, bool) or not isinstance(overlap, int | float) or not 0 <= overlap <= 1:
            raise SettingError(f"assignment_iou_thrd={overlap!r} cannot work: use a number from 0 to 1.")
        for name in ("detect_frames", "vanish_frames"):
            count = getattr(read, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise SettingError(f"{name}={count!r} cannot work: use a whole number of frames, 1 or more.")
        return read


class Tracker:
    """Follows objects from frame to frame; remembers no more than the tracks that have not vanished."""

    def __init__(self, options: TrackerOptions | None = None) -> None:
        self.options = options or TrackerOptions()
        self.known = 0
        """Tracks that had a number so far, those that vanished too."""
        self._ids = np.zeros(0, np.int64)  # 0 until a track was found often enough
        self._labels = np.zeros(0, np.int64)
        self._found = np.zeros(0, np.int64)
        self._absent = np.zeros(0, np.int64)
        self._place = np.zeros((0, _FILTERED))
        self._speed = np.zeros((0, _FILTERED))
        self._spread = np.zeros((0, 3))  # variance of the place, of both together, of the speed

    def __len__(self) -> int:
        """Tracks that have not vanished, those that are not yet told of too."""
        return len(self._ids)

    def update(self, boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The track of each object of the next frame.

        Parameters
        ----------
        boxes
            (n, 4), x1, y1, x2, y2 in pixels.
        labels
            (n,) classes; a track keeps its class.

        Returns
        -------
        ndarray of int64, (n,)
            Numbers of tracks from 1, in the order in which they were sure; 0 for objects without a track.
        """
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        labels = np.asarray(labels, np.int64)
        self._move()
        tracks, objects = self._assigned(boxes, labels)
        self._correct(tracks, boxes[objects])
        self._absent += 1
        self._absent[tracks] = 0
        self._found[tracks] += 1
        fresh = np.setdiff1d(np.arange(len(boxes)), objects)
        begun = len(self)
        self._begin(boxes[fresh], labels[fresh])
        owner = np.full(len(boxes), -1)
        owner[objects], owner[fresh] = tracks, begun + np.arange(len(fresh))
        self._name()
        numbers = self._ids[owner]
        self._forget()
        return numbers

    def _move(self) -> None:
        """Where the tracks should be one frame later."""
        drift = (_SPEED * self._place[:, 3]) ** 2
        shake = (_POSITION * self._place[:, 3]) ** 2
        self._place += self._speed
        place, both, speed = self._spread.T
        self._spread = np.stack([place + 2 * both + speed + shake, both + speed, speed + drift], axis=1)

    def _assigned(self, boxes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        overlaps = _overlaps(_corners(self._place), boxes)
        overlaps[self._labels[:, None] != labels[None]] = 0
        overlaps[overlaps < max(self.options.assignment_iou_thrd, 1e-9)] = 0  # nothing in common is no match
        tracks, objects = linear_sum_assignment(overlaps, maximize=True)
        kept = overlaps[tracks, objects] > 0
        return tracks[kept], objects[kept]

    def _correct(self, tracks: np.ndarray, boxes: np.ndarray) -> None:
        """Bring tracks towards the boxes that were found for them."""
        place, both, speed = self._spread[tracks].T
        noise = (_POSITION * np.abs(self._place[tracks, 3])) ** 2
        gain, pull = place / (place + noise), both / (place + noise)
        surprise = _centred(boxes) - self._place[tracks]
        self._place[tracks] += gain[:, None] * surprise
        self._speed[tracks] += pull[:, None] * surprise
        self._spread[tracks] = np.stack([(1 - gain) * place, (1 - gain) * both, speed - pull * both], axis=1)

    def _begin(self, boxes: np.ndarray, labels: np.ndarray) -> None:
        count = len(boxes)
        height = boxes[:, 3] - boxes[:, 1]
        spread = np.stack(
            [(2 * _POSITION * height) ** 2, np.zeros(count), (10 * _SPEED * height) ** 2], axis=1
        )
        self._ids = np.concatenate([self._ids, np.zeros(count, np.int64)])
        self._labels = np.concatenate([self._labels, labels])
        self._found = np.concatenate([self._found, np.ones(count, np.int64)])
        self._absent = np.concatenate([self._absent, np.zeros(count, np.int64)])
        self._place = np.concatenate([self._place, _centred(boxes)])
        self._speed = np.concatenate([self._speed, np.zeros((count, _FILTERED))])
        self._spread = np.concatenate([self._spread, spread])

    def _name(self) -> None:
        """Give a number to the tracks that were found often enough by now."""
        sure = np.flatnonzero((self._ids == 0) & (self._found >= self.options.detect_frames))
        self._ids[sure] = self.known + 1 + np.arange(len(sure))
        self.known += len(sure)

    def _forget(self) -> None:
        kept = self._absent < self.options.vanish_frames
        for name in ("_ids", "_labels", "_found", "_absent", "_place", "_speed", "_spread"):
            setattr(self, name, getattr(self, name)[kept])


def _centred(boxes: np.ndarray) -> np.ndarray:
    size = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes[:, :2] + size / 2, size], axis=1)


def _corners(centred: np.ndarray) -> np.ndarray:
    half = np.maximum(centred[:, 2:], 0) / 2
    return np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)


def _overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of two lots of boxes."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    other = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(other - corner, 0, None), axis=2)
    sizes = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    return shared / np.maximum(sizes[0][:, None] + sizes[1][None] - shared, 1e-12)

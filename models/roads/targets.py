"""What a network for lines is to learn of labels: lines of a width, and how they lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rasterloom.models.losses.pixels import IGNORE_INDEX
from rasterloom.models.networks.roads import HALF_TURN, RoadSettings
from rasterloom.models.roads.lines import CentreLines, centre_lines

LABELLED_WIDTH = 0.76
"""``gaussian_thresh`` at which lines keep the width of their labels."""
LEAST_CERTAINTY = 0.3
"""Places whose line has less of an orientation, such as crossings, count for nothing."""


@dataclass(frozen=True)
class RoadTargets:
    """Of a batch, (N, H, W) int64 each."""

    classes: Tensor
    """Positions among the outputs; negative ones count for nothing."""
    orientations: Tensor
    """0 far from lines, then 1 + the number of the orientation; negative ones count for nothing."""


class TargetMaker:
    """Makes targets from labels, the same for the same labels."""

    def __init__(self, settings: RoadSettings, *, outputs: int, background: int, ignored: Sequence[int]):
        """Fix what counts as a line.

        Parameters
        ----------
        outputs
            Number of network outputs, K.
        background
            Position of the output that is no line.
        ignored
            Positions that count for nothing.
        """
        self._settings, self._background = settings, background
        self._is_line, self._counts = np.ones(outputs, bool), np.ones(outputs, bool)
        self._counts[list(ignored)] = False
        self._is_line[[background, *ignored]] = False
        self._wider = math.sqrt(math.log(settings.gaussian_thresh) / math.log(LABELLED_WIDTH))

    def classes(self, positions: Tensor) -> Tensor:
        """The classes to learn, (N, H, W), as :class:`RoadTargets` has them."""
        return positions if self._keeps_width else self(positions).classes

    def __call__(self, positions: Tensor) -> RoadTargets:
        """The targets of labels, (N, H, W) int64 positions among the outputs, on their device."""
        chips = [self._of_chip(chip) for chip in positions.cpu().numpy()]
        classes, orientations = (torch.from_numpy(np.stack(part)) for part in zip(*chips, strict=True))
        return RoadTargets(classes.to(positions.device), orientations.to(positions.device))

    @property
    def _keeps_width(self) -> bool:
        return self._settings.gaussian_thresh == LABELLED_WIDTH

    def _of_chip(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        known = positions >= 0
        orientations = np.where(known & self._counts[positions.clip(0)], 0, IGNORE_INDEX)
        lines = centre_lines(positions, known & self._is_line[positions.clip(0)])
        if lines is None:
            return positions, orientations
        near = (orientations == 0) & (lines.distance <= self._settings.orient_theta)
        orientations[near] = self._numbers(lines)[near]
        return self._of_width(positions, lines), orientations

    def _numbers(self, lines: CentreLines) -> np.ndarray:
        count = self._settings.orientations
        # the first orientation is that around east, and not what begins there
        number = np.rint(lines.angle * count / HALF_TURN).astype(np.int64) % count
        return np.where(lines.certainty >= LEAST_CERTAINTY, 1 + number, IGNORE_INDEX)

    def _of_width(self, positions: np.ndarray, lines: CentreLines) -> np.ndarray:
        """Lines as wide as the bell over their centre is where it is cut; ignored labels stay."""
        if self._keeps_width:
            return positions
        within = lines.distance <= lines.half_width * self._wider
        changed = positions.copy()
        if self._wider > 1:
            grown = within & (positions == self._background)
            changed[grown] = lines.value[grown]
        else:
            shrunk = ~within & (positions >= 0) & self._is_line[positions.clip(0)]
            changed[shrunk] = self._background
        return changed

"""From probabilities to labels."""

from typing import Protocol

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.inference.scenes.arguments import SceneArguments

BETWEEN = ","
"""Between the labels of one object, as in chips of MultiLabeled_Tiles."""


class Choice(Protocol):
    """What decides about a label."""

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Those of the network's outputs, in order."""

    @property
    def several(self) -> bool:
        """Whether a chip is given several labels, or none."""

    @property
    def arguments(self) -> SceneArguments:
        """With the least certainty of a label."""


def labels_of(choice: Choice, shares: np.ndarray) -> tuple[list[str | None], np.ndarray]:
    """The label of each chip, and how certain the most certain class is.

    Parameters
    ----------
    shares
        (N, K) probabilities; nan where the network gives none.

    Returns
    -------
    labels : list of str
        Names of classes; of several labels all that are certain enough, and perhaps none of them: "". None
        where the only one is not certain enough.
    confidences : ndarray, (N,)
        0..1; nan where a probability is.
    """
    names = [info.name for info in choice.classes]
    confidences = shares.max(axis=1)
    enough = shares >= choice.arguments.score_threshold
    if choice.several:
        found = [BETWEEN.join(names[place] for place in np.flatnonzero(row)) for row in enough]
        return list(found), confidences
    best = shares.argmax(axis=1)
    certain = enough[np.arange(len(shares)), best]
    return [
        names[place] if sure else None for place, sure in zip(best.tolist(), certain.tolist(), strict=True)
    ], confidences

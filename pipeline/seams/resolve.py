"""From what single chips have found to what is there: the same result as if nothing had been cut."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.seams.candidates import Candidates, ChipViews
from rasterloom.pipeline.seams.found import Found
from rasterloom.pipeline.seams.greedy import KEPT, OPEN, suppress
from rasterloom.pipeline.seams.overlap import iou, overlapping_pairs
from rasterloom.pipeline.seams.same import groups_of, in_order, things_of

Exposed = Callable[[np.ndarray], np.ndarray]
"""From boxes (n, 4) to (n,) bool: whether a chip that is not at hand may see some of each."""


@dataclass(frozen=True)
class SeamRules:
    """How candidates become things."""

    views: ChipViews
    nms_overlap: float = 0.1
    """IoU, 0..1. Of two things of one class that overlap more, the one with the lower score is dropped."""
    exclude_pad_detections: bool = True
    """Whether to drop what only a chip saw that does not own its centre: the owner sees it better."""

    def __post_init__(self) -> None:
        if not 0 <= self.nms_overlap <= 1:
            raise SettingError(f"nms_overlap={self.nms_overlap} is no share of an area: use 0 to 1.")


def resolve(candidates: Candidates, rules: SeamRules) -> Found:
    """Decide what is there, from all that the chips of a run have found.

    Candidates of different chips that agree on what both see are one thing (``same.groups_of``). Each such
    group becomes its best whole member, or what its members cover together where all are cut
    (``same.things_of``). Of two things of one label that overlap by more than ``nms_overlap``, the one with
    the lower score is dropped, highest scores first; they are compared where candidates of the two overlap.

    Parameters
    ----------
    candidates
        In any order: the result depends on nothing but which they are.
    rules
        How they become things.

    Returns
    -------
    Found
        Highest score first.
    """
    return settle(candidates, rules)[0].ranked()


def settle(
    candidates: Candidates, rules: SeamRules, exposed: Exposed | None = None
) -> tuple[Found, Candidates]:
    """Decide what can be decided from some of the candidates.

    Parameters
    ----------
    candidates
        All that some neighbouring chips have found, but for what is decided already.
    rules
        How they become things.
    exposed
        Which boxes other chips may know more about; None: none.

    Returns
    -------
    Found, Candidates
        What is there whatever the other chips have found, and the candidates on which other things hang.
        Settled together with the others', these give the rest of what settling all at once would give.
    """
    candidates = in_order(candidates, rules.views)
    groups = groups_of(candidates, rules.views)
    things = things_of(candidates, groups, rules.views, exclude_pad_detections=rules.exclude_pad_detections)
    # A group is closed if no chip outside can see any of its members, so that it has no other members.
    closed = np.ones(len(things.counts), bool)
    if exposed is not None:
        closed[groups[exposed(candidates.boxes)]] = False
    ranked, rank = _ranks(things.found)
    higher, lower, unknown = _conflicts(candidates, groups, closed, things.found.boxes, rules.nms_overlap)
    unknown |= ~closed
    matters = ~closed | things.counts  # what is excluded suppresses nothing
    between = matters[higher] & matters[lower]
    pairs = np.sort(np.stack([rank[higher[between]], rank[lower[between]]]), axis=0)
    state = np.empty(len(rank), np.int8)
    state[ranked] = suppress(len(rank), pairs[0], pairs[1], unknown[ranked])
    kept = matters & (state == KEPT)
    return things.found.taken(kept), candidates.taken((matters & (state == OPEN))[groups])


def _ranks(found: Found) -> tuple[np.ndarray, np.ndarray]:
    """Positions from the highest rank down, and the rank of each position."""
    ranked = found.order()
    rank = np.empty(len(ranked), np.int64)
    rank[ranked] = np.arange(len(ranked))
    return ranked, rank


def _conflicts(
    candidates: Candidates, groups: np.ndarray, closed: np.ndarray, boxes: np.ndarray, nms_overlap: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of closed groups that overlap too much, and which closed groups an open one may overlap."""
    unknown = np.zeros(len(closed), bool)
    pairs = [np.zeros((2, 0), np.int64)]
    for first, second in overlapping_pairs(candidates.boxes, candidates.labels):
        one, other = groups[first].astype(np.int64), groups[second].astype(np.int64)
        both = closed[one] & closed[other]
        unknown[one[~both]] = unknown[other[~both]] = True
        both[both] = (one[both] != other[both]) & (iou(boxes[one[both]], boxes[other[both]]) > nms_overlap)
        pairs.append(np.unique(np.stack([one[both], other[both]]), axis=1))
    one, other = np.concatenate(pairs, axis=1)
    return one, other, unknown

"""Labels for whole chips: the class that covers most of one, and the classes that occur in it."""

from collections.abc import Sequence

import numpy as np

from rasterloom.pipeline.labels.objects import Objects


def main_class(found: Objects | np.ndarray) -> np.ndarray:
    """The class that covers most of each chip, (n,) int64; of equal ones the lower value, 0 for none.

    Parameters
    ----------
    found
        Clipped features of n chips, which count by their area inside, or class maps, (H, W) or (n, H, W),
        in which 0 is no class.
    """
    chips, chip, value, amount = _amounts(found)
    main = np.zeros(chips, np.int64)
    order = np.lexsort((value, -amount, chip))
    _, first = np.unique(chip[order], return_index=True)
    main[chip[order][first]] = value[order][first]
    return main


def classes_present(found: Objects | np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Which classes occur in each chip, (n, K) uint8 in the order of ``values``.

    Parameters
    ----------
    found
        Clipped features of n chips, or class maps, (H, W) or (n, H, W).
    values
        The K class values; others are passed over.
    """
    chips, chip, value, _ = _amounts(found)
    present = np.zeros((chips, len(values)), np.uint8)
    for column, known in enumerate(values):
        present[chip[value == known], column] = 1
    return present


def _amounts(found: Objects | np.ndarray) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Number of chips, and the chip, class value and area (or pixels) of each class in each chip."""
    if isinstance(found, Objects):
        pairs = np.stack([found.chips, found.values], axis=1)
        pairs, index = np.unique(pairs, axis=0, return_inverse=True)
        amounts = np.bincount(index.reshape(-1), found.areas, minlength=len(pairs))
        return len(found.counts), pairs[:, 0], pairs[:, 1], amounts
    maps = found.reshape(-1, found.shape[-2] * found.shape[-1])
    counted = [np.unique(chip[chip != 0], return_counts=True) for chip in maps]
    chip = np.repeat(np.arange(len(maps)), [len(values) for values, _ in counted])
    nothing = np.zeros(0, np.int64)
    values = np.concatenate([nothing, *(values for values, _ in counted)]).astype(np.int64)
    amounts = np.concatenate([nothing, *(counts for _, counts in counted)]).astype(np.float64)
    return len(maps), chip, values, amounts

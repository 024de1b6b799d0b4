"""Prepared samples one by one, for loops of the caller's own."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from rasterloom.pipeline.datasets.lots import Lot
from rasterloom.pipeline.datasets.preparation import Preparation, samples_of
from rasterloom.pipeline.datasets.samples import Chips

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class PreparedChips(Dataset):
    """Samples as :class:`~rasterloom.pipeline.datasets.batches.Batches` joins them, on the CPU."""

    chips: Chips
    prepare: Preparation
    seed: int

    def __len__(self) -> int:
        return len(self.chips)

    def __getitem__(self, position: int) -> Any:
        """Inputs and target of one chip, without a batch's first dimension.

        The second chip of an unpaired sample is the one at the same position, counted round.
        """
        if not -len(self) <= position < len(self):
            raise IndexError(f"sample {position}: there are {len(self)}.")
        place = position % len(self)
        other = self.chips.other
        raw = self.chips[place if other is None else (place, place % len(other))]
        batch = replace(self.prepare, collate=None)(raw, Lot(self.seed), np.zeros(1, np.int64), _CPU)
        return samples_of(batch, 1)[0]

"""Random numbers that belong to a chip, not to the order in which chips come."""

from dataclasses import dataclass

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)
"""The golden ratio in 64 bits: neighbouring counters start far apart (Steele and others, 2014)."""


@dataclass(frozen=True)
class Lot:
    """What is drawn in one epoch of a run."""

    seed: int
    epoch: int = 0

    def numbers(self, chips: np.ndarray, visits: np.ndarray, count: int) -> np.ndarray:
        """Numbers in [0, 1) that depend on seed, epoch, chip and visit alone.

        Parameters
        ----------
        chips
            (n,) positions in the data set.
        visits
            (n,) how many times the epoch has come by each chip before.
        count
            Numbers for each chip.

        Returns
        -------
        numpy.ndarray
            (n, count) float64.
        """
        (start,) = np.random.SeedSequence((self.seed, self.epoch)).generate_state(1, np.uint64)
        state = start
        with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is meant
            for part in (
                np.asarray(chips, np.uint64)[:, None],
                np.asarray(visits, np.uint64)[:, None],
                np.arange(count, dtype=np.uint64)[None],
            ):
                state = _mixed(state + (part + np.uint64(1)) * _STEP)
        return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def seed_of(self, batch: int) -> int:
        """A seed for whatever draws its own numbers in one batch, 0..2**63."""
        return mixed_seed(self.seed, self.epoch, batch)


def mixed_seed(*numbers: int) -> int:
    """One 63-bit seed from several numbers, far apart for neighbours."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _mixed(state: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))

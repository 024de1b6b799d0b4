"""What training says, and what it keeps to itself."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.loggers import TensorBoardLogger

from rasterloom.models.errors import MissingExtraError

_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Inside, Lightning's notices and hints are not shown; errors and other libraries' warnings are."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        # Hints about settings that are fixed here on purpose: number of loader workers, log interval.
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        # Gradient scaling may leave out the first steps; the scheduler then warns about their order.
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step", category=UserWarning)
        # torch renamed a class that Lightning 2.6 still asks for.
        renamed = r".*isinstance\(treespec, LeafSpec\)"
        warnings.filterwarnings("ignore", message=renamed, category=FutureWarning)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def tensorboard_logger(working_dir: Path, run: str) -> TensorBoardLogger:
    """A logger that writes to ``<working_dir>/training_log/<run>``.

    Raises
    ------
    MissingExtraError
        If tensorboard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingExtraError(
            "tensorboard=True needs tensorboard, which is not installed: pip install 'rasterloom[tracking]'."
        )
    return TensorBoardLogger(working_dir, name="training_log", version=run)

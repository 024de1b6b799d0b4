"""A generated landscape at two dates, written to a folder: imagery of both, and what changed."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.landscape.classes import CHANGE_CLASSES
from rasterloom.pipeline.landscape.imagery import open_dates
from rasterloom.pipeline.landscape.moments import AFTER, BEFORE
from rasterloom.pipeline.landscape.outlines import changed_features, write_outlines
from rasterloom.pipeline.landscape.render import Block, burn_changes, render_block
from rasterloom.pipeline.landscape.write import checked_grid, rendered, windows_of, written_whole

_NAMES = ("before.tif", "after.tif", "changes.parquet", "change.tif")


@dataclass(frozen=True)
class ChangedLandscape:
    """Where a generated pair of scenes lies. All of it is generated: it shows no place on Earth."""

    before: Path
    """Imagery of the earlier date: red, green, blue, near infrared, uint8."""
    after: Path
    """Imagery of the later date, on the same grid, under another light."""
    labels: Path
    """Outlines of the buildings that stand at one date only, with ``classvalue`` and ``classname``. Burned in
    file order, the later one winning, they give ``truth``."""
    truth: Path
    """What happened at every pixel, uint8: 0 nothing, 1 built, 2 gone."""
    classes: tuple[ClassInfo, ...]
    """The two changes, values 1 and 2."""
    size: int
    """Side of the scenes in pixels."""


def generate_change(
    folder: str | os.PathLike[str],
    *,
    size: int = 4096,
    seed: int = 0,
    cell_size: float = 1.0,
    crs: str = "EPSG:32633",
    overwrite: bool = False,
    client: Any = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ChangedLandscape:
    """Write the scene of :func:`generate_landscape` as it is at two dates.

    Between them a quarter of all buildings is built, and about a seventh goes. Everything else stays, but it
    looks different: the sun stands elsewhere, fields have other tones, plants grow in other patches. A pixel
    depends on the seed, the cell size and its position only, and the same call gives the same files.

    Parameters
    ----------
    folder
        Gets ``before.tif``, ``after.tif``, ``change.tif`` and ``changes.parquet``. Made if missing.
    size, seed, cell_size, crs, overwrite, client, on_progress
        As for :func:`generate_landscape`.

    Raises
    ------
    SettingError, CrsError, OutputExistsError, OutputError
        As :func:`generate_landscape` does.
    """
    grid = checked_grid(size, seed, cell_size, crs)
    target = Path(folder)
    with written_whole(target, grid, _NAMES, overwrite=overwrite, scenes=2) as parts:
        before, after, labels, truth = (parts[name] for name in _NAMES)
        with open_dates(before, after, truth, grid) as imagery:
            windows = list(windows_of(size))
            pairs = rendered(_render_dates, seed, cell_size, windows, client=client)
            for done, (window, pair) in enumerate(zip(windows, pairs, strict=True), 1):
                imagery.write(window, *pair)
                if on_progress is not None:
                    on_progress(done, len(windows))
        write_outlines(changed_features(seed, grid), grid, {labels: grid.crs}, classes=CHANGE_CLASSES)
    before, after, labels, truth = (target / name for name in _NAMES)
    return ChangedLandscape(before, after, labels, truth, CHANGE_CLASSES, size)


def _render_dates(seed: int, cell_size: float, row: int, col: int) -> tuple[Block, Block]:
    """Canonical block (row, col) at both dates; the classes of the later one are those of change."""
    before, after = (render_block(seed, cell_size, row, col, moment) for moment in (BEFORE, AFTER))
    return before, Block(after.pixels, burn_changes(seed, cell_size, row, col))

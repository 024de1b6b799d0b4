"""What suppression has to know of any number of features, in files of one number after the other."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from rasterloom.pipeline.seams.overlap import areal

_COLUMNS = {"boxes": ("f8", 4), "scores": ("f8", 1), "labels": ("i4", 1), "starts": ("i8", 1)}

_PLAIN = 1e-12
"""Share of its box by which a rectangle's area may be off for rounding."""

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(n,) geometries, (n,) scores, (n,) labels."""


@dataclass(frozen=True)
class Spool:
    """Features by their number, in the order they came in."""

    folder: Path
    count: int
    drawn: bool
    """Whether any is something else than an upright rectangle."""

    @classmethod
    def write(cls, folder: Path, blocks: Iterable[Rows]) -> "Spool":
        """Keep features in a folder of their own.

        Parameters
        ----------
        folder
            Is made.
        blocks
            The features, with finite scores. One without an area overlaps nothing.
        """
        folder.mkdir(parents=True)
        files = {name: (folder / name).open("wb") for name in (*_COLUMNS, "outlines")}
        count = end = 0
        try:
            for geometries, scores, labels in blocks:
                outlines = _outlines(geometries)
                lengths = np.array([len(outline) for outline in outlines], np.int64)
                starts = end + np.cumsum(lengths) - lengths
                end += int(lengths.sum())
                columns = {"boxes": _boxes(geometries), "scores": scores, "labels": labels, "starts": starts}
                for name, column in columns.items():
                    np.ascontiguousarray(column, _COLUMNS[name][0]).tofile(files[name])
                files["outlines"].write(b"".join(outlines))
                count += len(geometries)
            np.array([end], np.int64).tofile(files["starts"])
        finally:
            for file in files.values():
                file.close()
        return cls(folder, count, end > 0)

    def column(self, name: str) -> np.ndarray:
        """``boxes`` (n, 4), ``scores`` or ``labels`` (n,), mapped from the file."""
        kind, width = _COLUMNS[name]
        shape = (self.count, width) if width > 1 else (self.count + (name == "starts"),)
        if not self.count:
            return np.zeros(shape, kind)
        return np.memmap(self.folder / name, kind, "r", shape=shape)

    def shapes(self, numbers: np.ndarray) -> np.ndarray | None:
        """(n,) polygons of some features, None for upright rectangles; None where there is nothing else."""
        if not self.drawn:
            return None
        starts = self.column("starts")
        text = np.memmap(self.folder / "outlines", np.uint8, "r")
        shapes = np.full(len(numbers), None, object)
        first, stop = starts[numbers], starts[numbers + 1]
        for row in np.flatnonzero(stop > first):
            shapes[row] = shapely.from_wkb(text[first[row] : stop[row]].tobytes())
        return areal(shapes)


def _boxes(geometries: np.ndarray) -> np.ndarray:
    """(n, 4) bounds; those of nothing are a point, which overlaps nothing."""
    return np.nan_to_num(shapely.bounds(geometries), nan=0.0)


def _outlines(geometries: np.ndarray) -> list[bytes]:
    """WKB of what is no upright rectangle, b"" of what is."""
    x1, y1, x2, y2 = shapely.bounds(geometries).T
    boxed = (x2 - x1) * (y2 - y1)
    # four corners within a box, and all of its area: they are the box's own
    upright = (shapely.get_num_coordinates(geometries) == 5) & (shapely.get_num_geometries(geometries) == 1)
    upright &= np.abs(shapely.area(geometries) - boxed) <= _PLAIN * boxed
    plain = upright | ~(boxed > 0)  # what is nothing has no bounds
    outlines = [b""] * len(geometries)
    for row in np.flatnonzero(~plain):
        outlines[row] = shapely.to_wkb(geometries[row], output_dimension=2)
    return outlines

"""One cloud-optimised GeoTIFF from the tiles below it, as a batch of a plan: whole or not there."""

import hashlib
import json
import re
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil

from rasterloom.cluster.failures import megabytes
from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.places import Place
from rasterloom.cluster.scratch import scratch_folder
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.outputs.raster import OutputRaster, TileSource
from rasterloom.pipeline.outputs.virtual import virtual_raster
from rasterloom.pipeline.rasters.gdal import FAILURES, reading
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.vrt import to_xml

BLOCK = 512
"""Side of the COG's internal tiles, in pixels."""


@dataclass(frozen=True)
class CogPart:
    """One file of the output."""

    row: int
    col: int

    @property
    def id(self) -> str:
        return f"{self.row}_{self.col}"

    @property
    def cells(self) -> int:
        return 1

    def halves(self) -> None:
        """None: a file is written by one task."""

    def cell_ids(self) -> Iterator[str]:
        yield self.id


@dataclass(frozen=True)
class CogPlan:
    """Put the tiles of a run together, into one COG or into a grid of them."""

    tiles: TileSource
    what: OutputRaster
    place: Place
    """Where the files go."""
    stem: str
    """What their names begin with."""
    suffix: str = ".tif"
    side: int | None = None
    """Side of each COG in pixels, 512 times a power of two. None for one COG of everything."""

    @property
    def id(self) -> str:
        """Hash of where what is put."""
        what = asdict(self.what) | {"nodata": str(self.what.nodata)}
        parts = [what, self.place.url, self.stem, self.suffix, self.side]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def batch_count(self) -> int:
        height, width = self.what.grid.shape
        return 1 if self.side is None else -(-height // self.side) * -(-width // self.side)

    @property
    def cell_count(self) -> int:
        return self.batch_count

    @property
    def overviews(self) -> int | None:
        """Levels that every file of a grid has, so that theirs join; None leaves it to GDAL."""
        return None if self.side is None else (self.side // BLOCK).bit_length() - 1

    def batches(self) -> Iterator[CogPart]:
        height, width = self.what.grid.shape
        side = self.side or max(height, width, 1)
        for row in range(-(-height // side)):
            for col in range(-(-width // side)):
                yield CogPart(row, col)

    def name(self, part: CogPart) -> str:
        """File name of a part."""
        return f"{self.stem}{self.suffix}" if self.side is None else f"{self.stem}_{part.id}{self.suffix}"

    def window(self, part: CogPart) -> Window:
        """Place of a part on the output's grid."""
        shape = self.what.grid.shape
        side = self.side or max(shape)
        return Window(part.row * side, part.col * side, side, side).clipped(shape)

    def content(self, part: CogPart) -> OutputRaster:
        """What a part says about itself: of a part's own pixels nobody has statistics."""
        if self.side is None:
            return self.what
        return replace(self.what, grid=self.what.grid.cropped(self.window(part)), statistics=())


def write_part(plan: CogPlan, part: CogPart) -> BatchResult:
    """Write one COG with overviews, colours, names and statistics; it appears whole or not at all.

    Raises
    ------
    OutputError
        If it cannot be written. What stood there stays as it was.

    References
    ----------
    GDAL documentation, "COG -- Cloud Optimized GeoTIFF generator"; overviews of classes by ``mode``.
    """
    started = time.perf_counter()
    window, what, name = plan.window(part), plan.content(part), plan.name(part)
    try:
        with _workbench(plan.place, name) as file:
            _copy(_moved(plan.tiles.within(window), window), what, plan.overviews, file)
            _put_in_place(file, plan.place, name)
    except FAILURES as error:
        raise _explained(error, plan.place, name, what) from error
    seconds = time.perf_counter() - started
    return BatchResult(part.id, 1, window.height * window.width, seconds)


def sweep(plan: CogPlan) -> None:
    """Remove what killed attempts left behind, once all files stand."""
    if plan.place.is_local:
        ours = re.compile(rf"\.{re.escape(plan.stem)}.*\.[0-9a-f]{{32}}\.part\.tif.*")
        for path in plan.place.path.glob(".*.part.tif*"):
            if ours.fullmatch(path.name):
                path.unlink(missing_ok=True)


def sidecar(name: str) -> str:
    """The file beside a TIFF that holds the names of its classes: a TIFF has no place for them."""
    return f"{name}.aux.xml"


@contextmanager
def _workbench(place: Place, name: str) -> Iterator[Path]:
    """A name to write under: beside the final one where that is a folder, else in the worker's own folder."""
    if place.is_local:
        place.path.mkdir(parents=True, exist_ok=True)
        file = place.path / f".{name}.{uuid.uuid4().hex}.part.tif"
        try:
            yield file
        finally:
            for leftover in place.path.glob(f"{_literal(file.name)}*"):  # GDAL's own temporary files, too
                leftover.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="rasterloom-cog-", dir=scratch_folder()) as folder:
        yield Path(folder) / "part.tif"


def _literal(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _moved(tiles: Iterable[tuple[str, Window]], window: Window) -> Iterator[tuple[str, Window]]:
    for path, place in tiles:
        yield path, replace(place, row=place.row - window.row, col=place.col - window.col)


def _copy(
    sources: Iterable[tuple[str, Window]], what: OutputRaster, overviews: int | None, file: Path
) -> None:
    joined = file.with_name(f"{file.name}.vrt")
    joined.write_text(to_xml(virtual_raster(sources, what)))
    # Deflating its temporary overviews, as GDAL does by itself, takes a third of the CPU time.
    temporary = "NONE" if what.is_class_map else "LZW"
    # one thread writes the same bytes everywhere
    with reading(), rasterio.Env(COG_TMP_COMPRESSION=temporary, GDAL_TIFF_INTERNAL_MASK=True):
        rasterio.shutil.copy(str(joined), str(file), driver="COG", **_options(what, overviews))
    joined.unlink()


def _options(what: OutputRaster, overviews: int | None) -> dict[str, str]:
    resampling = what.resampling.upper()
    options = {
        "COMPRESS": "DEFLATE",
        "LEVEL": "3",  # 6 takes twice the CPU time for a tenth fewer bytes
        "BLOCKSIZE": str(BLOCK),
        "OVERVIEW_RESAMPLING": resampling,
        "OVERVIEW_COMPRESS": "DEFLATE",
        "BIGTIFF": "IF_SAFER",
    }
    if not what.is_class_map:
        options |= {"PREDICTOR": "YES", "OVERVIEW_PREDICTOR": "YES"}
    if overviews is not None:
        options |= {"OVERVIEW_COUNT": str(overviews)} if overviews else {"OVERVIEWS": "NONE"}
    return options


def _put_in_place(file: Path, place: Place, name: str) -> None:
    """Give both files their final names, the COG last: when it is there, so are the names of its classes."""
    beside = file.with_name(sidecar(file.name))
    if beside.exists():
        place.write(sidecar(name), beside.read_bytes())
    else:
        place.remove(sidecar(name))
    if place.is_local:
        file.replace(place.path / name)
    else:
        place.upload(name, file)


def _explained(error: Exception, place: Place, name: str, what: OutputRaster) -> OutputError:
    raw = what.grid.height * what.grid.width * len(what.bands) * np.dtype(what.dtype).itemsize
    if place.is_local:
        free, where = place.free_bytes(), place.url
    else:
        where = scratch_folder() or tempfile.gettempdir()
        free = Place.of(where).free_bytes()
    space = "" if free is None else f"; {megabytes(free)} are free in {where}"
    return OutputError(
        f"{place}/{name} could not be written: {error}. It needs at most {raw:,} bytes and as much again "
        f"while it is put together{space}."
    )

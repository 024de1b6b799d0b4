"""Put finished tiles together into a cloud-optimised GeoTIFF, or into a grid of them."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from rasterloom.cluster.driver import OnProgress, execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError, OutputExistsError, SettingError
from rasterloom.pipeline.outputs.parts import BLOCK, CogPlan, sweep, write_part
from rasterloom.pipeline.outputs.raster import OutputRaster, TileSource

if TYPE_CHECKING:
    from distributed import Client

MAX_COG_SIZE = 65_536
"""Longest side of one COG in pixels, by default."""

_MARKERS = "cogs"
"""Folder of a run for the markers of its last step."""


def check_free(output: str | Path, *, overwrite: bool, suffix: str = ".tif") -> None:
    """Make sure that an output may be written, before any work is done.

    Raises
    ------
    OutputExistsError
        If something stands there and ``overwrite`` is false.
    OutputError
        If the folder, or the place in an object store, cannot be made or written to.
    SettingError
        If an address names no file.
    """
    place, name = _split(output)
    if place.is_local and (place.path / name).is_dir():
        if not overwrite:
            raise OutputExistsError(
                f"{output} exists and is a folder: give the name of a {suffix} file in it."
            )
        raise OutputError(f"{output} is a folder: name a {suffix} file in it.")
    probe = f".{name}.{os.getpid()}.{uuid4().hex[:8]}.probe"
    try:
        taken = place.exists(name)
        if not taken or overwrite:
            place.write(probe, b"")
            place.remove(probe)
    except OSError as error:
        raise OutputError(
            f"{place} cannot be written to: {error.strerror or error}. Choose a place that can."
        ) from error
    if taken and not overwrite:
        raise OutputExistsError(f"{output} exists: pass overwrite=True, or choose another name.")


def output_name(output: str | Path, shape: tuple[int, int], *, max_cog_size: int = MAX_COG_SIZE) -> str:
    """What opens the finished output: ``output``, or the .vrt that stands for a grid of COGs.

    Parameters
    ----------
    output
        Name that the caller gave, a path or a URL.
    shape
        Height and width in pixels.
    max_cog_size
        Longest side of one COG in pixels, 512 or more.
    """
    if cog_side(shape, max_cog_size) is None:
        return str(output)
    return _trunk(str(output)) + ".vrt"


def cog_side(shape: tuple[int, int], max_cog_size: int) -> int | None:
    """Side of each COG of a grid, None where one COG takes all.

    The largest 512 * 2^n up to ``max_cog_size``: at each overview level that they have in common, the COGs
    then lie on one grid.

    Raises
    ------
    SettingError
        If ``max_cog_size`` is below 512.
    """
    if max_cog_size < BLOCK:
        raise SettingError(f"max_cog_size={max_cog_size} is less than a block of a COG: use {BLOCK} or more.")
    if max(shape) <= max_cog_size:
        return None
    return BLOCK << ((max_cog_size // BLOCK).bit_length() - 1)


def assemble(
    client: "Client | None",
    tiles: TileSource,
    what: OutputRaster,
    output: str | Path,
    *,
    max_cog_size: int = MAX_COG_SIZE,
    folder: RunFolder,
    on_progress: OnProgress | None = None,
) -> str:
    """Write tiles as one COG or as a grid of them; the final name appears when all is whole.

    Up to ``max_cog_size`` a side, ``output`` is one COG, put together by one task. Above, it is a virtual
    raster beside a folder: for "map.tif", "map.vrt" and "map/map_<row>_<col>.tif", each COG put together by a
    task of its own, with a STAC item for each and a STAC collection over them. The same call, after an
    interruption, goes on with the COGs that are missing.

    Each task needs local disk space for its COG and the overviews, at most twice its raw size and usually a
    tenth of that: beside the output where that is a folder, in the worker's own folder where the output is a
    URL, from where it is uploaded whole.

    Parameters
    ----------
    client
        Where to run; None runs in this process, with the same bytes.
    tiles
        Where the pixels are. Each task asks for its own part.
    what
        All but the pixels.
    output
        Final name, a path or a URL. What stands there is replaced.
    max_cog_size
        Longest side of one COG in pixels, 512 or more.
    folder
        Folder of the run that wrote the tiles. Markers of this step stand in it until the end.
    on_progress
        Called in this thread after each COG.

    Returns
    -------
    str
        What opens the result: ``output``, or the .vrt.

    Raises
    ------
    OutputError
        If something cannot be written. A COG that stood under ``output`` stays as it was.
    RunInterrupted
        On Ctrl-C, or when the cluster was lost.
    """
    place, name = _split(output)
    stem, suffix = _trunk(name), name[len(_trunk(name)) :]
    side = cog_side(what.grid.shape, max_cog_size)
    target = place if side is None else place / stem
    plan = CogPlan(tiles, what, target, stem, suffix or ".tif" if side else suffix, side)
    run = RunFolder(folder.place / _MARKERS / plan.id[:16])
    _forget_stale(plan, run, folder)
    if side is not None:
        place.remove(f"{stem}.vrt")  # the COGs it shows are about to be replaced one by one
    execute(
        client, plan, write_part, run, max_failed=0.0, on_progress=on_progress, title=f"put {name} together"
    )
    if side is not None:
        # only large rasters need it
        from rasterloom.pipeline.outputs.mosaic import write_mosaic

        write_mosaic(plan, place)
    sweep(plan)
    with suppress(OSError):  # the result stands, and nobody reads these any more
        (folder.place / _MARKERS).remove_all()
    return output_name(output, what.grid.shape, max_cog_size=max_cog_size)


def _forget_stale(plan: CogPlan, run: RunFolder, folder: RunFolder) -> None:
    """Forget the COGs that an earlier call finished and that are gone, or older than their tiles."""
    done = run.place / "done"
    marked = done.names()
    if not marked:
        return
    newer = folder.place.exists("run.json") and json.loads(folder.place.read("run.json"))["computed"] > 0
    standing = plan.place.names()
    for part in plan.batches():
        if f"{part.id}.json" in marked and (newer or plan.name(part) not in standing):
            done.remove(f"{part.id}.json")


def _split(output: str | Path) -> tuple[Place, str]:
    whole = Place.of(output)
    if whole.parent == whole or not whole.name:
        raise SettingError(f"{output} names no file: use '{whole}/map.tif', say.")
    return whole.parent, whole.name


def _trunk(name: str) -> str:
    """The name without what follows the last dot of its last part."""
    head, slash, last = name.rpartition("/")
    trunk, dot, _ = last.rpartition(".")
    return f"{head}{slash}{trunk if dot and trunk else last}"

"""Detections by an inference function of a package's author: asked for its needs, then run tile by tile."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import shapely

from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.memory import share_free_memory
from rasterloom.cluster.resident import resident
from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import ModelMismatchError, PackageError
from rasterloom.models.legend import default_color
from rasterloom.pipeline.functions.objects import Finding, VectorFunction
from rasterloom.pipeline.functions.tiles import FunctionTile
from rasterloom.pipeline.inference.arguments import flag, share
from rasterloom.pipeline.inference.cell import Sight
from rasterloom.pipeline.inference.cell_work import run_cells
from rasterloom.pipeline.inference.cells import CellBlock
from rasterloom.pipeline.inference.devices import choose_device
from rasterloom.pipeline.inference.forward import is_out_of_memory
from rasterloom.pipeline.inference.objects.arguments import ObjectArguments
from rasterloom.pipeline.inference.objects.batch import ObjectCells
from rasterloom.pipeline.inference.objects.cell import Look
from rasterloom.pipeline.inference.objects.finds import Finds
from rasterloom.pipeline.inference.objects.plan import Function, ObjectPlan
from rasterloom.pipeline.inference.objects.planner import ObjectWishes
from rasterloom.pipeline.inference.planner import ground
from rasterloom.pipeline.inference.script_batch import device_number
from rasterloom.pipeline.inference.script_planner import bands_of
from rasterloom.pipeline.inference.scripts import StagedScript, load_script
from rasterloom.pipeline.inference.sizing import cut_cells
from rasterloom.pipeline.inference.wanted import read_mask
from rasterloom.pipeline.rasters.raster import Raster

_NAMELESS = "object"
"""What things are called where the package names no classes."""


def plan_function(
    raster: Raster, staged: StagedScript, wishes: ObjectWishes, *, client: Any = None
) -> ObjectPlan:
    """What a run will do. The function is loaded here, to be asked.

    Raises
    ------
    SettingError, ModelMismatchError, CrsError, LabelError
        If it cannot be done as wished.
    PackageError
        If the function cannot be run, or its tiles are not square.
    """
    context, source = wishes.context, staged.files.source
    device = choose_device(context.get("processorType"), client)
    number = device_number(device if client is None else "cpu")
    function = VectorFunction(staged.files, wishes.model_arguments, device=number)
    _check_kind(function, source)
    asked, scalars = function.configuration, function.scalars
    side, padding = asked.tile[0], asked.padding
    raster, extent = ground(raster, context, side)
    mask = context.get("mask")
    return ObjectPlan(
        raster=raster,
        cells=cut_cells(
            raster.grid.shape, extent, tile=asked.seen[0], padding=padding, cell_size=wishes.cell_size
        ),
        package=str(staged.path),
        digest=staged.files.digest,
        bands=bands_of(asked, raster, source),
        classes=_classes(staged.files.emd, source),
        arguments=ObjectArguments(tile_size=asked.seen[0], padding=padding, batch_size=1, **_rules(scalars)),
        device=device,
        function=Function(name=source, scalars=tuple(sorted(scalars.items()))),
        mask=None if mask is None else read_mask(mask, raster.grid),
    )


def run_function_batch(plan: ObjectPlan, batch: CellBlock) -> BatchResult:
    """Find what is in the cells of ``batch`` and write one file for each. No Dask inside; safe to repeat.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    PackageError
        If the function fails; the message says at which tile.
    OutputError
        If a file cannot be written.
    MemoryError
        If the function runs out of memory.
    """
    return run_cells(ObjectCells(plan, with_function(plan, function_of(plan))), batch, plan.device)


def with_function(plan: ObjectPlan, function: VectorFunction) -> Look:
    """How an inference function looks at chips."""
    tile, padding = plan.cells.tile, plan.cells.padding

    def look(sight: Sight, corners: list[tuple[int, int]]) -> list[Finds]:
        found = []
        for row, col in corners:
            part = (..., slice(row, row + tile), slice(col, col + tile))
            corner = (float(sight.window.col + col + padding), float(sight.window.row + row + padding))
            seen = FunctionTile(sight.pixels[part], sight.valid[part], corner)
            try:
                found.append(_finds(plan, function.run(seen)))
            except PackageError as error:
                if error.__cause__ is not None and is_out_of_memory(error.__cause__):
                    raise MemoryError(str(error)) from error
                raise PackageError(f"tile at row {corner[1]:g}, column {corner[0]:g}: {error}") from error
        return found

    return look


def function_of(plan: ObjectPlan) -> VectorFunction:
    """The function of a plan, loaded and asked once in this process."""
    assert plan.function is not None, "a plan of a function"
    told = plan.function

    def load() -> VectorFunction:
        share_free_memory()
        files = replace(load_script(plan.package), source=told.name)
        made = VectorFunction(files, dict(told.scalars), device=device_number(plan.device))
        asked = made.configuration
        if (asked.seen, asked.padding) != ((plan.cells.tile,) * 2, plan.cells.padding):
            raise PackageError(
                f"{told.name} asks for tiles of {asked.tile} pixels and a padding of {asked.padding} where "
                "it runs, and for others where the run was planned: its configuration must not depend on "
                "the machine."
            )
        return made

    key = hashlib.sha256(repr(told.scalars).encode()).hexdigest()
    return resident(f"vectors-{plan.digest}-{plan.device}-{key}", load)


def _check_kind(function: VectorFunction, source: str) -> None:
    if not function.host.has("vectorize"):
        raise ModelMismatchError(
            f"the inference function of {source} makes pixels, and this tool finds objects: use "
            "classify_pixels."
        )
    kind = function.geometry_type()
    if kind != "polygon":
        raise ModelMismatchError(
            f"the inference function of {source} finds {kind}s, and this tool writes polygons."
        )
    height, width = function.configuration.tile
    if height != width:
        raise PackageError(
            f"{source} asks for tiles of {height} x {width} pixels: tiles must be square for what they find "
            "to be joined."
        )


def _rules(scalars: Mapping[str, str]) -> dict[str, Any]:
    """What the function is told that is about the joining of tiles too."""
    readers = {"nms_overlap": share, "exclude_pad_detections": flag}
    return {name: read(name, scalars[name]) for name, read in readers.items() if name in scalars}


def _classes(emd: Mapping[str, Any], source: str) -> tuple[ClassInfo, ...]:
    rows = emd.get("Classes") or []
    try:
        found = tuple(ClassInfo(int(row["Value"]), str(row["Name"]), _colour(row)) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise PackageError(f"{source}: its Classes cannot be read ({error!r}).") from error
    return found or (ClassInfo(1, _NAMELESS, default_color(1)),)


def _colour(row: Mapping[str, Any]) -> tuple[int, int, int]:
    given = row.get("Color")
    if given is None:
        return default_color(int(row["Value"]))
    red, green, blue = (int(value) for value in given)
    return red, green, blue


def _finds(plan: ObjectPlan, findings: list[Finding]) -> Finds:
    """Findings of one tile as those of a chip. Something without a confidence is certain."""
    shapes = np.array([finding.geometry for finding in findings], object)
    shapes = shapely.transform(shapes, lambda points: points + plan.cells.padding)
    boxes = shapely.bounds(shapes).reshape(-1, 4)
    usable = shapely.area(shapes) > 0
    scores = [1.0 if finding.confidence is None else finding.confidence for finding in findings]
    labels = [_label(plan, finding) for finding in findings]
    return Finds(
        boxes=boxes[usable],
        labels=np.array(labels, np.int32)[usable],
        scores=np.array(scores, np.float32)[usable],
        unusable=int((~usable).sum()),
        outlines=shapes[usable],
    )


def _label(plan: ObjectPlan, finding: Finding) -> int:
    names = [info.name for info in plan.classes]
    said = finding.label
    if said in names:
        return names.index(said) + 1
    values = [str(info.value) for info in plan.classes]
    if said in values:
        return values.index(said) + 1
    if len(names) == 1 and (said is None or names == [_NAMELESS]):
        return 1
    raise PackageError(f"a thing of class {said!r} was found, and the package names {', '.join(names)}.")

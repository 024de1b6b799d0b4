"""Ask an inference function what it needs, and decide everything about its run."""

import math
from typing import Any

from rasterloom.models.errors import ModelMismatchError, PackageError, SettingError
from rasterloom.pipeline.functions.configuration import Configuration
from rasterloom.pipeline.functions.files import FunctionFiles
from rasterloom.pipeline.functions.host import Host
from rasterloom.pipeline.functions.pixels import PixelFunction
from rasterloom.pipeline.inference.devices import choose_device
from rasterloom.pipeline.inference.planner import Wishes, ground
from rasterloom.pipeline.inference.script_batch import device_number, keep_function
from rasterloom.pipeline.inference.script_plan import ScriptPlan, cut_script_cells, facts_of
from rasterloom.pipeline.inference.scripts import StagedScript
from rasterloom.pipeline.inference.wanted import read_mask
from rasterloom.pipeline.rasters.raster import Raster


def plan_script(raster: Raster, staged: StagedScript, wishes: Wishes, *, client: Any = None) -> ScriptPlan:
    """What a run will do. The function is loaded here, to be asked.

    Raises
    ------
    SettingError, ModelMismatchError, CrsError, LabelError
        If it cannot be done as wished.
    PackageError
        If the function cannot be run.
    """
    _check_wishes(wishes)
    context = wishes.context
    device = choose_device(context.get("processorType"), client)
    # the workers may have GPUs that this machine has not: asking needs none
    number = device_number(device if client is None else "cpu")
    function = PixelFunction(staged.files, wishes.model_arguments, device=number)
    _check_kind(function.host, staged.files)
    asked = function.configuration
    raster, extent = ground(raster, context, math.lcm(*asked.tile))
    bands = bands_of(asked, raster, staged.files.source)
    facts = facts_of(raster, bands)
    output = function.output_info(facts)
    mask = context.get("mask")
    plan = ScriptPlan(
        name=staged.files.source,
        raster=raster,
        cells=cut_script_cells(
            raster.grid.shape,
            extent,
            tile=asked.tile,
            padding=asked.padding,
            cell_size=wishes.cell_size,
            pixel_bytes=output.pixel_bytes,
        ),
        package=str(staged.path),
        digest=staged.files.digest,
        bands=bands,
        scalars=tuple(sorted(function.scalars.items())),
        output=output,
        device=device,
        mask=None if mask is None else read_mask(mask, raster.grid),
    )
    if client is None:
        keep_function(plan, function)
    return plan


def _check_wishes(wishes: Wishes) -> None:
    for name, idle in (
        ("blend", "crop"),
        ("probability_type", "uint8"),
        ("precision", None),
        ("compiled", False),
    ):
        value = getattr(wishes, name)
        if value != idle:
            raise SettingError(
                f"{name}={value!r} is about networks, and this model is run by an inference function of its "
                f"own, which gives finished pixels: leave {name} out."
            )


def _check_kind(host: Host, files: FunctionFiles) -> None:
    if host.has("updatePixels"):
        return
    if host.has("vectorize"):
        raise ModelMismatchError(
            f"the inference function of {files.source} makes features, and this tool classifies pixels."
        )
    raise PackageError(
        f"{files.source}, {files.script} has no updatePixels: it is no Python raster function."
    )


def bands_of(asked: Configuration, raster: Raster, source: str) -> tuple[int, ...]:
    """0-based bands of the raster that a function gets. Raises ModelMismatchError if one is not there."""
    bands = asked.bands or tuple(range(raster.band_count))
    if max(bands) >= raster.band_count:
        raise ModelMismatchError(
            f"the inference function of {source} asks for band {max(bands) + 1}, and {raster.name} has "
            f"{raster.band_count} ({', '.join(raster.bands)}): give a raster with those bands."
        )
    return bands

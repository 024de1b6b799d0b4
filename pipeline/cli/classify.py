"""``rasterloom classify-pixels``: a class map of a whole raster, or the probabilities of its classes."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import typer

from rasterloom.pipeline.cli.classify_options import (
    Background,
    BatchSize,
    Blend,
    BlendOption,
    Compiled,
    Cores,
    Each,
    Estimate,
    MapOutput,
    Mask,
    MaxCogSize,
    MaxFailed,
    MergeOption,
    ModelArgument,
    Padding,
    PerformanceReport,
    PrecisionOption,
    Probabilities,
    ProbabilityType,
    ProbabilityTypeOption,
    ProcessorOption,
    RasterArgument,
    RetryFailed,
    SnapRaster,
    TaskSize,
    Thinning,
    Threshold,
    TileSize,
    Trust,
    Tta,
)
from rasterloom.pipeline.cli.options import (
    Assets,
    CellSize,
    Cluster,
    Extent,
    OutCrs,
    Overwrite,
    Quiet,
    Resampling,
    Variable,
    Workers,
    check_named,
    check_there,
    client_of,
    context_of,
    reading_of,
)


def classify_pixels(
    raster: RasterArgument,
    model: ModelArgument,
    output: MapOutput = None,
    probabilities: Probabilities = False,
    probability_type: ProbabilityTypeOption = ProbabilityType.UINT8,
    max_cog_size: MaxCogSize = 65_536,
    overwrite: Overwrite = False,
    each: Each = False,
    assets: Assets = None,
    variable: Variable = None,
    resampling: Resampling = None,
    trust: Trust = False,
    extent: Extent = None,
    mask: Mask = None,
    cell_size: CellSize = None,
    out_crs: OutCrs = None,
    snap_raster: SnapRaster = None,
    tile_size: TileSize = None,
    padding: Padding = None,
    blend: BlendOption = Blend.CROP,
    tta: Tta = False,
    merge_policy: MergeOption = None,
    batch_size: BatchSize = None,
    background: Background = True,
    threshold: Threshold = None,
    thinning: Thinning = False,
    workers: Workers = None,
    cluster: Cluster = None,
    cores: Cores = None,
    processor: ProcessorOption = None,
    precision: PrecisionOption = None,
    compiled: Compiled = False,
    task_size: TaskSize = None,
    estimate: Estimate = False,
    max_failed: MaxFailed = 0.01,
    retry_failed: RetryFailed = False,
    performance_report: PerformanceReport = None,
    quiet: Quiet = False,
) -> None:
    """Classify every pixel of a raster of any size.

    A run that was cut off goes on when the same command is given again. The result does not depend on the
    number of workers.
    """
    reading = reading_of(assets=assets, variable=variable, resampling=resampling)
    _check_together(raster, output, reading, each=each, estimate=estimate)
    check_there("raster", raster)
    _check_model(model)
    check_there("mask", mask)
    check_there("raster to snap to", snap_raster)
    arguments = {
        "tile_size": tile_size,
        "padding": padding,
        "batch_size": batch_size,
        "predict_background": None if background else False,
        "test_time_augmentation": tta or None,
        "merge_policy": _word(merge_policy),
        "threshold": threshold,
        "return_probability_raster": probabilities or None,
        "thinning": thinning or None,
    }
    context = context_of(
        cell_size=cell_size,
        out_crs=out_crs,
        extent=extent,
        mask=mask,
        snapRaster=snap_raster,
        parallelProcessingFactor=cores,
        processorType=_word(processor),
    )
    from rasterloom.pipeline.inference import pixels

    with client_of(workers, cluster) as client:
        result = pixels.classify_pixels(
            _source(raster, reading),
            model,
            {name: value for name, value in arguments.items() if value is not None},
            output,
            context,
            each,
            client=client,
            estimate=estimate,
            overwrite=overwrite,
            blend=blend.value,
            probability_type=probability_type.value,
            cell_size=task_size,
            max_failed=max_failed,
            retry_failed=retry_failed,
            max_cog_size=max_cog_size,
            precision=_word(precision),
            compiled=compiled,
            trust=trust,
            performance_report=performance_report,
            progress=not quiet,
        )
    if estimate:
        _print_estimate(result)
        return
    for path in result if each else [result]:
        typer.echo(path)
    if not quiet:
        typer.echo(f"next: rasterloom info {result[-1] if each else result}", err=True)


def _check_together(
    raster: str, output: str | None, reading: Mapping[str, Any], *, each: bool, estimate: bool
) -> None:
    from rasterloom.models.errors import SettingError

    if each and reading:
        option = next(iter(reading))
        raise SettingError(f"--{option} says how parts become one raster, and --each keeps them apart.")
    if each and estimate:
        raise SettingError("--estimate prices one raster: give a file of the folder instead of --each.")
    if output is None and reading and not estimate:
        raise SettingError(
            f"--output is missing: with --{next(iter(reading))} there may be several maps of one "
            "source. Say what to write: -o classes.tif."
        )
    if not estimate:
        check_named(raster, output, "classes.tif")


def _source(raster: str, reading: Mapping[str, Any]) -> Any:
    if not reading:
        return raster
    from rasterloom.pipeline.rasters.open import describe

    return describe(raster, **reading)


def _check_model(model: str) -> None:
    """Refuse what is no package here and no installed model, before anything large is loaded."""
    from rasterloom.pipeline.packages.registry import Registry

    if not Registry.of(None).holds(model):
        check_there("model", model, ".dlpk", ".emd")


def _word(choice: StrEnum | None) -> str | None:
    # a plan is hashed and pickled with what it is given: plain words, as from Python
    return None if choice is None else choice.value


def _print_estimate(estimate: Any) -> None:
    rows = {
        "tiles": f"{estimate.chips:,}",
        "pixels": f"{estimate.pixels:,}",
        "tasks": f"{estimate.batches:,}",
        "reads": _bytes(estimate.bytes_read),
        "writes": f"{_bytes(estimate.bytes_written)} before compression",
        "memory": f"{_bytes(estimate.peak_memory)} for each process, at most",
        "time": _time(estimate.seconds),
    }
    for name, value in rows.items():
        typer.echo(f"{name:8} {value}")


def _bytes(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.3g} TB"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s in the network"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min in the network" if hours else f"{minutes} min in the network"

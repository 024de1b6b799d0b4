"""Cut rasters and their labels into training chips."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rasterloom.pipeline.chips.output import output_path
from rasterloom.pipeline.chips.run import Run, estimate_chips, export_chips
from rasterloom.pipeline.chips.settings import check_settings
from rasterloom.pipeline.chips.sources import Inputs


def export_training_data(
    input_raster: Any,
    input_class_data: Any = None,
    chip_format: str | None = None,
    tile_size: Mapping[str, int] | int | None = None,
    stride_size: Mapping[str, int] | int | None = None,
    metadata_format: str | None = None,
    classvalue_field: str | None = None,
    buffer_radius: float | None = None,
    output_location: str | Path | None = None,
    context: Mapping[str, Any] | None = None,
    input_mask_polygons: Any = None,
    rotation_angle: float = 0,
    reference_system: str = "MAP_SPACE",
    process_all_raster_items: bool = False,
    blacken_around_feature: bool = False,
    fix_chip_size: bool = True,
    additional_input_raster: Any = None,
    input_instance_data: Any = None,
    instance_class_value_field: str | None = None,
    min_polygon_overlap_ratio: float = 0,
    *,
    gis: None = None,
    future: bool = False,
    estimate: bool = False,
    client: Any = None,
    overwrite: bool = False,
    split: Mapping[str, float] | str | None = None,
    split_block_size: int | None = None,
    seed: int = 42,
    progress: bool = True,
    **kwargs: Any,
) -> Any:
    """Cut rasters of any size and their labels into training chips, and write them as a store or a folder.

    What is written is the same for any number of workers. It appears under its name when it is whole; a run
    that was killed is resumed by the same call, from a hidden folder beside it. Where the disk refuses, that
    folder is removed.

    Parameters
    ----------
    input_raster
        What :func:`rasterloom.pipeline.open_raster` takes: a path, a list of paths or a folder (one mosaic),
        an address, STAC items, a Zarr store, or a georeferenced DataArray.
    input_class_data
        Labels, in any CRS: the path of a vector file, a GeoDataFrame, or a class raster (path or DataArray of
        whole numbers, 0 for no class), which is brought onto the raster's grid by nearest neighbour. Its
        regions of one class become objects, its most frequent class that of a chip.
    chip_format
        None or "ZARR" writes a chip store; "TIFF", "PNG", "JPEG" or "MRF" a folder of such files.
    tile_size, stride_size
        Pixels as ``{"x": 256, "y": 256}`` or one number. The tile is 256 by default, the stride one tile.
    metadata_format
        KITTI_rectangles, PASCAL_VOC_rectangles, Classified_Tiles, RCNN_Masks, Labeled_Tiles,
        MultiLabeled_Tiles, Export_Tiles, CycleGAN, Imagenet, Panoptic_Segmentation, COCO or YOLO. By default
        Classified_Tiles, and Export_Tiles without labels.
    classvalue_field
        Field of the class. By default ``classvalue`` or ``value``; without one, every feature is class 1.
    buffer_radius
        Radius that points and lines are given, in units of the CRS of their layer.
    output_location
        What to write. By default NAME_chips.zarr, or the folder NAME_chips, beside the raster.
    context
        ``exportAllTiles``: also chips without labels. ``startIndex``: number of the first place; chips are
        appended to those that stand at ``output_location``. ``cellSize``, ``outSR``, ``extent``: the grid and
        the part of the raster.
    input_mask_polygons
        Path or GeoDataFrame: only chips completely inside these polygons.
    rotation_angle
        Degrees. Each chip is also cut turned by this angle, twice it, and so on below 360, about its centre.
        Images are sampled between pixels, labels made on the turned grid; beyond the raster pixels are 0.
    reference_system
        MAP_SPACE, IMAGE_SPACE or PIXEL_SPACE, noted in what is written: training turns chips by it.
    process_all_raster_items
        Cut each raster of a list or folder by itself, on its own grid and in its own CRS.
    blacken_around_feature
        Labeled_Tiles and Imagenet: set the pixels around what gives a chip its class to 0.
    fix_chip_size
        Labeled_Tiles and Imagenet with features, whose chips are centred on the features: False cuts off what
        of a chip lies outside the feature's bounding box. Folders only.
    additional_input_raster
        Classified_Tiles and Export_Tiles: a second raster, brought onto the first one's grid, for pairs.
        CycleGAN: the raster of side B, cut on its own grid.
    input_instance_data
        Panoptic_Segmentation: features, or a raster in which each number is an object of one class.
    instance_class_value_field
        Field of the class of these features.
    min_polygon_overlap_ratio
        0 to 1. A feature of which less lies in a chip is left out of it, and chips without any other.
    gis
        Must be None; ``client`` says where the work is done.
    future
        Return at once with a :class:`rasterloom.cluster.background.Job`.
    estimate
        Write nothing but a probe; return a :class:`rasterloom.pipeline.chips.estimate.ExportEstimate`.
    client
        Dask client whose workers do the work. None works in this process.
    overwrite
        Replace chips that stand there.
    split
        Give blocks of ground to training, validation and test: ``{"train": 0.8, "val": 0.1, "test": 0.1}`` or
        "80/10/10". Chips that reach into, or touch, another part are left out.
    split_block_size
        Side of these blocks, in pixels of the first raster. By default eight tiles.
    seed
        Decides which block is whose.
    progress
        Show a progress bar.

    Returns
    -------
    str
        Path of the store or folder. CycleGAN: of the folder with A and B. A call that finds only A there
        fills B.

    Raises
    ------
    SettingError
        If an argument cannot work.
    MissingInputError
        If a file is not there.
    CrsError
        If raster or labels have no CRS.
    LabelError
        If no feature lies on the raster, the class field is absent, or the format cannot hold the labels.
    OutputExistsError
        If something stands at ``output_location``.
    StoreError
        If chips cannot be appended to those that are there.
    OutputError
        If the disk refuses.
    TooManyFailures
        If pixels cannot be read.
    RunInterrupted
        If the run was cut off.

    References
    ----------
    "API reference", export_training_data; "Formats", 1.5.
    """
    given = {name: value for name, value in locals().items() if name != "kwargs"}
    settings = check_settings(given, kwargs)
    wishes = Run(client=client, overwrite=overwrite, progress=progress and not future)
    inputs = Inputs(
        raster=input_raster,
        labels=input_class_data,
        instances=input_instance_data,
        second=additional_input_raster,
        mask=input_mask_polygons,
    )
    if estimate:
        return estimate_chips(inputs, settings, output_location, wishes)
    output = output_path(output_location, input_raster, store=settings.is_store)
    if not future:
        return export_chips(inputs, settings, output, wishes)
    from rasterloom.cluster.background import Job

    return Job(lambda report: export_chips(inputs, settings, output, replace(wishes, report=report)))

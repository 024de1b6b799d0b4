import inspect

import pytest

from rasterloom.models.errors import LabelError, SettingError
from rasterloom.pipeline.chips.export import export_training_data
from rasterloom.pipeline.chips.settings import check_settings

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(export_training_data).parameters.items()
    if name != "kwargs"
}


def check(**given):
    unknown = given.pop("unknown", {})
    return check_settings({**DEFAULTS, "input_class_data": "labels.gpkg", **given}, unknown)


def test_the_signature_is_the_references():
    names = [
        *("input_raster", "input_class_data", "chip_format", "tile_size", "stride_size", "metadata_format"),
        *("classvalue_field", "buffer_radius", "output_location", "context", "input_mask_polygons"),
        *("rotation_angle", "reference_system", "process_all_raster_items", "blacken_around_feature"),
        *("fix_chip_size", "additional_input_raster", "input_instance_data", "instance_class_value_field"),
        *("min_polygon_overlap_ratio", "gis", "future", "estimate"),
    ]
    assert list(DEFAULTS)[: len(names)] == names
    assert DEFAULTS["reference_system"] == "MAP_SPACE"
    assert DEFAULTS["fix_chip_size"] is True


def test_the_defaults_are_chips_of_256_pixels_side_by_side():
    settings = check()
    assert (settings.tile, settings.stride) == ((256, 256), (256, 256))
    assert (settings.chip_format, settings.metadata_format) == ("ZARR", "Classified_Tiles")
    assert not settings.all_tiles
    assert settings.split is None
    assert check(input_class_data=None).metadata_format == "Export_Tiles"


@pytest.mark.parametrize(
    ("given", "tile", "stride"),
    [
        ({"tile_size": 64}, (64, 64), (64, 64)),
        ({"tile_size": {"x": 64, "y": 32}}, (32, 64), (32, 64)),
        ({"tile_size": {"x": 64, "y": 32}, "stride_size": {"x": 10, "y": 20}}, (32, 64), (20, 10)),
        ({"stride_size": 128}, (256, 256), (128, 128)),
    ],
)
def test_sizes_are_numbers_or_sides(given, tile, stride):
    settings = check(**given)
    assert (settings.tile, settings.stride) == (tile, stride)


@pytest.mark.parametrize(
    "size", [0, -5, 2.5, "big", {"x": 3}, {"x": 3, "y": 0}, {"x": 3, "y": 3, "z": 3}, True]
)
def test_sizes_that_cannot_work_are_answered_with_an_example(size):
    with pytest.raises(SettingError, match=r"tile_size=.*256"):
        check(tile_size=size)


LABELED = {"metadata_format": "Labeled_Tiles"}
PANOPTIC = {"metadata_format": "Panoptic_Segmentation", "input_instance_data": "things.gpkg"}


@pytest.mark.parametrize(
    ("given", "works"),
    [
        ({"chip_format": "BMP"}, "None, 'ZARR', 'TIFF', 'PNG', 'JPEG', 'MRF'"),
        ({"metadata_format": "VOC"}, "'KITTI_rectangles', 'PASCAL_VOC_rectangles', 'Classified_Tiles'"),
        ({"reference_system": "SPACE"}, "'MAP_SPACE', 'IMAGE_SPACE', 'PIXEL_SPACE'"),
        ({"context": {"cellsize": 3}}, "cellSize, exportAllTiles, extent, outSR, startIndex"),
        ({"context": {"exportAllTiles": "yes"}}, "True or False"),
        ({"context": {"startIndex": -1}}, "0 or more"),
        ({"gis": "portal"}, "client="),
        ({"unknown": {"tilesize": 3}}, "no argument 'tilesize'"),
        ({"buffer_radius": 0}, "above 0"),
        ({"buffer_radius": "near"}, "above 0"),
        ({"rotation_angle": 360}, "below 360"),
        ({"rotation_angle": 0.01}, "from 1"),
        ({"rotation_angle": float("nan")}, "from 1"),
        ({"min_polygon_overlap_ratio": 1.5}, "from 0 to 1"),
        ({"process_all_raster_items": 1}, "True or False"),
        ({"split": "ten"}, "80/10/10"),
        ({"additional_input_raster": "b.tif", **LABELED}, "Classified_Tiles or Export_Tiles or CycleGAN"),
        ({"input_instance_data": "b.gpkg"}, "Panoptic_Segmentation"),
        ({"instance_class_value_field": "kind"}, "Panoptic_Segmentation"),
        ({"blacken_around_feature": True}, "Labeled_Tiles or Imagenet"),
        ({"fix_chip_size": False}, "Labeled_Tiles or Imagenet"),
        ({"fix_chip_size": False, **LABELED}, 'chip_format="TIFF"'),
        ({"buffer_radius": 3, "input_class_data": None}, "give input_class_data"),
    ],
)
def test_what_cannot_work_is_answered_with_what_does(given, works):
    with pytest.raises(SettingError, match=works):
        check(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"input_class_data": None, "metadata_format": "KITTI_rectangles"},
        {"metadata_format": "Panoptic_Segmentation"},
    ],
)
def test_labels_that_a_format_needs_are_asked_for(given):
    with pytest.raises(LabelError, match="is missing"):
        check(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"rotation_angle": 0.0},
        {"chip_format": "ZARR", "metadata_format": "Classified_Tiles"},
        {"fix_chip_size": False, "chip_format": "PNG", **LABELED},
        {"additional_input_raster": "b.tif", "metadata_format": "CycleGAN", "input_class_data": None},
        {"instance_class_value_field": "kind", **PANOPTIC},
    ],
)
def test_settings_that_go_together_are_taken(given):
    assert check(**given).tile == (256, 256)

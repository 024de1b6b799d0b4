import inspect

import pytest

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.chips.export import export_training_data
from rasterloom.pipeline.chips.settings import check_settings

DEFAULTS = {
    name: parameter.default for name, parameter in inspect.signature(export_training_data).parameters.items()
}
OWN = ("tile_size", "stride_size", "chip_format", "metadata_format", "reference_system", "context")


def check(**given):
    unknown = given.pop("unknown", {})
    values = {**DEFAULTS, **given}
    return check_settings(**{name: values[name] for name in OWN}, others=values, unknown=unknown)


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
    assert not settings.all_tiles


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


@pytest.mark.parametrize(
    ("given", "works"),
    [
        ({"chip_format": "PNG"}, "None, 'ZARR'"),
        ({"metadata_format": "KITTI_rectangles"}, "None, 'Classified_Tiles'"),
        ({"reference_system": "SPACE"}, "'MAP_SPACE', 'IMAGE_SPACE', 'PIXEL_SPACE'"),
        ({"context": {"cellsize": 3}}, "cellSize, exportAllTiles, extent, outSR, startIndex"),
        ({"context": {"exportAllTiles": "yes"}}, "True or False"),
        ({"context": {"startIndex": -1}}, "0 or more"),
        ({"gis": "portal"}, "client="),
        ({"unknown": {"tilesize": 3}}, "no argument 'tilesize'"),
    ],
)
def test_what_is_not_known_is_answered_with_what_is(given, works):
    with pytest.raises(SettingError, match=works):
        check(**given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("buffer_radius", 3),
        ("rotation_angle", 30),
        ("process_all_raster_items", True),
        ("blacken_around_feature", True),
        ("fix_chip_size", False),
        ("additional_input_raster", "other.tif"),
        ("input_instance_data", "other.gpkg"),
        ("instance_class_value_field", "kind"),
        ("min_polygon_overlap_ratio", 0.2),
        ("future", True),
        ("estimate", True),
    ],
)
def test_a_setting_without_effect_is_refused_with_the_way_around(name, value):
    with pytest.raises(SettingError, match=rf"^{name} has no effect .*leave it at"):
        check(**{name: value})


@pytest.mark.parametrize(
    "given", [{"rotation_angle": 0.0}, {"chip_format": "ZARR", "metadata_format": "Classified_Tiles"}]
)
def test_settings_that_say_the_usual_are_taken(given):
    assert check(**given).tile == (256, 256)

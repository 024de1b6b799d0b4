"""Several folders are trained on together only where their chips are of one kind."""

import pytest

from rasterloom.models.errors import MissingInputError, SettingError, StoreError
from rasterloom.pipeline.training.folders import check_folders
from tests.support.stores import make_spec, write_store


def _store(path, **changes):
    write_store(path, make_spec(4, **changes))
    return path


@pytest.mark.parametrize("kind", ["Classified_Tiles", "PASCAL_VOC_rectangles", "Labeled_Tiles", "RCNN_Masks"])
def test_folders_of_one_kind_go_together(kind, tmp_path):
    check_folders([_store(tmp_path / name, metadata_format=kind) for name in ("a.zarr", "b.zarr")])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metadata_format": "Labeled_Tiles"}, "metadata format Classified_Tiles and .* has Labeled_Tiles"),
        ({"bands": 4}, "number of bands 3 and .* has 4"),
        ({"tile": (16, 16)}, "tile size 16 x 24 and .* has 16 x 16"),
        ({"metadata_format": "Export_Tiles"}, "holds Export_Tiles chips, of which only one folder"),
    ],
)
def test_what_differs_is_said_of_the_folder_that_differs(changes, words, tmp_path):
    paths = [
        _store(tmp_path / "a.zarr"),
        _store(tmp_path / "b.zarr"),
        _store(tmp_path / "odd.zarr", **changes),
    ]
    with pytest.raises(StoreError, match=words) as told:
        check_folders(paths)
    assert "odd.zarr" in str(told.value)


def test_one_folder_may_be_of_any_kind(tmp_path):
    check_folders([_store(tmp_path / "a.zarr", metadata_format="Export_Tiles")])


def test_a_folder_must_be_there(tmp_path):
    with pytest.raises(SettingError, match="empty list"):
        check_folders([])
    with pytest.raises(MissingInputError, match=r"gone\.zarr"):
        check_folders([_store(tmp_path / "a.zarr"), tmp_path / "gone.zarr"])

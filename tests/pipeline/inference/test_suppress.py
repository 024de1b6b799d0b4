"""The suppression tool: exact over the whole layer, whatever file it is, and clear about its limits."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import torch
from torchvision.ops import batched_nms

from rasterloom.models.errors import LabelError, MissingInputError, OutputExistsError, SettingError
from rasterloom.pipeline import non_maximum_suppression
from rasterloom.pipeline.seams import apart

FIELDS = ("Class", "ClassValue", "Confidence", "number")


def layer(count: int = 3000, *, seed: int = 0, crs: str = "EPSG:32645", scale: float = 1.0) -> Any:
    """Boxes on a grid of halves, so that sums of coordinates are exact, of three classes."""
    random = np.random.default_rng(seed)
    corner = random.integers(0, 800, (count, 2)) / 2
    side = random.integers(1, 60, (count, 2)) / 2
    values = random.integers(1, 4, count)
    columns = {
        "Class": np.array(["", "house", "tree", "car"])[values],
        "ClassValue": values.astype(np.int32),
        "Confidence": random.integers(0, 200, count) / 2,
        "number": np.arange(count),
    }
    boxes = shapely.box(*(corner * scale).T, *((corner + side) * scale).T)
    return geopandas.GeoDataFrame(columns, geometry=boxes, crs=crs)


def kept_by_torchvision(frame: Any, threshold: float, *, across: bool = False) -> list[int]:
    boxes, scores = torch.tensor(frame.bounds.to_numpy()), torch.tensor(frame["Confidence"].to_numpy())
    classes = torch.tensor(frame["ClassValue"].to_numpy() * (not across), dtype=torch.int64)
    return sorted(batched_nms(boxes, scores, classes, threshold).tolist())


def numbers(path: str) -> list[int]:
    read = geopandas.read_parquet(path) if path.endswith("parquet") else geopandas.read_file(path)
    return sorted(int(number) for number in read["number"])


@pytest.mark.parametrize("threshold", [0, 0.1, 0.5, 1])
@pytest.mark.parametrize("across", [False, True])
def test_what_is_kept_is_what_torchvision_keeps_of_all_boxes_at_once(
    threshold: float, across: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        apart.suppress_apart, "__kwdefaults__", apart.suppress_apart.__kwdefaults__ | {"leaf": 200}
    )
    frame = layer()
    frame.to_parquet(tmp_path / "found.parquet")
    written = non_maximum_suppression(
        tmp_path / "found.parquet",
        "Confidence",
        tmp_path / "kept.parquet",
        max_overlap_ratio=threshold,
        across_classes=across,
        progress=False,
    )
    assert written == str(tmp_path / "kept.parquet")
    assert numbers(written) == kept_by_torchvision(frame, threshold, across=across)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.parquet", "kept.parquet"]


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".fgb", ".geojson"])
def test_any_format_goes_in_and_out_with_all_its_fields(suffix: str, tmp_path: Path) -> None:
    frame = layer(200, crs="EPSG:4326", scale=1e-3)
    source, output = tmp_path / f"found{suffix}", tmp_path / f"kept{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(source)
    else:
        frame.to_file(source)
    written = non_maximum_suppression(source, "Confidence", output, "Class", 0.2, progress=False)
    read = geopandas.read_parquet(written) if suffix == ".parquet" else geopandas.read_file(written)
    assert numbers(written) == kept_by_torchvision(frame, 0.2)
    assert set(FIELDS) <= set(read.columns)
    assert read.crs == frame.crs
    original = frame.set_index("number").loc[read["number"].to_numpy()]
    assert read["Class"].tolist() == original["Class"].tolist()
    corners = shapely.bounds(read.geometry.to_numpy())
    # GeoJSON rounds degrees to seven digits
    assert np.allclose(corners, shapely.bounds(original.geometry.to_numpy()), rtol=0, atol=1e-7)


def test_a_frame_in_memory_is_a_layer_too(tmp_path: Path) -> None:
    frame = layer(200)
    written = non_maximum_suppression(frame, "Confidence", tmp_path / "kept.parquet", progress=False)
    assert numbers(written) == kept_by_torchvision(frame, 0)


def test_workers_write_the_same_bytes(tmp_path: Path, client: Any) -> None:
    frame = layer(300)
    here = non_maximum_suppression(frame, "Confidence", tmp_path / "a.parquet", progress=False)
    there = non_maximum_suppression(
        frame, "Confidence", tmp_path / "b.parquet", client=client, progress=False
    )
    assert Path(here).read_bytes() == Path(there).read_bytes()


def test_polygons_overlap_by_their_own_area(tmp_path: Path) -> None:
    triangles = [shapely.Polygon([(0, 0), (4, 0), (0, 4)]), shapely.Polygon([(4, 4), (4, 1), (1, 4)])]
    tilted = shapely.Polygon([(3, 0), (6, 3), (3, 6), (0, 3)])
    frame = geopandas.GeoDataFrame(
        {"Confidence": [3.0, 2.0, 1.0], "number": [0, 1, 2]}, geometry=[*triangles, tilted], crs=32645
    )
    assert frame.geometry[0].intersection(frame.geometry[1]).area == 0
    written = non_maximum_suppression(frame, "Confidence", tmp_path / "kept.parquet", progress=False)
    assert numbers(written) == [0, 1]


def test_of_equal_scores_the_first_is_kept_and_a_feature_without_a_shape_stays(tmp_path: Path) -> None:
    boxes = [shapely.box(0, 0, 2, 2), shapely.box(0, 0, 2, 2), None, shapely.Point(1, 1)]
    frame = geopandas.GeoDataFrame(
        {"Confidence": [5, 5, 5, 5], "number": range(4)}, geometry=boxes, crs=32645
    )
    written = non_maximum_suppression(frame, "Confidence", tmp_path / "kept.parquet", progress=False)
    assert numbers(written) == [0, 2, 3]


def test_an_empty_layer_gives_an_empty_layer_with_its_fields(tmp_path: Path) -> None:
    written = non_maximum_suppression(layer(0), "Confidence", tmp_path / "kept.parquet", progress=False)
    read = geopandas.read_parquet(written)
    assert len(read) == 0
    assert set(FIELDS) <= set(read.columns)


def test_objects_are_numbered_anew(tmp_path: Path) -> None:
    frame = layer(50)
    frame.insert(0, "OID", np.arange(100, 150))
    written = non_maximum_suppression(frame, "Confidence", tmp_path / "kept.parquet", progress=False)
    read = geopandas.read_parquet(written)
    assert read["OID"].tolist() == list(range(1, len(read) + 1))


@pytest.mark.parametrize("lost", [[3, 7], list(range(20, 40))])
def test_features_without_a_score_are_counted_and_named(lost: list[int], tmp_path: Path) -> None:
    frame = layer(50)
    frame.loc[lost, "Confidence"] = np.nan
    first = ", ".join(map(str, lost[:5]))
    with pytest.raises(LabelError, match=rf"{len(lost)} of 50 features .* 'Confidence'.* rows {first}"):
        non_maximum_suppression(frame, "Confidence", tmp_path / "kept.parquet", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"confidence_score_field": "score"}, "'score' is no field of .*'Confidence'"),
        ({"confidence_score_field": "Class"}, "scores are numbers"),
        ({"class_value_field": "kind"}, "'kind' is no field"),
        ({"max_overlap_ratio": 1.5}, "use 0 to 1"),
        ({"max_overlap_ratio": "much"}, "use 0 to 1"),
        ({"output_name": None}, "output_name is missing"),
        ({"output_name": "kept.tif"}, "no vector format"),
        ({"gis": "portal"}, "gis must be None"),
        ({"threshold": 0.5}, "no argument 'threshold'"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(
    words: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = {"confidence_score_field": "Confidence", "output_name": "kept.parquet", "progress": False} | words
    if given["output_name"]:
        given["output_name"] = tmp_path / str(given["output_name"])
    with pytest.raises(SettingError, match=message):
        non_maximum_suppression(layer(5), **given)


def test_files_are_neither_made_up_nor_written_over(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError):
        non_maximum_suppression(tmp_path / "none.parquet", "Confidence", tmp_path / "b.parquet")
    source = tmp_path / "found.parquet"
    layer(20).to_parquet(source)
    with pytest.raises(SettingError, match="is read by this call"):
        non_maximum_suppression(source, "Confidence", source, overwrite=True)
    beside = non_maximum_suppression(source, "Confidence", progress=False)
    assert beside == str(tmp_path / "found_nms.parquet")
    with pytest.raises(OutputExistsError):
        non_maximum_suppression(source, "Confidence", progress=False)
    assert non_maximum_suppression(source, "Confidence", overwrite=True, progress=False) == beside

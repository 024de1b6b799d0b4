"""Chips around the objects of a layer, in files for tasks."""

from pathlib import Path

import geopandas
import numpy as np
import pyarrow
import pytest
import shapely

from rasterloom.cluster.places import Place
from rasterloom.models.errors import CrsError, LabelError
from rasterloom.pipeline.chips.scan import centred
from rasterloom.pipeline.inference.scenes import chips
from rasterloom.pipeline.inference.scenes.answers import from_bytes
from rasterloom.pipeline.inference.scenes.arguments import SceneArguments
from rasterloom.pipeline.inference.scenes.chips import (
    COUNTS,
    SIDES,
    chip_file,
    cut_chip_cells,
    prepare_chips,
)
from rasterloom.pipeline.inference.scenes.strips import BLOCK
from rasterloom.pipeline.labels.features import read_features
from rasterloom.pipeline.outputs.read_features import FeatureSource
from rasterloom.pipeline.rasters.grid import Grid, Window
from tests.support.shades import scattered

SHAPE = (1300, 1700)
CRS = geopandas.GeoSeries([], crs="EPSG:32633").crs.to_wkt()
GRID = Grid(CRS, (1.0, 0.0, 500_000.0, 0.0, -1.0, 5_000_000.0), *SHAPE)
WHOLE = Window(0, 0, *SHAPE)


def prepared(features, folder: Path, *, extent=WHOLE, cell_size=None, **settings):
    given = SceneArguments(tile_size=40, batch_size=4, score_threshold=0, **settings)
    cells = cut_chip_cells(SHAPE, tile=40, pixel_bytes=3, striped=False, cell_size=cell_size)
    folder.mkdir(exist_ok=True)
    return prepare_chips(FeatureSource.of(features), GRID, extent, cells, given, folder)


def table_of(found) -> pyarrow.Table:
    files = [(found.folder / chip_file(number)).read_bytes() for number in range(len(found.counts))]
    tables = [from_bytes(content) for content in files]
    assert [len(table) for table in tables] == list(found.counts)
    return pyarrow.concat_tables(tables)


@pytest.mark.parametrize("fixed", [True, False])
def test_chips_lie_where_those_of_an_export_lie(tmp_path, fixed):
    features = scattered(400, SHAPE)
    if not fixed:
        features = features[features.area > 0].reset_index(drop=True)
    found = prepared(features, tmp_path, fix_chip_size=fixed)
    exported = centred([read_features(features, grid=GRID)], GRID, WHOLE, (40, 40), fixed=fixed)
    rows = table_of(found).select(["position", *SIDES]).to_pandas()
    wanted = {tuple(chip[name].item() for name in ("feature", *SIDES)) for chip in exported}
    assert set(rows.itertuples(index=False, name=None)) == wanted
    assert found.count == len(wanted) == len(features) - found.outside


def test_a_task_owns_the_chips_of_one_part_of_the_ground_from_top_to_bottom(tmp_path):
    found = prepared(scattered(600, SHAPE), tmp_path, cell_size=BLOCK)
    assert len(found.counts) == 3 * 4
    for number in range(len(found.counts)):
        rows = from_bytes((tmp_path / chip_file(number)).read_bytes()).to_pandas()
        corners = rows[["row", "col"]].clip(lower=0) // BLOCK
        assert len(corners.drop_duplicates()) == 1
    whole = prepared(scattered(600, SHAPE), tmp_path / "whole")
    assert len(whole.counts) == 1
    assert (np.diff(table_of(whole)["row"].to_numpy().clip(0) // BLOCK) >= 0).all()


def test_crowded_ground_is_shared_among_tasks(tmp_path, monkeypatch):
    features = scattered(600, SHAPE)
    together = table_of(prepared(features, tmp_path / "one"))
    monkeypatch.setattr(chips, "MOST", 50)
    found = prepared(features, tmp_path / "many")
    assert max(found.counts) == 50
    assert len(found.counts) == -(-found.count // 50)
    assert table_of(found).equals(together)


def test_cells_fit_memory_and_the_blocks_of_the_file():
    wide = cut_chip_cells((20_000, 20_000), tile=64, pixel_bytes=4, striped=False)
    assert (wide.height, wide.width) == (4096, 4096)
    stripes = cut_chip_cells((20_000, 20_000), tile=64, pixel_bytes=4, striped=True)
    assert stripes.width >= 20_000
    deep = cut_chip_cells((20_000, 20_000), tile=64, pixel_bytes=50, striped=True)
    assert deep.width * BLOCK * 50 <= chips.STRIP_BYTES
    large = cut_chip_cells((20_000, 20_000), tile=1000, pixel_bytes=4, striped=False)
    assert large.height >= 8000
    assert large.width >= 8000


def test_objects_outside_or_without_a_place_are_counted(tmp_path):
    inside = shapely.Point(500_100, 4_999_900)
    shapes = [inside, None, shapely.Point(), shapely.Point(np.inf, 3), shapely.Point(499_000, 4_999_900)]
    bowtie = shapely.Polygon(
        [(500_010, 4_999_990), (500_030, 4_999_970), (500_030, 4_999_990), (500_010, 4_999_970)]
    )
    features = geopandas.GeoDataFrame(geometry=[*shapes, bowtie], crs="EPSG:32633")
    found = prepared(features, tmp_path, blacken_around_feature=True)
    assert (found.features, found.count, found.empty, found.outside) == (6, 2, 3, 1)
    rows = table_of(found)
    assert rows["position"].to_pylist() in ([0, 5], [5, 0])
    assert shapely.is_valid(shapely.from_wkb(rows["shape"].to_pylist())).all()


def test_the_digest_tells_objects_apart_and_not_their_files(tmp_path):
    features = scattered(60, SHAPE)
    features.to_parquet(tmp_path / "f.parquet")
    features.to_file(tmp_path / "f.gpkg")
    found = [prepared(tmp_path / f"f.{kind}", tmp_path / kind).digest for kind in ("parquet", "gpkg")]
    assert found[0] == found[1] == prepared(features, tmp_path / "frame").digest
    features.loc[7, "geometry"] = shapely.Point(500_001, 4_999_999)
    assert prepared(features, tmp_path / "other").digest != found[0]


def test_only_objects_with_their_middle_in_the_extent_have_a_chip(tmp_path):
    extent = Window(200, 300, 400, 500)
    rows = table_of(prepared(scattered(500, SHAPE), tmp_path, extent=extent))
    x, y = rows["x"].to_numpy(), rows["y"].to_numpy()
    assert len(rows) > 20
    assert (x >= 300).all()
    assert (x < 800).all()
    assert (y >= 200).all()
    assert (y < 600).all()


def test_layers_that_cannot_work_are_refused(tmp_path):
    far = geopandas.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs="EPSG:32633")
    with pytest.raises(LabelError, match="none of the 1 features of the GeoDataFrame lies on the raster"):
        prepared(far, tmp_path)
    with pytest.raises(CrsError, match=r"has no coordinate reference system.*set_crs"):
        prepared(far.set_crs(None, allow_override=True), tmp_path)
    with pytest.raises(LabelError, match="points or lines, which have no area"):
        prepared(scattered(40, SHAPE), tmp_path, fix_chip_size=False)


def test_the_files_are_put_where_tasks_read_them(tmp_path):
    found = prepared(scattered(50, SHAPE), tmp_path / "here", cell_size=BLOCK)
    place = Place.of(tmp_path / "there")
    found.place(place)
    assert sorted(place.names()) == sorted([COUNTS, *(chip_file(n) for n in range(len(found.counts)))])

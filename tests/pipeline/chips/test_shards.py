import pickle

import numpy as np
import pytest

from rasterloom.models.contract import Task
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.chips.cut import cut_chips
from rasterloom.pipeline.chips.plan import plan_chips
from rasterloom.pipeline.chips.shards import ShardPlan, write_shard
from rasterloom.pipeline.labels import prepared
from rasterloom.pipeline.labels.features import read_features
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.store.layout import StoreSpec
from rasterloom.pipeline.store.read import ChipStore
from rasterloom.pipeline.store.write import ChipWriter
from tests.support.labels import square_labels
from tests.support.rasters import write_raster


def make_plan(folder, *, count=40, side=(6.0, 30.0), tile=16, size=160):
    raster = describe(write_raster(folder / "scene.tif", height=size, width=size))
    source = square_labels(height=size, width=size, count=count, side=side)
    labels = read_features(source, grid=raster.grid)
    return plan_chips(raster, labels, tile=(tile, tile), stride=(tile, tile), all_tiles=True)


def lay_out(plan, folder, shard):
    raster = plan.raster
    spec = StoreSpec(
        task=Task.PIXELS,
        chips=len(plan),
        bands=raster.bands,
        dtype=raster.dtype,
        nodata=None,
        crs=raster.grid.crs,
        cell_size=(1.0, 1.0),
        tile=plan.tile,
        stride=plan.stride,
        classes=plan.labels.classes,
        sources=("scene",),
        mask_dtype="uint8",
    )
    writer = ChipWriter.create(folder / "a.zarr", spec, shard=shard)
    return ShardPlan.lay_out(plan, writer, folder / "a.zarr" / "_plan")


@pytest.mark.parametrize("shard", [7, 100, 64])
def test_shards_cover_every_chip_once_in_order(tmp_path, shard):
    plan = make_plan(tmp_path)
    shards = lay_out(plan, tmp_path, shard)
    batches = list(shards.batches())
    assert [corner for batch in batches for corner in batch.corners] == [
        tuple(c) for c in plan.corners.tolist()
    ]
    assert [batch.start for batch in batches] == list(range(0, 100, shard))
    assert len({batch.id for batch in batches}) == shards.batch_count == len(batches)
    assert sum(batch.cells for batch in batches) == shards.cell_count == 100
    assert all(batch.halves() is None for batch in batches)
    assert len({cell for batch in batches for cell in batch.cell_ids()}) == 100


def test_shards_written_in_any_order_hold_what_one_cut_of_all_chips_holds(tmp_path):
    plan = make_plan(tmp_path)
    shards = lay_out(plan, tmp_path, 33)
    results = [write_shard(shards, batch) for batch in reversed(list(shards.batches()))]
    assert sum(result.cells for result in results) == 100
    assert sum(result.pixels for result in results) == 160 * 160
    stats = shards.statistics()
    ChipWriter.open(shards.store).finish(stats.bands, stats.class_pixels)
    store = ChipStore(shards.store)
    block, whole = cut_chips(plan.raster, plan.labels, plan.corners, tile=plan.tile, mask_dtype="uint8")
    assert (store.images(range(100)) == block.images).all()
    assert (store.masks(range(100)) == block.masks).all()
    assert (store.transforms == block.transforms).all()
    assert stats.class_pixels == whole.class_pixels
    assert np.allclose(stats.bands.std, whole.bands.std)


def test_what_travels_with_a_task_does_not_grow_with_the_layer(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    sizes = []
    for folder, count in ((few, 10), (many, 5000)):
        folder.mkdir()
        shards = lay_out(make_plan(folder, count=count), folder, 100)
        sizes.append(len(pickle.dumps((shards, next(shards.batches())))))
    assert max(sizes) < 8000
    assert abs(sizes[0] - sizes[1]) < 100


def test_a_task_reads_only_the_features_near_its_shard(tmp_path, monkeypatch):
    plan = make_plan(tmp_path, count=20_000, side=(0.5, 3.0), tile=32, size=640)
    shards = lay_out(plan, tmp_path, 40)
    read, counts = prepared.read_prepared, []

    def counted(path, bounds):
        labels = read(path, bounds)
        counts.append(len(labels))
        return labels

    monkeypatch.setattr("rasterloom.pipeline.chips.shards.read_prepared", counted)
    for batch in shards.batches():
        write_shard(shards, batch)
    assert max(counts) < 2 * len(plan.labels) / shards.batch_count


def test_a_second_call_keeps_what_the_first_laid_out(tmp_path):
    plan = make_plan(tmp_path)
    first = lay_out(plan, tmp_path, 50)
    file = tmp_path / "a.zarr" / "_plan" / "labels.parquet"
    before = file.stat().st_mtime_ns
    assert lay_out(plan, tmp_path, 50) == first
    assert file.stat().st_mtime_ns == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    plan = make_plan(tmp_path)
    shards = lay_out(plan, tmp_path, 50)
    writer = ChipWriter.open(shards.store)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        ShardPlan.lay_out(plan, writer, tmp_path / "file" / "_plan")

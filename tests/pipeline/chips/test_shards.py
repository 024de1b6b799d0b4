import pickle
import shutil

import numpy as np
import pytest

from rasterloom.models.errors import OutputError
from rasterloom.pipeline.chips.cut import cut_chips
from rasterloom.pipeline.chips.describing import spec_of
from rasterloom.pipeline.chips.plan import Cutting, plan_chips
from rasterloom.pipeline.chips.settings import ExportSettings
from rasterloom.pipeline.chips.shards import lay_out, write_shard
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.store.read import ChipStore
from rasterloom.pipeline.store.write import ChipWriter
from tests.support.chips import make_source
from tests.support.labels import square_labels
from tests.support.rasters import write_raster


def make_plan(folder, *, count=40, side=(6.0, 30.0), tile=16, size=160, name="Classified_Tiles"):
    path = folder / "scene.tif"
    raster = describe(path if path.exists() else write_raster(path, height=size, width=size))
    staged = folder / "staged"
    shutil.rmtree(staged, ignore_errors=True)
    (staged / "source").mkdir(parents=True)
    labels = square_labels(height=size, width=size, count=count, side=side)
    source = make_source(raster, labels, staged / "source")
    return plan_chips([source], Cutting(name, (tile, tile), (tile, tile)), all_tiles=True)


def description(plan):
    how = plan.cutting
    settings = ExportSettings(how.metadata_format, "ZARR", how.tile, how.stride, "MAP_SPACE", {}, True, 0)
    return spec_of(plan, settings, "labels")


def laid_out(plan, folder, shard):
    writer = ChipWriter.create(folder / "a.zarr", description(plan), shard=shard)
    place = folder / "a.zarr" / "_plan"
    return lay_out(plan, folder / "staged", place, writer, chip_format="ZARR", places=[0])


@pytest.mark.parametrize("shard", [7, 100, 64])
def test_shards_cover_every_chip_once_in_order(tmp_path, shard):
    plan = make_plan(tmp_path)
    shards = laid_out(plan, tmp_path, shard)
    batches = list(shards.batches())
    tables = [shards.table(batch.start, batch.stop) for batch in batches]
    assert (np.concatenate(tables) == plan.chips).all()
    assert [batch.start for batch in batches] == list(range(0, 100, shard))
    assert len({batch.id for batch in batches}) == shards.batch_count == len(batches)
    assert sum(batch.cells for batch in batches) == shards.cell_count == 100
    assert all(batch.halves() is None for batch in batches)
    assert len({cell for batch in batches for cell in batch.cell_ids()}) == 100


@pytest.mark.parametrize("name", ["Classified_Tiles", "RCNN_Masks"])
def test_shards_written_in_any_order_hold_what_one_cut_of_all_chips_holds(tmp_path, name):
    plan = make_plan(tmp_path, name=name)
    spec = description(plan)
    block, whole = cut_chips({0: plan.sources[0]}, plan.chips, plan.cutting, spec)
    shards = laid_out(plan, tmp_path, 33)
    results = [write_shard(shards, batch) for batch in reversed(list(shards.batches()))]
    assert sum(result.cells for result in results) == 100
    assert sum(result.pixels for result in results) == 160 * 160
    stats = shards.statistics(spec)
    ChipWriter.open(shards.sink).finish(stats.bands, stats.labels)
    shutil.rmtree(shards.folder)
    store = ChipStore(shards.sink)
    found = store.block(range(100))
    for part in ("images", "masks", "transforms", "windows", "numbers"):
        one, other = getattr(found, part), getattr(block, part)
        assert (one is None and other is None) or (one == other).all()
    if block.objects is not None:
        assert (found.objects.boxes == block.objects.boxes).all()
        assert (found.objects.runs == block.objects.runs).all()
    assert stats.labels.class_pixels == whole.labels.class_pixels
    assert np.allclose(stats.bands.std, whole.bands.std)


def test_what_travels_with_a_task_does_not_grow_with_the_layer(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    sizes = []
    for folder, count in ((few, 10), (many, 5000)):
        folder.mkdir()
        shards = laid_out(make_plan(folder, count=count), folder, 100)
        sizes.append(len(pickle.dumps((shards, next(shards.batches())))))
    assert max(sizes) < 8000
    assert abs(sizes[0] - sizes[1]) < 100


def test_a_task_reads_only_the_features_near_its_shard(tmp_path, monkeypatch):
    from rasterloom.pipeline.labels.prepared import read_prepared

    plan = make_plan(tmp_path, count=20_000, side=(0.5, 3.0), tile=32, size=640)
    shards = laid_out(plan, tmp_path, 40)
    counts = []

    def counted(path, bounds):
        labels = read_prepared(path, bounds)
        counts.append(len(labels))
        return labels

    monkeypatch.setattr("rasterloom.pipeline.chips.labelling.read_prepared", counted)
    for batch in shards.batches():
        write_shard(shards, batch)
    assert len(counts) >= shards.batch_count
    assert max(counts) < 2 * 20_000 / shards.batch_count


def test_a_second_call_keeps_what_the_first_laid_out(tmp_path):
    plan = make_plan(tmp_path)
    first = laid_out(plan, tmp_path, 50)
    (file,) = (tmp_path / "a.zarr" / "_plan").rglob("*.parquet")
    before = file.stat().st_mtime_ns
    again = laid_out(make_plan(tmp_path), tmp_path, 50)
    assert {**again.__dict__, "sources": ()} == {**first.__dict__, "sources": ()}
    assert file.stat().st_mtime_ns == before
    assert str(again.sources[0].features.path) == str(file)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    plan = make_plan(tmp_path)
    writer = ChipWriter.create(tmp_path / "a.zarr", description(plan))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        lay_out(
            plan, tmp_path / "staged", tmp_path / "file" / "_plan", writer, chip_format="ZARR", places=[0]
        )

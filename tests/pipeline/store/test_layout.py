import json
from dataclasses import replace

import numpy as np
import pytest

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.kinds import KINDS
from rasterloom.pipeline.store.layout import SHARD_BYTES, StoreSpec, stats_from_json, stats_to_json
from tests.support.stores import make_spec


def test_a_spec_survives_json():
    spec = replace(make_spec(7), nodata=-9999.0)
    assert StoreSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False))) == spec


@pytest.mark.parametrize("metadata_format", KINDS)
def test_a_spec_of_every_format_survives_json(metadata_format):
    spec = replace(make_spec(7, metadata_format=metadata_format, bands2=1), source_crs=("EPSG:4326",))
    assert StoreSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False))) == spec


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_another_format_version_is_refused(version):
    with pytest.raises(StoreError, match=r"format version .*reads up to 1"):
        StoreSpec.from_json({**make_spec(3).to_json(), "format_version": version})


def test_attributes_of_something_else_are_refused():
    with pytest.raises(StoreError, match="not a chip store"):
        StoreSpec.from_json({"multiscales": []})


def test_damaged_attributes_are_refused():
    plain = make_spec(3).to_json()
    del plain["tile"]
    with pytest.raises(StoreError, match="damaged"):
        StoreSpec.from_json(plain)


@pytest.mark.parametrize(
    ("chips", "tile", "bands", "shard"), [(1000, 256, 3, 256), (40, 256, 3, 40), (1000, 1024, 12, 9)]
)
def test_a_shard_fits_in_the_memory_of_a_task(chips, tile, bands, shard):
    spec = make_spec(chips, bands=bands, tile=(tile, tile))
    assert spec.shard == shard
    assert spec.shard * spec.chip_bytes <= SHARD_BYTES


def test_statistics_of_pixels_survive_json():
    stats = BandStats.of(np.random.default_rng(0).normal(size=(3, 50)), np.ones(50, bool))
    assert stats_from_json(json.loads(json.dumps(stats_to_json(stats)))) == stats


def test_statistics_of_no_pixels_are_strict_json():
    empty = BandStats.empty(2)
    assert stats_from_json(json.loads(json.dumps(stats_to_json(empty), allow_nan=False))) == empty

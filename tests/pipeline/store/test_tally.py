import json
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.store.chips import ChipBlock, LabelStats, Summary
from rasterloom.pipeline.store.kinds import KINDS
from rasterloom.pipeline.store.tally import label_stats, label_stats_of
from tests.support.stores import make_block, make_spec


def counted(block, spec):
    """The same statistics by plain loops over chips."""
    pixels, areas, images = defaultdict(list), defaultdict(list), defaultdict(int)
    classes_per_image, objects_per_image = [], []
    for chip in range(len(block)):
        seen = set()
        if block.masks is not None:
            for value in set(block.masks[chip].ravel().tolist()):
                pixels[value].append(int((block.masks[chip] == value).sum()))
                seen.add(value)
        if block.objects is not None:
            inside = range(block.objects.starts[chip], block.objects.starts[chip + 1])
            objects_per_image.append(len(inside))
            for place in inside:
                areas[int(block.objects.values[place])].append(block.objects.areas[place])
                seen.add(int(block.objects.values[place]))
        if spec.kind.several_labels:
            seen |= {c.value for c, there in zip(spec.classes, block.labels[chip], strict=True) if there}
        elif block.labels is not None:
            seen.add(int(block.labels[chip]))
        classes_per_image.append(len(seen - {0}))
        for value in seen:
            images[value] += 1
    labelled = spec.metadata_format not in ("Export_Tiles", "CycleGAN")
    return LabelStats(
        len(block),
        {value: Summary.of(numbers) for value, numbers in pixels.items()},
        {value: Summary.of(numbers) for value, numbers in areas.items()},
        dict(images),
        Summary.of(classes_per_image) if labelled else Summary(),
        Summary.of(objects_per_image),
    )


@pytest.mark.parametrize("metadata_format", KINDS)
def test_labels_are_counted_as_a_plain_loop_counts_them(metadata_format):
    spec = make_spec(23, metadata_format=metadata_format)
    block = make_block(spec, 0, 23)
    assert label_stats(block, spec) == counted(block, spec)


@pytest.mark.parametrize("metadata_format", KINDS)
def test_no_chips_hold_nothing(metadata_format):
    spec = make_spec(3, metadata_format=metadata_format)
    assert label_stats(make_block(spec, 0, 0), spec) == LabelStats()


def test_what_lies_beyond_a_chip_is_not_counted():
    spec = make_spec(2)
    block = replace(make_block(spec, 0, 2), sizes=np.array([[16, 24], [3, 5]]))
    stats = label_stats(block, spec)
    assert sum(stats.class_pixels.values()) == 16 * 24 + 15
    cropped = block.masks[1, :3, :5]
    assert stats.class_pixels[2] == (block.masks[0] == 2).sum() + (cropped == 2).sum()


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 23), max_size=4), metadata_format=st.sampled_from(list(KINDS)))
def test_merged_parts_count_what_the_whole_counts(cuts, metadata_format):
    spec = make_spec(23, metadata_format=metadata_format)
    edges = sorted([0, *cuts, 23])
    total = LabelStats()
    for start, stop in pairwise(edges):
        total = total.merge(label_stats(make_block(spec, start, stop), spec))
    whole = label_stats(make_block(spec, 0, 23), spec)
    # sums of areas are rounded; all else is exact
    for value, summary in whole.areas.items():
        assert total.areas[value].total == pytest.approx(summary.total, rel=1e-12)
        assert replace(total.areas[value], total=summary.total) == summary
    assert replace(total, areas=whole.areas) == whole


@pytest.mark.parametrize("metadata_format", KINDS)
def test_statistics_survive_json_exactly(metadata_format):
    spec = make_spec(23, metadata_format=metadata_format)
    stats = label_stats(make_block(spec, 0, 23), spec)
    assert LabelStats.from_json(json.loads(json.dumps(stats.to_json(), allow_nan=False))) == stats


def test_chips_are_counted_a_shard_at_a_time():
    spec = make_spec(600, tile=(4, 4))
    whole = ChipBlock.joined([make_block(spec, 0, 10)] * 60)
    asked = []

    def read(chips):
        asked.append(len(chips))
        return whole.of(chips)

    assert label_stats_of(read, spec, 600) == label_stats(whole, spec)
    assert asked == [256, 256, 88]

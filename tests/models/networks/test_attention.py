"""Attention over two dates against plain loops."""

import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.attention import (
    PAM_REGIONS,
    BasicAttention,
    PyramidAttention,
    checked_attention,
)
from tests.support.networks import seeded


@pytest.fixture
def maps():
    """Two pairs, the earlier dates first: (2N, C, h, w)."""
    return torch.randn(4, 16, 8, 16, generator=torch.Generator().manual_seed(3))


def looked(regions, maps):
    """What each place sees, place by place: the mean of the values it attends to, in its own region."""
    query, key, value = (layer(maps) for layer in (regions.query, regions.key, regions.value))
    count, height, width = len(maps) // 2, *maps.shape[2:]
    tall, wide = height // regions.parts, width // regions.parts
    out = torch.empty_like(value)
    for pair in range(count):
        for row in range(height):
            for col in range(width):
                rows = slice(row // tall * tall, row // tall * tall + tall)
                cols = slice(col // wide * wide, col // wide * wide + wide)
                dates = [pair, pair + count]
                keys = key[dates][:, :, rows, cols].movedim(1, -1).reshape(-1, key.shape[1])
                values = value[dates][:, :, rows, cols].movedim(1, -1).reshape(-1, value.shape[1])
                for date in dates:
                    weights = (keys @ query[date, :, row, col] / key.shape[1] ** 0.5).softmax(0)
                    out[date, :, row, col] = weights @ values
    return out


def test_basic_attention_looks_at_all_places_of_both_dates(maps):
    module = seeded(lambda: BasicAttention(16))
    with torch.no_grad():
        torch.testing.assert_close(module(maps), looked(module.regions, maps) + maps)


def test_the_pyramid_looks_within_halves_quarters_and_eighths_too(maps):
    module = seeded(lambda: PyramidAttention(16))
    assert [branch.parts for branch in module.branches] == list(PAM_REGIONS)
    with torch.no_grad():
        branches = [looked(branch, maps) for branch in module.branches]
        torch.testing.assert_close(module(maps), module.joined(torch.cat(branches, dim=1)) + maps)


@pytest.mark.parametrize("kind", [BasicAttention, PyramidAttention])
def test_a_pair_does_not_see_the_other_pairs(kind, maps):
    module = seeded(lambda: kind(16))
    with torch.no_grad():
        both = module(maps)
        for pair in (0, 1):
            torch.testing.assert_close(module(maps[[pair, pair + 2]]), both[[pair, pair + 2]])


@pytest.mark.parametrize("kind", [BasicAttention, PyramidAttention])
def test_dates_that_change_places_change_places_in_the_answer(kind, maps):
    module, swapped = seeded(lambda: kind(16)), maps[[2, 3, 0, 1]]
    with torch.no_grad():
        torch.testing.assert_close(module(swapped), module(maps)[[2, 3, 0, 1]])


def test_names_of_attention_are_known_in_any_letters():
    assert [checked_attention(name) for name in ("pam", "BAM")] == ["PAM", "BAM"]
    with pytest.raises(SettingError, match=r"attention_type='CBAM' is not known: use 'PAM' or 'BAM'"):
        checked_attention("CBAM")

"""Maps that coarser maps tell what they know."""

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn import functional as F

from rasterloom.models.networks.pyramid import GROUPS, TopDown, smooth_block


@given(sides=st.lists(st.integers(1, 9), min_size=1, max_size=4), width=st.sampled_from([4, 8]))
@settings(deadline=None, max_examples=25)
def test_each_map_is_its_own_and_all_coarser_ones_added_up(sides: list[int], width: int) -> None:
    sides = sorted(sides, reverse=True)
    torch.manual_seed(0)
    pyramid = TopDown([3 + level for level in range(len(sides))], width)
    maps = [torch.randn(2, 3 + level, side, side) for level, side in enumerate(sides)]
    told = pyramid(maps)
    assert [tuple(found.shape) for found in told] == [(2, width, side, side) for side in sides]
    wanted = pyramid.sides[-1](maps[-1])
    torch.testing.assert_close(told[-1], wanted)
    for level in range(len(sides) - 2, -1, -1):
        wanted = pyramid.sides[level](maps[level]) + F.interpolate(wanted, size=(sides[level],) * 2)
        torch.testing.assert_close(told[level], wanted)


def test_as_many_maps_as_sides_are_wanted() -> None:
    with pytest.raises(ValueError, match="zip"):
        TopDown([3, 4], 8)([torch.zeros(1, 4, 4, 4)])


@pytest.mark.parametrize(("width", "groups"), [(GROUPS, GROUPS), (4 * GROUPS, GROUPS), (10, 1)])
def test_a_width_that_cannot_be_cut_into_groups_is_one_group(width: int, groups: int) -> None:
    block = smooth_block(3, width, stride=2)
    norms = [part for part in block.modules() if isinstance(part, nn.GroupNorm)]
    assert [norm.num_groups for norm in norms] == [groups]
    assert block(torch.zeros(1, 3, 8, 8)).shape == (1, width, 4, 4)


def test_values_are_dropped_in_training_only() -> None:
    torch.manual_seed(0)
    block = smooth_block(3, 8, drop=0.5)
    given = torch.randn(1, 3, 8, 8)
    assert not torch.equal(block(given), block(given))
    block.eval()
    assert torch.equal(block(given), block(given))

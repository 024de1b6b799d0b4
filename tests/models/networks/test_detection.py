import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection.image_list import ImageList

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.detection import FullPrecision, LevelAnchors, anchor_sizes


def test_anchors_stand_on_the_centres_of_cells():
    anchors = LevelAnchors([4, 8], [[16.0], [32.0]], [0.5, 2.0])
    maps = [torch.zeros(2, 1, 3, 5), torch.zeros(2, 1, 2, 3)]
    first, second = anchors(ImageList(torch.zeros(2, 3, 12, 20), [(12, 20)] * 2), maps)
    assert torch.equal(first, second)
    expected = [
        (x, y, size * size, ratio)
        for stride, size, rows, cols in ((4, 16.0, 3, 5), (8, 32.0, 2, 3))
        for y in (np.arange(rows) + 0.5) * stride
        for x in (np.arange(cols) + 0.5) * stride
        for ratio in (0.5, 2.0)
    ]
    wide, high = (first[:, 2] - first[:, 0]), (first[:, 3] - first[:, 1])
    found = torch.stack([(first[:, 0] + wide / 2), (first[:, 1] + high / 2), wide * high, high / wide], dim=1)
    np.testing.assert_allclose(found.numpy(), np.array(expected), rtol=1e-4)
    assert anchors.num_anchors_per_location() == [2, 2]


def test_sizes_of_anchors_are_four_strides_unless_they_are_given():
    assert anchor_sizes(None, [4, 8]) == [16.0, 32.0]
    assert anchor_sizes((5.0, 7.0), [4, 8]) == [5.0, 7.0]
    with pytest.raises(SettingError, match=r"has 1 sizes, and the pyramid has 2 maps, of strides \[4, 8\]"):
        anchor_sizes((5.0,), [4, 8])


def test_heads_answer_in_full_precision():
    head = FullPrecision(nn.Linear(2, 2))
    with torch.autocast("cpu", torch.bfloat16):
        assert head(torch.ones(1, 2)).dtype == torch.float32

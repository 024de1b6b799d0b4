"""STANet: distances of features as logits."""

import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.stanet import DIVIDE, SHARPNESS, StanetSettings, build_stanet
from tests.support.networks import seeded

SMALL = {"backbone": "timm:test_resnet", "encoder_depth": 3, "decoder_channels": (8, 16, 8)}


def network(outputs=2, **changes):
    settings = StanetSettings(**(SMALL | changes))
    return seeded(lambda: build_stanet(bands=3, outputs=outputs, settings=settings, pretrained=False)).eval()


@pytest.fixture
def dates():
    return torch.randn(2, 2, 3, 64, 96, generator=torch.Generator().manual_seed(5)).unbind()


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize("changes", [{}, {"attention_type": "BAM"}, {"finest_stride": 2}])
def test_equal_images_show_no_change_and_the_logit_says_how_far_apart_they_are(outputs, changes, dates):
    module = network(outputs, **changes)
    with torch.no_grad():
        same, different = module(dates[0], dates[0]), module(*dates)
    assert same.shape == different.shape == (2, outputs, 64, 96)
    assert (same[:, 0] == 0).all()
    lowest = -SHARPNESS * DIVIDE
    torch.testing.assert_close(same[:, 1:].amax(1), torch.full((2, 64, 96), lowest), rtol=0, atol=1e-3)
    assert (different[:, 1:].amax(1) > lowest + 1e-3).float().mean() > 0.99


def test_change_is_the_same_in_both_directions_and_its_kind_is_not(dates):
    with torch.no_grad():
        two, four = network(2), network(4)
        torch.testing.assert_close(two(*dates), two(*dates[::-1]), rtol=1e-3, atol=1e-3)
        there, back = four(*dates), four(*dates[::-1])
    torch.testing.assert_close(there[:, 1:].amax(1), back[:, 1:].amax(1), rtol=1e-3, atol=1e-3)
    assert not torch.equal(there[:, 1:].argmax(1), back[:, 1:].argmax(1))


def test_equal_images_have_a_finite_slope(dates):
    module = network()
    module(dates[0], dates[0])[:, 1].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize(
    ("changes", "multiple"),
    [({}, 32), ({"encoder_depth": 3, "attention_type": "BAM"}, 8), ({"encoder_depth": 5}, 32)],
)
def test_sides_fit_the_encoder_and_the_regions(changes, multiple):
    settings = StanetSettings(**(SMALL | changes))
    assert settings.tile_multiple == multiple
    module = network(**changes)
    with torch.no_grad():
        assert module(*torch.zeros(2, 1, 3, multiple, 2 * multiple)).shape[-2:] == (multiple, 2 * multiple)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention_type": "none"}, "use 'PAM' or 'BAM'"),
        ({"finest_stride": 8}, "finest_stride=8 cannot work: use 2 or 4"),
        ({"decoder_channels": (8, 16)}, "has 2 numbers: give three"),
        ({"decoder_channels": (8, 16, 0)}, "integers from 1"),
    ],
)
def test_shapes_that_cannot_work_are_refused(changes, message):
    with pytest.raises(SettingError, match=message):
        StanetSettings(**(SMALL | changes))

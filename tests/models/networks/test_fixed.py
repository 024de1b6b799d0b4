import pytest
import torch

from rasterloom.models.errors import ModelMismatchError
from rasterloom.models.networks.fixed import FixedShape, fixed_side
from tests.support.networks import Answering, TinyNet, seeded


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_any_number_of_chips_goes_through_in_parts_of_the_fixed_number(count):
    sizes = []
    module = seeded(lambda: Answering(lambda s, i: sizes.append(len(i)) or {"out": s}))
    images = torch.rand(count, 3, 8, 8)
    found = FixedShape(module, (3, 3, None, None))(images)
    assert set(sizes) == {3}
    wanted = module.net(images)
    torch.testing.assert_close(found["out"] if count == 3 else found, wanted)


def test_what_the_file_leaves_open_is_passed_on():
    module = seeded(TinyNet).eval()
    images = torch.rand(2, 3, 8, 12)
    assert torch.equal(FixedShape(module, (None,) * 4)(images), module(images))


def test_another_size_or_number_of_bands_is_refused():
    network = FixedShape(seeded(TinyNet), (None, 3, 8, 8))
    with pytest.raises(ModelMismatchError, match=r"tiles of 8 pixels, and not 9: use tile_size=8"):
        network(torch.zeros(1, 3, 9, 9))
    with pytest.raises(ModelMismatchError, match="takes 3 bands and was given 4: use bands=3"):
        network(torch.zeros(1, 4, 8, 8))


def test_the_only_side_is_told():
    module = TinyNet()
    assert fixed_side(module) is None
    assert fixed_side(FixedShape(module, (None, 3, None, None))) is None
    assert fixed_side(FixedShape(module, (None, 3, 8, None))) == 8
    with pytest.raises(ModelMismatchError, match="8 x 9 pixels, and tiles are square"):
        fixed_side(FixedShape(module, (None, 3, 8, 9)))

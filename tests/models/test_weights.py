from dataclasses import replace

import pytest
import torch
from torch import nn

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import ModelMismatchError
from rasterloom.models.weights import check_same_outputs, put_weights
from tests.support.models import pixel_spec


def _network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def test_all_tensors_are_copied_by_name():
    source, target = _network(), _network()
    assert put_weights(target, source.state_dict()) == len(source.state_dict())
    for one, other in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_misfit_names_what_is_missing_unknown_and_of_the_wrong_shape_and_changes_nothing():
    network = _network()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    given = {name: t + 1 for name, t in before.items()}
    given["0.weight"] = torch.zeros(4, 5, 1, 1)
    given["head.bias"] = given.pop("1.bias")
    with pytest.raises(ModelMismatchError) as caught:
        put_weights(network, given)
    for part in (
        "missing: 1.bias",
        "unknown: head.bias",
        "0.weight is (4, 5, 1, 1) and should be (4, 3, 1, 1)",
    ):
        assert part in str(caught.value)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_without_strict_those_that_fit_are_copied():
    network = _network()
    assert put_weights(network, {"0.bias": torch.ones(4), "other": torch.ones(1)}, strict=False) == 1
    assert torch.equal(network[0].bias, torch.ones(4))
    with pytest.raises(ModelMismatchError, match="none of the weights"):
        put_weights(network, {"other": torch.ones(1)}, strict=False)


def test_models_of_other_bands_or_classes_do_not_belong_together():
    spec = pixel_spec()
    check_same_outputs(spec, replace(spec, tile_size=512))
    with pytest.raises(ModelMismatchError, match="number of bands here is 4, there 3"):
        check_same_outputs(pixel_spec(bands=4), spec)
    with pytest.raises(ModelMismatchError, match="class values"):
        check_same_outputs(replace(spec, classes=(ClassInfo(9, "x", (0, 0, 0)),)), spec)

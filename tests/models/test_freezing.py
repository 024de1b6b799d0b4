import torch
from torch import nn

from rasterloom.models.freezing import freeze_layers, grouped_parameters


def _network() -> nn.Sequential:
    early = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))
    return nn.Sequential(early, nn.Conv2d(8, 2, 1))


def _free(network: nn.Module) -> set[str]:
    return {name for name, p in network.named_parameters() if p.requires_grad}


def test_frozen_layers_keep_learning_only_where_they_normalise():
    network = _network()
    freeze_layers(network[0], keep_first=False)
    assert _free(network) == {"0.1.weight", "0.1.bias", "1.weight", "1.bias"}


def test_the_first_convolution_can_stay_free():
    network = _network()
    freeze_layers(network[0], keep_first=True)
    assert _free(network) >= {"0.0.weight", "0.0.bias"}
    assert "0.2.weight" not in _free(network)


def test_the_groups_hold_every_parameter_once_early_ones_first():
    network = _network()
    early, late = grouped_parameters(network, network[0])
    assert (early["name"], late["name"]) == ("early", "late")
    assert {id(p) for p in early["params"]} == {id(p) for p in network[0].parameters()}
    assert len(early["params"]) + len(late["params"]) == len(list(network.parameters()))
    torch.optim.AdamW([{**group, "lr": 0.1} for group in (early, late)])

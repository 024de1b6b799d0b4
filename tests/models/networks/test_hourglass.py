import pytest
import torch

from rasterloom.models.networks.hourglass import StackedHourglass
from rasterloom.models.networks.roads import RoadSettings

pytestmark = pytest.mark.usefixtures("one_thread")


def hourglass(**changes):
    given = {"hourglass_channels": 8, "hourglass_depth": 2, "hourglass_stacks": 2} | changes
    settings = RoadSettings(**given)
    return StackedHourglass(bands=3, outputs=2, settings=settings), settings


def weights(network) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("stacks", [1, 2, 3])
@pytest.mark.parametrize("depth", [1, 3])
def test_every_hourglass_guesses_and_the_last_answer_stands_at_the_end(stacks, depth):
    network, settings = hourglass(hourglass_stacks=stacks, hourglass_depth=depth, orient_bin_size=30)
    side = 2 * settings.tile_multiple
    assert settings.tile_multiple == 4 * 2**depth
    answer = network(torch.zeros(2, 3, side, side))
    assert [guess.shape for guess in answer.classes] == [(2, 2, side, side)] * (stacks + 1)
    assert [guess.shape for guess in answer.orientations] == [(2, 7, side, side)] * (stacks + 1)


def test_in_use_it_answers_the_last_guess_at_the_classes():
    network, _ = hourglass()
    network.eval()
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(images), network.both(images)[0])


@pytest.mark.parametrize("name", ["hourglass_stacks", "hourglass_depth", "hourglass_channels"])
def test_each_size_gives_the_network_other_weights(name):
    plain, settings = hourglass()
    changed, _ = hourglass(**{name: getattr(settings, name) + 2})
    assert weights(plain) != weights(changed)


def test_later_answers_of_one_branch_hang_on_earlier_guesses_of_the_other():
    network, _ = hourglass()
    answer = network(torch.randn(2, 3, 32, 32))
    answer.classes[-1].square().mean().backward()
    head = network.guesses[0].heads[1]  # orientations, as the first hourglass guesses them
    assert head.weight.grad is not None
    assert head.weight.grad.any()

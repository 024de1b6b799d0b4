"""What every model class that is trained must do; a new row of the catalog is tested by standing in it."""

import dataclasses

import pytest
import torch
from safetensors.torch import load, save

from rasterloom.models.build import build
from rasterloom.models.catalog import CATALOG
from rasterloom.models.contract import ModelSpec, Task
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.packages.load import build_model, load_package
from rasterloom.pipeline.packages.save import save_package
from tests.support.models import pixel_spec

TRAINABLE = [row for row in CATALOG if row.trainable]

pytestmark = pytest.mark.parametrize("row", TRAINABLE, ids=lambda row: row.name)

PARAMETERS = {
    "UnetClassifier": {"backbone": "timm:test_resnet", "encoder_depth": 3, "decoder_channels": [16, 16, 8]},
}
"""The smallest settings of each model class; defaults where it has no entry."""


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny images gain nothing from threads, which on a busy machine only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _spec(row, *, bands: int = 3) -> ModelSpec:
    spec = pixel_spec(bands=bands, tile_size=32)
    return dataclasses.replace(
        spec, model=row.name, task=row.task, parameters=PARAMETERS.get(row.name, {"pretrained": False})
    )


def _model(row, *, bands: int = 3) -> ImageryModel:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build(_spec(row, bands=bands))


def _images(count: int, *, bands: int = 3) -> torch.Tensor:
    return torch.randn(count, bands, 32, 32, generator=torch.Generator().manual_seed(2))


def _learnable(row, model: ImageryModel) -> tuple[torch.Tensor, torch.Tensor]:
    """A few images and targets that can be told from them."""
    assert row.task == Task.PIXELS
    images = _images(4)
    return images, (images[:, 0] > 0).long() + 2 * (images[:, 1] > 0).long()


@pytest.mark.parametrize("bands", [1, 3, 4, 12])
def test_any_number_of_bands_gives_finite_outputs_and_probabilities(row, bands):
    model = _model(row, bands=bands)
    model.network.eval()
    with torch.inference_mode():
        logits = model.network(_images(2, bands=bands))
        probabilities = model.probabilities(logits)
    assert logits.shape == (2, len(model.spec.output_values), 32, 32)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 32, 32))


def test_the_loss_falls_by_half_on_a_tiny_set(row):
    model = _model(row)
    images, target = _learnable(row, model)
    optimizer = torch.optim.AdamW(model.param_groups(), lr=1e-2)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = model.loss(model.network(images), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_a_saved_model_predicts_the_same_to_the_last_bit(row, tmp_path):
    model = _model(row)
    with torch.no_grad():
        model.network(_images(4))  # moves the running statistics away from their start
    loaded = build_model(load_package(save_package(model, tmp_path / "model")))
    model.network.eval()
    with torch.inference_mode():
        assert torch.equal(model.network(_images(2)), loaded.network(_images(2)))
    assert loaded.spec == model.spec


def test_the_state_survives_safetensors(row):
    state = _model(row).network.state_dict()
    again = load(save({name: t.contiguous() for name, t in state.items()}))
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], t) and again[name].dtype == t.dtype for name, t in state.items())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_tile_gets_the_same_answer_wherever_it_stands_in_the_batch(row, layout):
    network = _model(row).network.eval().to(memory_format=layout)
    images, order = _images(4), torch.tensor([2, 0, 3, 1])
    others = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        plain = network(images.contiguous(memory_format=layout))
        moved = network(images[order].contiguous(memory_format=layout))
        others[3] = images[0]
        among_others = network(others.contiguous(memory_format=layout))
    assert torch.equal(plain[order], moved)
    assert torch.equal(plain[0], among_others[3])


def test_early_and_late_parameters_are_all_parameters(row):
    model = _model(row)
    grouped = [id(p) for group in model.param_groups() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.network.parameters())
    model.freeze()
    assert any(not p.requires_grad for p in model.network.parameters())
    model.unfreeze()
    assert all(p.requires_grad for p in model.network.parameters())

"""What every model class that is trained must do; a new row of the catalog is tested by standing in it."""

import json

import pytest
import torch
from safetensors.torch import load, save

from rasterloom.models.contract import ModelSpec, Task
from rasterloom.pipeline.packages.load import build_model, load_package
from rasterloom.pipeline.packages.save import save_package
from tests.support.adapters import (
    TRAINABLE,
    adapter_model,
    adapter_spec,
    images,
    learnable,
    seeded_loss,
)

pytestmark = [
    pytest.mark.parametrize("row", TRAINABLE, ids=lambda row: row.name),
    pytest.mark.usefixtures("one_thread"),
]

SETTINGS = {
    "UnetClassifier": [{}],
    "PSPNetClassifier": [
        {"unet_aux_loss": True},
        {"use_unet": False, "decoder_channels": None},
        {"pointrend": True, "encoder_depth": 4, "decoder_channels": None},
    ],
    "DeepLab": [{}, {"pointrend": True}, {"pointrend": True, "keep_dilation": True, "encoder_depth": 4}],
}
"""Settings under which a class is a network of another kind."""


def _kinds(row):
    return SETTINGS.get(row.name, [{}])


@pytest.mark.parametrize("bands", [1, 3, 5, 13])
def test_any_number_of_bands_gives_a_loss_finite_outputs_and_probabilities(row, bands):
    model = adapter_model(row, bands=bands)
    loss = seeded_loss(model, learnable(row, bands=bands))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.network.parameters())
    model.network.eval()
    with torch.inference_mode():
        logits = model.network(images(2, bands=bands))
        probabilities = model.probabilities(logits)
    assert logits.shape == (2, len(model.spec.output_values), 32, 32)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, 32, 32))


def test_the_loss_falls_by_half_on_a_tiny_set(row):
    for changes in _kinds(row):
        model, batch = adapter_model(row, **changes), learnable(row)
        optimizer = torch.optim.AdamW(model.param_groups(), lr=1e-2)
        losses = []
        with torch.random.fork_rng():
            torch.manual_seed(3)
            for _ in range(40):
                optimizer.zero_grad()
                loss = model.training_loss(batch)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        assert losses[-1] < losses[0] / 2, changes


def test_training_leaves_no_part_of_the_network_out(row):
    for changes in _kinds(row):
        model = adapter_model(row, **changes)
        seeded_loss(model, learnable(row)).backward()
        assert [name for name, p in model.network.named_parameters() if p.grad is None] == [], changes


def test_a_batch_of_one_chip_trains(row):
    for changes in _kinds(row):
        pixels, target = learnable(row)
        loss = seeded_loss(adapter_model(row, **changes), (pixels[:1], target[:1]))
        loss.backward()
        assert torch.isfinite(loss), changes


def test_mixed_precision_trains_and_predicts(row):
    for changes in _kinds(row):
        model = adapter_model(row, **changes)
        with torch.autocast("cpu", torch.bfloat16):
            loss = seeded_loss(model, learnable(row))
            loss.backward()
            with torch.no_grad():
                logits = model.network.eval()(images(2))
        assert loss.dtype == torch.float32
        assert all(torch.isfinite(p.grad).all() for p in model.network.parameters()), changes
        assert torch.isfinite(logits).all(), changes


def test_the_same_seed_gives_the_same_loss(row):
    for changes in _kinds(row):
        model, batch = adapter_model(row, **changes), learnable(row)
        assert torch.equal(seeded_loss(model, batch), seeded_loss(model, batch)), changes


def test_a_saved_model_predicts_the_same_to_the_last_bit(row, tmp_path):
    for number, changes in enumerate(_kinds(row)):
        model = adapter_model(row, **changes)
        with torch.no_grad():
            model.network(images(4))  # moves the running statistics away from their start
        path = save_package(model, tmp_path / f"model{number}")
        loaded = build_model(load_package(path))
        model.network.eval()
        with torch.inference_mode():
            assert torch.equal(model.network(images(2)), loaded.network(images(2)))
        assert loaded.spec == model.spec


def test_the_description_survives_json(row):
    changes = {"class_weights": {7: 2.0}, "ignore_classes": [2]} if row.task == Task.PIXELS else {}
    spec = adapter_model(row, **changes).spec
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_state_survives_safetensors(row):
    for changes in _kinds(row):
        state = adapter_model(row, **changes).network.state_dict()
        again = load(save({name: t.contiguous() for name, t in state.items()}))
        assert again.keys() == state.keys()
        assert all(torch.equal(again[name], t) and again[name].dtype == t.dtype for name, t in state.items())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_tile_gets_the_same_answer_wherever_it_stands_in_the_batch(row, layout):
    order = torch.tensor([2, 0, 3, 1])
    for changes in _kinds(row):
        network = adapter_model(row, **changes).network.eval().to(memory_format=layout)
        tiles, others = images(4), torch.randn(4, 3, 32, 32)
        with torch.inference_mode():
            plain = network(tiles.contiguous(memory_format=layout))
            moved = network(tiles[order].contiguous(memory_format=layout))
            others[3] = tiles[0]
            among_others = network(others.contiguous(memory_format=layout))
        assert torch.equal(plain[order], moved), changes
        assert torch.equal(plain[0], among_others[3]), changes


def test_sides_are_multiples_of_the_tile_multiple(row):
    for changes in _kinds(row):
        model = adapter_model(row, **changes)
        height, width = 2 * model.tile_multiple, 3 * model.tile_multiple
        with torch.inference_mode():
            logits = model.network.eval()(torch.zeros(1, 3, height, width))
        assert logits.shape[-2:] == (height, width), changes


def test_pixels_of_ignored_classes_move_no_weight(row):
    for changes in _kinds(row):
        model = adapter_model(row, ignore_classes=[2], **changes)
        batch, target = learnable(row)
        position = model.spec.output_values.index(2)
        seeded_loss(model, (batch, torch.full_like(target, position))).backward()
        assert all(torch.count_nonzero(p.grad) == 0 for p in model.network.parameters()), changes
        # a class that is ignored is the same as no class at all
        gradients = []
        for label in (position, -1):
            model.network.zero_grad()
            seeded_loss(model, (batch, target.masked_fill(target == 1, label))).backward()
            gradients.append([p.grad.clone() for p in model.network.parameters()])
        assert all(map(torch.equal, *gradients)), changes
        assert any(torch.count_nonzero(g) for g in gradients[0]), changes


def test_scores_of_ignored_classes_have_no_gradient_and_are_never_predicted(row):
    for changes in _kinds(row):
        model = adapter_model(row, ignore_classes=[2], **changes)
        position = model.spec.output_values.index(2)
        logits = torch.randn(2, 4, 8, 8, requires_grad=True)
        model.loss(logits, torch.randint(0, 4, (2, 8, 8))).backward()
        assert torch.count_nonzero(logits.grad[:, position]) == 0
        assert torch.count_nonzero(logits.grad) > 0
        model.network.eval()
        with torch.no_grad():
            assert (model.judged(learnable(row))[1] != position).all(), changes


def test_early_and_late_parameters_are_all_parameters(row):
    model = adapter_model(row)
    grouped = [id(p) for group in model.param_groups() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.network.parameters())
    model.freeze()
    assert any(not p.requires_grad for p in model.network.parameters())
    model.unfreeze()
    assert all(p.requires_grad for p in model.network.parameters())


def test_frozen_layers_stay_what_they_are_and_the_rest_learns(row):
    model, batch = adapter_model(row), learnable(row)
    model.freeze()
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    optimizer = torch.optim.SGD(model.param_groups(), lr=0.1)
    seeded_loss(model, batch).backward()
    optimizer.step()
    moved = {name for name, p in model.network.named_parameters() if not torch.equal(p, before[name])}
    frozen = {name for name, p in model.network.named_parameters() if not p.requires_grad}
    early = {id(p) for p in model.param_groups()[0]["params"]}
    assert not moved & frozen
    assert any(id(p) not in early for name, p in model.network.named_parameters() if name in moved)


def test_other_settings_are_refused_by_name(row):
    with pytest.raises(ValueError, match=f"{row.name} does not take colour: it takes"):
        adapter_model(row, colour=1)
    assert adapter_spec(row).model == row.name

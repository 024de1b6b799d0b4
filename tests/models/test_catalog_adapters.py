"""What every model class that is trained must do; a new row of the catalog is tested by standing in it."""

import json

import pytest
import torch
from safetensors.torch import load, save

from rasterloom.models.contract import ModelSpec
from rasterloom.pipeline.packages.load import build_model, load_package
from rasterloom.pipeline.packages.save import save_package
from tests.support.adapters import (
    TRAINABLE,
    adapter_model,
    adapter_spec,
    answers,
    kinds,
    learnable,
    noise,
    same_answers,
    seeded_loss,
    some_of,
)

pytestmark = [
    pytest.mark.parametrize("row", TRAINABLE, ids=lambda row: row.name),
    pytest.mark.usefixtures("one_thread"),
]


@pytest.mark.parametrize("bands", [1, 3, 5, 13])
def test_any_number_of_bands_gives_a_finite_loss_and_finite_answers(row, bands):
    model = adapter_model(row, bands=bands)
    loss = seeded_loss(model, learnable(row, bands=bands))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.network.parameters())
    found = answers(model, noise(row, 2, bands=bands))
    assert len(found) == 2
    assert all(torch.isfinite(values).all() for chip in found for values in chip)


def test_training_leaves_no_part_of_the_network_out(row):
    for changes in kinds(row):
        model = adapter_model(row, **changes)
        seeded_loss(model, learnable(row)).backward()
        assert [name for name, p in model.network.named_parameters() if p.grad is None] == [], changes


def test_a_batch_of_one_chip_trains(row):
    for changes in kinds(row):
        loss = seeded_loss(adapter_model(row, **changes), some_of(learnable(row), 1))
        loss.backward()
        assert torch.isfinite(loss), changes


def test_mixed_precision_trains_and_predicts(row):
    for changes in kinds(row):
        model = adapter_model(row, **changes)
        with torch.autocast("cpu", torch.bfloat16):
            loss = seeded_loss(model, learnable(row))
            loss.backward()
            found = answers(model, noise(row, 2))
        assert loss.dtype == torch.float32
        assert all(torch.isfinite(p.grad).all() for p in model.network.parameters()), changes
        assert all(torch.isfinite(values).all() for chip in found for values in chip), changes


def test_the_same_seed_gives_the_same_loss(row):
    for changes in kinds(row):
        model, batch = adapter_model(row, **changes), learnable(row)
        assert torch.equal(seeded_loss(model, batch), seeded_loss(model, batch)), changes


def test_the_loss_of_validation_is_the_same_each_time_and_leaves_no_trace(row):
    for changes in kinds(row):
        model, batch = adapter_model(row, **changes), learnable(row)
        model.network.eval()
        before = {name: value.clone() for name, value in model.network.state_dict().items()}
        with torch.no_grad():
            first, second = model.judged(batch)[0], model.judged(batch)[0]
        assert torch.equal(first, second), changes
        assert all(torch.equal(before[name], value) for name, value in model.network.state_dict().items())


def test_a_saved_model_answers_the_same_to_the_last_bit(row, tmp_path):
    for number, changes in enumerate(kinds(row)):
        model = adapter_model(row, **changes)
        seeded_loss(model, learnable(row))  # moves the running statistics away from their start
        path = save_package(model, tmp_path / f"model{number}")
        loaded = build_model(load_package(path))
        assert same_answers(answers(model, noise(row, 2)), answers(loaded, noise(row, 2))), changes
        assert loaded.spec == model.spec


def test_the_description_survives_json(row):
    for changes in kinds(row):
        spec = adapter_model(row, **changes).spec
        assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_state_survives_safetensors(row):
    for changes in kinds(row):
        state = adapter_model(row, **changes).network.state_dict()
        again = load(save({name: t.contiguous() for name, t in state.items()}))
        assert again.keys() == state.keys()
        assert all(torch.equal(again[name], t) and again[name].dtype == t.dtype for name, t in state.items())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_tile_gets_the_same_answer_wherever_it_stands_in_the_batch(row, layout):
    order = [2, 0, 3, 1]
    for changes in kinds(row):
        model = adapter_model(row, **changes)
        model.network.to(memory_format=layout)
        tiles = noise(row, 4)
        others = torch.randn(tiles.shape, generator=torch.Generator().manual_seed(5))
        others[3] = tiles[0]
        plain, moved, among_others = (
            answers(model, batch.contiguous(memory_format=layout)) for batch in (tiles, tiles[order], others)
        )
        assert same_answers([plain[number] for number in order], moved), changes
        assert same_answers(plain[:1], among_others[3:]), changes


def test_sides_are_multiples_of_the_tile_multiple(row):
    for changes in kinds(row):
        model = adapter_model(row, **changes)
        height, width = 2 * model.tile_multiple, 3 * model.tile_multiple
        for values in answers(model, torch.zeros(1, 3, height, width))[0]:
            if values.ndim == 3:  # logits or masks
                assert values.shape[-2:] == (height, width), changes


def test_early_and_late_parameters_are_all_parameters(row):
    model = adapter_model(row)
    early, late = ([id(p) for p in group["params"]] for group in model.param_groups())
    assert sorted(early + late) == sorted(id(p) for p in model.network.parameters())
    assert early
    assert late
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

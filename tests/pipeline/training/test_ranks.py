"""fit on a cluster: one run by several processes, which survives the death of any of them."""

import dataclasses
import math
from types import SimpleNamespace

import psutil
import pytest

from rasterloom.cluster.start import connect
from rasterloom.models.errors import ClusterError, RunInterrupted, SettingError
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.training import ranks
from rasterloom.pipeline.training.checkpoints import read_checkpoint
from rasterloom.pipeline.training.fit import fit
from rasterloom.pipeline.training.table import NoTable
from tests.pipeline.training.rank_models import NotedModel
from tests.pipeline.training.runs import quick, run_folder, same, weights
from tests.pipeline.training.tiny_models import TinyModel

SETTINGS = {"epochs": 3, "lr": 0.01, "show_progress": False}


@pytest.fixture(scope="module")
def pair():
    with connect(n_workers=2, threads_per_worker=1, dashboard=False) as client:
        yield client


def prepared(store, folder, **settings):
    # 5 chips to validate with: the first rank has one batch more of them
    return prepare_data(
        store, chip_size=24, batch_size=4, val_split_pct=0.21, working_dir=folder / "work", **settings
    )


def trained(store, folder, client, *, kill=False, **settings):
    """A run on both workers, and what its ranks noted."""
    notes = folder / "notes"
    notes.mkdir()
    if kill:
        (notes / "kill").touch()
    data = prepared(store, folder, **settings)
    model = NotedModel(data, notes=str(notes))
    history = fit(model, data, client=client, **SETTINGS)
    told = [(notes / f"rank-{rank}").read_text().split() for rank in (0, 1)]
    return SimpleNamespace(
        model=model, data=data, history=history, notes=told, killed=not (notes / "kill").exists()
    )


@pytest.fixture(scope="module")
def together(toy_store, tmp_path_factory, pair):
    """An undisturbed run, whose ranks have loader processes."""
    return trained(toy_store, tmp_path_factory.mktemp("together"), pair, num_workers=2)


def rows(history):
    return [dataclasses.replace(row, seconds=0) for row in history.rows]


def rank_processes(folder):
    return [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])]


def test_ranks_may_have_unlike_numbers_of_validation_batches(together):
    assert len(together.data.valid) == 5
    assert [len(told) for told in together.notes] == [6, 3]


def test_all_ranks_have_the_same_weights_and_statistics_after_each_epoch(together):
    first, second = ([*dict.fromkeys(told)] for told in together.notes)
    assert len(first) == 3
    assert first == second


def test_the_run_is_that_of_one_process_but_for_batch_statistics(toy_store, tmp_path, together):
    data = prepared(toy_store, tmp_path)
    alone = quick(TinyModel(data), data, epochs=3)
    for one, many in zip(alone.rows, together.history.rows, strict=True):
        assert many.train_loss == pytest.approx(one.train_loss, abs=0.06)
        assert many.valid_loss == pytest.approx(one.valid_loss, abs=0.06)
        assert many.metrics["accuracy"] == pytest.approx(one.metrics["accuracy"], abs=0.08)


def test_the_caller_gets_weights_history_and_optimiser_and_nothing_is_left(together):
    folder = run_folder(together.data)
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}
    best = read_checkpoint(folder / "best.ckpt")
    kept = {name.removeprefix("network."): value for name, value in best["state_dict"].items()}
    assert same(weights(together.model), kept)
    assert [row.epoch for row in together.history.rows] == [1, 2, 3]
    assert together.model.optimizer_state["state"].keys() == best["optimizer_states"][0]["state"].keys()
    assert not rank_processes(together.data.working_dir)


def test_a_killed_rank_costs_no_more_than_the_epoch_it_was_in(toy_store, tmp_path, pair, together):
    disturbed = trained(toy_store, tmp_path, pair, kill=True)
    assert disturbed.killed
    assert rows(disturbed.history) == rows(together.history)
    assert same(weights(disturbed.model), weights(together.model))
    assert not rank_processes(tmp_path)


def test_an_interrupted_run_of_one_rank_goes_on_in_this_process_to_the_same_end(
    toy_store, tmp_path, pair, monkeypatch
):
    class Interrupting(NoTable):
        def begin(self, epoch, batches):
            if epoch == 2:
                raise KeyboardInterrupt

    whole = prepared(toy_store, tmp_path / "whole")
    undisturbed = NotedModel(whole, notes=str(tmp_path))
    expected = quick(undisturbed, whole, epochs=3)

    cut = prepared(toy_store, tmp_path / "cut")
    monkeypatch.setattr(ranks, "training_table", lambda *_, **__: Interrupting())
    (tmp_path / "hold").touch()
    model = NotedModel(cut, notes=str(tmp_path))
    with pytest.raises(RunInterrupted, match=r"was stopped; .* resume='.*last.ckpt' goes on after epoch 1"):
        fit(model, cut, client=pair, ranks=1, **SETTINGS)
    assert not rank_processes(tmp_path)
    last = run_folder(cut) / "last.ckpt"
    reached = read_checkpoint(last)["state_dict"]
    assert same(weights(model), {name.removeprefix("network."): value for name, value in reached.items()})

    (tmp_path / "hold").unlink()
    model = NotedModel(cut, notes=str(tmp_path))
    history = quick(model, cut, epochs=3, resume=last)
    assert rows(history) == rows(expected)
    assert same(weights(model), weights(undisturbed))


def test_a_rank_that_always_fails_is_named_and_the_model_stays(data, pair, monkeypatch):
    monkeypatch.setattr(ranks, "_RANK", "rasterloom.pipeline.training.nothing")
    model = TinyModel(data)
    before = weights(model)
    with pytest.raises(ClusterError) as caught:
        quick(model, data, client=pair)
    message = str(caught.value)
    assert "all attempts failed, 3 of them; at last rank 0 on worker tcp://127.0.0.1:" in message
    assert "No module named rasterloom.pipeline.training.nothing" in message
    assert "no epoch was written to disk" in message
    assert same(weights(model), before)
    assert not list(data.working_dir.glob("checkpoints/*"))


def test_a_refusal_of_a_rank_is_the_error_of_fit(data, pair, monkeypatch):
    monkeypatch.setattr(ranks, "_RANK", "tests.pipeline.training.refusing_rank")
    with pytest.raises(SettingError, match=r"^the chips are no good$"):
        quick(TinyModel(data), data, client=pair)


def test_batches_too_small_for_the_ranks_are_refused(toy_store, tmp_path, pair):
    data = prepare_data(toy_store, chip_size=24, batch_size=3, working_dir=tmp_path)
    with pytest.raises(SettingError, match=r"use ranks=1, or prepare_data\(batch_size=4\)"):
        quick(TinyModel(data), data, client=pair)


def test_ranks_without_a_cluster_are_refused(data):
    with pytest.raises(SettingError, match=r"give client=rasterloom.cluster.connect\(\)"):
        quick(TinyModel(data), data, ranks=2)
    assert math.isfinite(quick(TinyModel(data), data, epochs=1, ranks=1).rows[0].train_loss)

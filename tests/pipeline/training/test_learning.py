"""What training asks of a task."""

import pickle

import numpy as np
import pytest
import torch

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.objects import Matches
from rasterloom.pipeline.training.learning import ChangeJudge, ObjectJudge, PixelJudge, judge_for, match_batch
from tests.pipeline.datasets.stores import THINGS
from tests.pipeline.training.tiny_models import TinyModel
from tests.support.models import pixel_spec


class Described:
    """As much of a model as a judge looks at."""

    def __init__(self, task, classes=THINGS):
        self.spec = pixel_spec(task=task, classes=classes)


def chip(rng, count, *, found=False):
    corners = rng.integers(0, 6, (count, 2)).astype(np.float32)
    boxes = torch.from_numpy(np.concatenate([corners, corners + 4], axis=1))
    labels = torch.from_numpy(rng.integers(1, 3, count))
    more = {"scores": torch.from_numpy(rng.random(count))} if found else {}
    return {"boxes": boxes, "labels": labels, **more}


def test_each_task_has_its_judge(data):
    assert isinstance(judge_for(TinyModel(data)), PixelJudge)
    assert isinstance(judge_for(Described(Task.OBJECTS)), ObjectJudge)
    assert isinstance(judge_for(Described(Task.CHANGE)), ChangeJudge)
    with pytest.raises(SettingError, match="for images"):
        judge_for(Described(Task.IMAGES))


def test_tallies_of_batches_add_up_to_those_of_one_batch_also_when_pickled():
    rng, judge = np.random.default_rng(0), judge_for(Described(Task.OBJECTS))
    truth, found = [chip(rng, 5) for _ in range(6)], [chip(rng, 6, found=True) for _ in range(6)]
    whole = judge.tally(found, (None, truth))
    parts = [judge.tally(found[at : at + 2], (None, truth[at : at + 2])) for at in (0, 2, 4)]
    # ranks send each other their parts pickled
    merged = judge.merged(pickle.loads(pickle.dumps(part)) for part in parts)
    assert judge.figures(merged) == judge.figures(whole)
    assert judge.figures(whole) == {"average_precision": whole.mean_average_precision()}
    assert 0 < whole.mean_average_precision() < 1
    assert merged.truths.sum() == 30


def test_changed_pixels_of_batches_add_up_to_those_of_one_batch():
    rng, judge = np.random.default_rng(0), judge_for(Described(Task.CHANGE))
    truth, found = (torch.from_numpy(rng.integers(low, 3, (6, 8, 8))) for low in (-1, 0))
    whole = judge.tally(found, (None, truth))
    parts = [judge.tally(found[at : at + 2], (None, truth[at : at + 2])) for at in (0, 2, 4)]
    # ranks send each other their parts pickled
    merged = judge.merged(pickle.loads(pickle.dumps(part)) for part in parts)
    assert judge.figures(merged) == judge.figures(whole)
    changed, counted = truth > 0, truth >= 0
    hits = (changed & (found == truth)).sum().item()
    missed_or_wrong = ((changed | (found > 0)) & counted).sum().item()
    kinds_mixed_up = (changed & (found > 0) & (found != truth)).sum().item()
    assert judge.figures(whole)["recall"] == hits / changed.sum().item()
    assert judge.figures(whole)["precision"] == hits / ((found > 0) & counted).sum().item()
    assert judge.figures(whole)["iou"] == hits / (missed_or_wrong + kinds_mixed_up)
    assert all(np.isnan(value) for value in judge.figures(judge.merged([])).values())


def test_nothing_seen_is_no_number():
    judge = judge_for(Described(Task.OBJECTS))
    assert np.isnan(judge.figures(judge.merged([]))["average_precision"])
    nothing = match_batch([], [], 2)
    assert isinstance(nothing, Matches)
    assert len(nothing.truths) == 2

"""A team of processes, as one of them sees it."""

import math
import os

import pytest
import torch

from rasterloom.pipeline.training.team import ALONE, mean_of, take_own_gpu


@pytest.mark.parametrize(
    ("listed", "number", "seen"),
    [
        (None, 0, "0"),
        (None, 1, "1"),
        ("2,5", 0, "2"),
        ("2,5", 1, "5"),
        ("GPU-a", 1, ""),
        ("", 0, ""),
        ("", 1, ""),
        ("-1", 0, "-1"),
    ],
)
def test_a_rank_sees_the_gpu_that_is_its_own(monkeypatch, listed, number, seen):
    monkeypatch.setenv("LOCAL_RANK", str(number))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "to be put back")
    if listed is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    take_own_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_the_mean_of_parts_is_that_of_the_whole():
    assert mean_of([(3.0, 2), (0.0, 0), (6.0, 1)]) == 3.0
    assert math.isnan(mean_of([(0.0, 0), (0.0, 0)]))


def test_one_alone_gathers_itself_and_averages_nothing():
    buffer = torch.tensor([1.0, 2.0])
    ALONE.averaged([buffer])
    assert buffer.tolist() == [1.0, 2.0]
    assert ALONE.gathered("here") == ["here"]
    assert ALONE.share == (0, 1)

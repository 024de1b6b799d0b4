"""The kind of device that a caller names holds for one thread and one call."""

import threading

import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.training.evaluate import fastest_device
from rasterloom.pipeline.training.processor import processor


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


def test_the_cpu_is_taken_where_it_is_asked_for(gpu):
    assert fastest_device().type == "cuda"
    with processor("cpu"):
        assert fastest_device().type == "cpu"
    assert fastest_device().type == "cuda"


def test_other_threads_keep_their_choice(gpu):
    seen = []
    with processor("CPU"):
        thread = threading.Thread(target=lambda: seen.append(fastest_device().type))
        thread.start()
        thread.join()
    assert seen == ["cuda"]


@pytest.mark.parametrize("kind", [None, "", "GPU"])
def test_a_gpu_is_taken_otherwise(gpu, kind):
    with processor(kind):
        assert fastest_device().type == "cuda"


@pytest.mark.parametrize(("kind", "words"), [("GPU", "sees no GPU"), ("TPU", "use 'CPU' or 'GPU'")])
def test_what_is_not_there_is_refused(kind, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingError, match=words), processor(kind):
        pass

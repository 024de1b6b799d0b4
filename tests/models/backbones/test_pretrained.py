import time
import urllib.error

import pytest
from huggingface_hub import constants

from rasterloom.models.backbones import pretrained
from rasterloom.models.backbones.pretrained import fetching
from rasterloom.models.errors import PretrainedError
from rasterloom.models.networks.unet import UnetSettings, build_unet


def _build(backbone: str) -> None:
    build_unet(bands=3, outputs=2, settings=UnetSettings(backbone=backbone), pretrained=True)


@pytest.mark.parametrize("backbone", ["resnet18", "timm:convnext_atto"])
def test_weights_out_of_reach_are_refused_within_seconds(backbone, monkeypatch, tmp_path):
    # a name that no resolver knows: the same as a machine without a connection
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://weights.invalid")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(PretrainedError, match=r"cannot be reached\. Use pretrained=False"):
        _build(backbone)
    assert time.monotonic() - started < 10
    assert constants.HF_HUB_OFFLINE is False


def test_the_offline_switch_is_obeyed_without_asking_anyone(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(pretrained, "_ask", lambda *_: pytest.fail("asked"))
    with pytest.raises(PretrainedError, match="pretrained=False"), fetching("resnet18"):
        raise FileNotFoundError


def test_a_host_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(pretrained, "PROBE_SECONDS", 0.2)
    monkeypatch.setattr(pretrained, "_ask", lambda *_: time.sleep(1))
    started = time.monotonic()
    with fetching("resnet18"):
        assert constants.HF_HUB_OFFLINE is True  # what is on this machine can still be used
    assert time.monotonic() - started < 0.9


def test_a_host_that_answers_with_an_error_page_is_within_reach(monkeypatch):
    def refuse(request, timeout):
        raise urllib.error.HTTPError(request.full_url, 403, "no", {}, None)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(pretrained.urllib.request, "urlopen", refuse)
    with pytest.raises(PretrainedError, match="the host refused"), fetching("resnet18"):
        raise ConnectionResetError

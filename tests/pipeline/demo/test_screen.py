"""What the demo says."""

import pytest

from rasterloom.pipeline.demo.screen import Screen


def test_stages_are_announced_and_timed(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(stages=2, show=True)
    with screen.stage("Scene", "what is mapped") as remarks:
        remarks.text = "512 x 512 [pixels]"
    with screen.stage("Map", "all of it"):
        pass
    screen.close("done", [("demo/report.html", "the report")], ["rasterloom info demo/model.dlpk"])
    said = capsys.readouterr().out
    for text in ("1/2", "Scene", "512 x 512 [pixels]", "2/2", "demo/report.html", "rasterloom info"):
        assert text in said
    assert list(screen.seconds) == ["scene", "map"]


def test_nothing_is_said_when_nothing_is_to_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(stages=1, show=False)
    with screen.stage("Scene", "what is mapped"):
        pass
    screen.close("done", [], [])
    assert capsys.readouterr().out == ""
    assert list(screen.seconds) == ["scene"]

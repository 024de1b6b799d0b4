"""What the demo may replace."""

from pathlib import Path

import pytest

from rasterloom.models.errors import OutputError, OutputExistsError
from rasterloom.pipeline.demo.folder import DemoFolder


def test_a_new_folder_is_made_and_may_be_used_again(tmp_path: Path) -> None:
    place = DemoFolder(tmp_path / "deep" / "demo")
    place.claim(overwrite=True)
    for output in place.outputs:
        output.write_text("made by the demo")
    place.claim(overwrite=True)
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        place.claim(overwrite=False)


@pytest.mark.parametrize("name", ["report.html", "scene", "chips.zarr"])
def test_what_no_demo_made_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(OutputExistsError, match="choose another folder"):
        DemoFolder(tmp_path).claim(overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_other_files_in_the_folder_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    DemoFolder(tmp_path).claim(overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_scene_is_known_by_its_properties_once_it_is_finished(tmp_path: Path) -> None:
    place = DemoFolder(tmp_path)
    place.claim(overwrite=True)
    place.scene.mkdir()
    assert not place.has_scene(size=512, seed=0)
    place.record_scene(size=512, seed=0)
    assert place.has_scene(size=512, seed=0)
    assert not place.has_scene(size=512, seed=1)
    place.forget_scene()
    assert not place.has_scene(size=512, seed=0)


def test_a_damaged_mark_counts_as_no_scene(tmp_path: Path) -> None:
    place = DemoFolder(tmp_path)
    place.claim(overwrite=True)
    place.scene.mkdir()
    next(tmp_path.glob(".*.json")).write_text("{")
    assert not place.has_scene(size=512, seed=0)
    place.claim(overwrite=True)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        DemoFolder(tmp_path / "file" / "demo").claim(overwrite=True)

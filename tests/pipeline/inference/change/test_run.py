"""What cannot be compared is refused before anything is computed, and nothing is lost."""

from pathlib import Path
from typing import Any

import pytest

from rasterloom.models.errors import (
    CrsError,
    ModelMismatchError,
    OutputExistsError,
    SettingError,
    TooManyFailures,
)
from rasterloom.pipeline.inference.change.detect import detect_change_using_deep_learning
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.rasters.open import open_raster
from tests.support.dates import (
    ARGUMENTS,
    HEIGHT,
    NOTHING,
    WIDTH,
    changed,
    detect,
    map_of,
    pixels_of,
    rule_model,
    write_dates,
)
from tests.support.models import random_model
from tests.support.rasters import write_raster


@pytest.fixture(scope="module")
def rule() -> Any:
    return rule_model()


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_dates(tmp_path_factory.mktemp("dates"))


def test_rasters_of_different_ground_are_refused(dates: tuple[Path, Path], rule: Any, tmp_path: Path) -> None:
    far = write_raster(tmp_path / "far.tif", height=50, width=50, origin=(600000.0, 5000000.0))
    with pytest.raises(SettingError, match=r"before\.tif and .*far\.tif do not overlap.*600000"):
        detect(dates[0], far, rule, tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


def test_an_extent_beside_the_common_ground_is_refused(
    dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    moved = write_raster(tmp_path / "moved.tif", height=HEIGHT, width=50, origin=(500100.0, 5000000.0))
    context = {"extent": (500000.0, 4999900.0, 500050.0, 5000000.0)}
    with pytest.raises(SettingError, match=r"extent .*does not meet what .* share"):
        detect(dates[0], moved, rule, tmp_path / "out.tif", context=context)


def test_a_crs_out_of_reach_is_refused(dates: tuple[Path, Path], rule: Any, tmp_path: Path) -> None:
    poles = write_raster(
        tmp_path / "pole.tif", height=50, width=50, crs="EPSG:3031", cell=100.0, origin=(0.0, 0.0)
    )
    with pytest.raises((CrsError, SettingError), match=r"cannot reach|do not overlap"):
        detect(dates[0], poles, rule, tmp_path / "out.tif")


def test_a_date_without_a_band_is_named(dates: tuple[Path, Path], rule: Any, tmp_path: Path) -> None:
    grey = write_raster(tmp_path / "grey.tif", height=HEIGHT, width=WIDTH, bands=1)
    for first, second in ((dates[0], grey), (grey, dates[1])):
        with pytest.raises(ModelMismatchError, match=r"3 bands .*grey\.tif has 1"):
            detect(first, second, rule, tmp_path / "out.tif")


def test_models_and_tools_of_other_tasks_are_refused(
    dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    with pytest.raises(ModelMismatchError, match="model for pixels, and this tool compares two dates"):
        detect(*dates, random_model(), tmp_path / "out.tif")
    with pytest.raises(ModelMismatchError, match="model for change, and this tool classifies pixels"):
        classify_pixels(dates[0], rule, output_name=tmp_path / "out.tif", progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_arguments": {"thinning": True}},
            r"'thinning' is not known: models for change take tile_size",
        ),
        ({"model_arguments": {"crop_predict": False, "padding": 8}}, r"padding is about tiles"),
        ({"resampling": "finest"}, r"resampling='finest' is not known: use one of nearest"),
        ({"context": {"extents": 1}}, r"no key 'extents': known are cellSize"),
        ({"folder": "here"}, r"detect_change_using_deep_learning has no argument 'folder'"),
        ({"gis": "portal"}, r"gis must be None"),
    ],
)
def test_what_cannot_work_is_refused(
    changes: dict[str, Any], message: str, dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=message):
        detect(*dates, rule, tmp_path / "out.tif", **changes)
    assert list(tmp_path.iterdir()) == []


def test_neither_date_nor_a_finished_map_is_overwritten(
    dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    for path in dates:
        with pytest.raises(SettingError, match="is read by this call"):
            detect(*dates, rule, path, overwrite=True)
    first = detect(*dates, rule, tmp_path / "out.tif").read_bytes()
    with pytest.raises(OutputExistsError):
        detect(*dates, rule, tmp_path / "out.tif")
    swapped = detect(dates[1], dates[0], rule, tmp_path / "out.tif", overwrite=True).read_bytes()
    assert swapped == first, "the rule knows no order of dates"
    with pytest.raises(SettingError, match=r"output_classified_raster='.*\.png' cannot work"):
        detect(*dates, rule, tmp_path / "out.png")


def test_the_result_stands_beside_the_earlier_date_unless_it_is_named(
    dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    before = tmp_path / "2019.tif"
    before.write_bytes(dates[0].read_bytes())
    found = detect_change_using_deep_learning(before, dates[1], rule, progress=False)
    assert found == str(tmp_path / "2019_change.tif")
    with pytest.raises(SettingError, match="output_classified_raster is missing"):
        detect_change_using_deep_learning(open_raster(before) + 0, dates[1], rule, progress=False)


def test_an_estimate_counts_both_dates_and_writes_nothing(
    dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    given = {"model_arguments": ARGUMENTS, "estimate": True}
    found = detect_change_using_deep_learning(*dates, rule, tmp_path / "out.tif", **given)
    assert found.pixels == HEIGHT * WIDTH
    assert found.bytes_read >= 2 * 3 * HEIGHT * WIDTH
    assert list(tmp_path.iterdir()) == []


def test_a_job_gives_the_same_map(dates: tuple[Path, Path], rule: Any, tmp_path: Path) -> None:
    given = {"model_arguments": ARGUMENTS, "future": True}
    job = detect_change_using_deep_learning(*dates, rule, tmp_path / "job.tif", **given)
    found = Path(job.result(timeout=60))
    assert (map_of(found) == changed(*map(pixels_of, dates))).all()


def test_where_one_date_cannot_be_read_there_is_nothing(
    dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    after = tmp_path / "after.tif"
    whole = dates[1].read_bytes()
    after.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(TooManyFailures, match=r"after\.tif|failed"):
        detect(dates[0], after, rule, tmp_path / "out.tif", cell_size=32)
    given = {"model_arguments": ARGUMENTS, "cell_size": 32, "max_failed": 1.0, "progress": False}
    with pytest.warns(UserWarning, match="cells could not be computed") as told:
        detect_change_using_deep_learning(dates[0], after, rule, tmp_path / "most.tif", **given)
    assert {Path(each.filename).name for each in told} == {Path(__file__).name}, "the line that called"
    found, expected = map_of(tmp_path / "most.tif"), changed(*map(pixels_of, dates))
    assert 0 < (found == NOTHING).sum() < found.size
    assert (found[found != NOTHING] == expected[found != NOTHING]).all()

import pytest

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.roads import RoadSettings


@pytest.mark.parametrize(
    ("name", "value", "works"),
    [
        ("mtl_model", "unet", "use 'linknet' or 'hourglass'"),
        ("gaussian_thresh", 0, "a number above 0.*0.76 keeps the width"),
        ("gaussian_thresh", 1.5, "up to 1"),
        ("gaussian_thresh", "wide", "a number above 0"),
        ("gaussian_thresh", float("nan"), "a number above 0"),
        ("orient_bin_size", 0, "a whole number from 1 to 90"),
        ("orient_bin_size", 91, "a whole number from 1 to 90"),
        ("orient_bin_size", 12.5, "a whole number from 1 to 90"),
        ("orient_theta", 0, "a whole number from 1 to 255"),
        ("orient_theta", True, "a whole number from 1 to 255"),
        ("hourglass_stacks", 0, "a whole number from 1 to 8"),
        ("hourglass_depth", 7, "a whole number from 1 to 6"),
        ("hourglass_channels", 2, "a whole number from 4 to 1024"),
    ],
)
def test_a_setting_that_cannot_work_says_what_would(name, value, works):
    with pytest.raises(SettingError, match=f"{name}=.*{works}"):
        RoadSettings(**{name: value})


@pytest.mark.parametrize("size", range(1, 91))
def test_orientations_fill_half_a_turn_and_are_no_larger_than_asked(size):
    count = RoadSettings(orient_bin_size=size).orientations
    assert 180 / count <= size
    assert count == 1 or 180 / (count - 1) > size


def test_the_design_is_read_in_letters_of_any_case():
    assert RoadSettings(mtl_model="LinkNet").mtl_model == "linknet"

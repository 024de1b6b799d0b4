from dataclasses import dataclass

import pytest

from rasterloom.models.errors import SettingError
from rasterloom.models.settings import (
    checked_flag,
    checked_fraction,
    checked_integers,
    checked_numbers,
    plain_parameters,
    read_settings,
)


@dataclass(frozen=True)
class Size:
    width: int = 3
    sides: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Look:
    color: str = "red"


def test_one_flat_mapping_fills_several_settings_and_comes_back():
    size, look = read_settings("Thing", {"color": "blue", "width": 5}, Size, Look)
    assert (size, look) == (Size(width=5), Look("blue"))
    assert plain_parameters(size, look) == {"width": 5, "sides": [1, 2], "color": "blue"}


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(SettingError, match="Thing does not take colour: it takes color, sides, width"):
        read_settings("Thing", {"colour": "blue"}, Size, Look)


@pytest.mark.parametrize("value", [1, "true", None])
def test_a_switch_is_true_or_false(value):
    with pytest.raises(SettingError, match="use True or False"):
        checked_flag("mixup", value)


@pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", True, float("nan")])
def test_a_fraction_is_a_number_from_0_to_1(value):
    with pytest.raises(SettingError, match="from 0 to 1"):
        checked_fraction("dice_loss_fraction", value)


@pytest.mark.parametrize("value", [3, "12", [1, -1], [True], [1.5], [9]])
def test_integers_stay_in_their_range(value):
    with pytest.raises(SettingError, match="integers from 0 to 8"):
        checked_integers("classes", value, least=0, most=8)


@pytest.mark.parametrize("value", [[], [0.0], [-1], "1", 1.0, [101], [True], ["x"], None])
def test_a_list_of_sizes_holds_numbers_above_zero(value):
    with pytest.raises(SettingError, match="use a list of numbers above 0 and up to 100"):
        checked_numbers("scales", value, most=100)
    assert checked_numbers("scales", [1, 100], most=100) == (1.0, 100.0)

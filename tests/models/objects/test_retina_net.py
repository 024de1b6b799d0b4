import pytest

from rasterloom.models.errors import SettingError
from rasterloom.models.objects.retina_net import RetinaNet


def test_no_scales_and_ratios_are_those_of_the_reference(make_data):
    parameters = RetinaNet.complete_parameters({"scales": None, "ratios": None})
    assert (parameters["scales"], parameters["ratios"]) == ([1.0, 0.8, 0.63], [0.5, 1.0, 2.0])
    with pytest.raises(SettingError, match="takes five arguments by position and got 6"):
        RetinaNet(make_data(), None, None, "resnet18", None, 7)

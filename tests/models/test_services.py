import importlib
import subprocess
import sys

import pytest

from rasterloom.models.errors import SettingError
from rasterloom.models.services import SERVICES, service


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_a_function_of_the_pipeline(name):
    module, function = SERVICES[name].split(":")
    assert module.startswith("rasterloom.pipeline.")
    assert service(name) is getattr(importlib.import_module(module), function)


def test_an_unknown_service_lists_the_known_ones():
    with pytest.raises(SettingError, match="show_results"):
        service("fits")


def test_catalog_contract_services_and_history_do_without_torch():
    code = (
        "import sys, rasterloom.models.catalog, rasterloom.models.contract, rasterloom.models.services,"
        "rasterloom.models.history, rasterloom.models.data, rasterloom.models.settings,"
        "rasterloom.models.backbones.names; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

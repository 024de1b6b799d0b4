"""From the description of a model to the model."""

from rasterloom.models.catalog import find_adapter
from rasterloom.models.contract import ModelSpec
from rasterloom.models.imagery import ImageryModel
from rasterloom.models.ready import ReadyModel


def build(spec: ModelSpec) -> ImageryModel:
    """A model with random weights and no data, whose network fits the description.

    Raises
    ------
    SettingError
        If the model's name is not in the catalog, or its parameters cannot work.
    """
    model: ImageryModel = find_adapter(spec.model).load().from_spec(spec)
    return model


def describe(spec: ModelSpec) -> ReadyModel:
    """What a description tells without its network, such as ``tile_multiple``. Takes no time.

    Raises
    ------
    SettingError
        If the model's name is not in the catalog, or its parameters cannot work.
    """
    model: ReadyModel = find_adapter(spec.model).load().without_network(spec)
    return model

"""What a model asks of its training data."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rasterloom.models.contract import ModelSpec, Normalization

if TYPE_CHECKING:
    import numpy as np


class TrainingData(Protocol):
    """Prepared data, as ``prepare_data`` returns it: a frozen dataclass.

    A model that brings its own scaling of pixels works on a copy made by ``dataclasses.replace``.
    """

    @property
    def class_pixels(self) -> Mapping[int, int]:
        """Labelled pixels of each class value; 0 counts the pixels without a class."""
        ...

    @property
    def normalization(self) -> Normalization:
        """Scaling that batches have gone through, one number for each band."""
        ...

    @property
    def object_sizes(self) -> "np.ndarray":
        """(m, 2) width and height of the objects to train on, in pixels as the network sees them; without
        objects (0, 2)."""
        ...

    @property
    def working_dir(self) -> Path:
        """Folder under which models saved by name alone are kept."""
        ...

    def spec_for(self, model_name: str, parameters: Mapping[str, Any]) -> ModelSpec:
        """Everything a model needs to know of this data: bands, scaling, tile size, classes, place.

        Parameters
        ----------
        model_name
            Name of the model's class in the catalog.
        parameters
            The model's settings, JSON-able; they stand in the result unchanged.
        """
        ...

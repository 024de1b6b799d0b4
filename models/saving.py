"""A model's way into a package and out of one."""

from pathlib import Path
from typing import Any, Protocol

from torch import nn

from rasterloom.models.contract import ModelSpec
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import ModelMismatchError
from rasterloom.models.services import service
from rasterloom.models.settings import check_saving, checked_framework
from rasterloom.models.weights import check_same_outputs, put_weights


class TrainedModel(Protocol):
    """What a package is made of, as every :class:`~rasterloom.models.imagery.ImageryModel` has it."""

    spec: ModelSpec
    data: TrainingData | None
    network: nn.Module
    optimizer_state: dict[str, Any] | None


def save_model(
    model: TrainedModel,
    name_or_path: str | Path,
    *,
    framework: str,
    gis: object,
    save_optimizer: bool,
    overwrite: bool = False,
    registry: str | Path | None = None,
    **settings: bool,
) -> Path:
    """Write a model as a package; see :meth:`rasterloom.models.imagery.ImageryModel.save`."""
    framework = checked_framework(framework)
    trained = model.optimizer_state is not None
    check_saving(framework=framework, gis=gis, save_optimizer=save_optimizer, trained=trained)
    path: Path = service("save")(
        model,
        name_or_path,
        working_dir=working_dir_of(model),
        framework=framework,
        save_optimizer=save_optimizer,
        overwrite=bool(overwrite),
        registry=registry,
        **settings,
    )
    return path


def load_weights(model: TrainedModel, name_or_path: str | Path, *, strict: bool) -> Any:
    """Put a package's weights into a model; says which package it was.

    The state of the optimiser comes along with ``strict``, where the package has it.
    """
    package = service("load")(name_or_path, working_dir=working_dir_of(model))
    if strict:
        check_same_outputs(package.spec, model.spec)
    put_weights(model.network, package.tensors(), strict=strict)
    model.optimizer_state = package.optimizer_state() if strict else None
    return package


def model_in(emd_path: str | Path, kind: type[Any], data: TrainingData | None, *, trust: bool) -> Any:
    """The model of a package, without data.

    Raises
    ------
    ModelMismatchError
        If it is of another class, or ``data`` does not fit it.
    """
    package = service("load")(emd_path, trust=trust)
    model = service("build")(package)
    if not isinstance(model, kind):
        raise ModelMismatchError(
            f"{emd_path} holds a {package.spec.model}, not a {kind.__name__}: "
            f"use {package.spec.model}.from_model."
        )
    model.optimizer_state = package.optimizer_state()
    if data is not None:
        check_same_outputs(data.spec_for(package.spec.model, package.spec.parameters), package.spec)
    return model


def working_dir_of(model: TrainedModel) -> Path | None:
    """Where models that are saved by name alone are kept; None where there is no data."""
    return None if model.data is None else model.data.working_dir

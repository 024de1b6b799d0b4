"""From folders of chips to a model package in one call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rasterloom.cluster.jobs import Progress
from rasterloom.models.catalog import AdapterRow
from rasterloom.models.errors import OutputExistsError, SettingError
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.rasters.context import parse_context
from rasterloom.pipeline.training.folders import check_folders
from rasterloom.pipeline.training.model_types import MODEL_TYPES, find_model_type
from rasterloom.pipeline.training.processor import processor
from rasterloom.pipeline.training.routing import Routed, number_of, route, taken_besides, whole_of

EPOCHS = 20
VALIDATION_PERCENT = 10.0

_CONTEXT = frozenset({"processorType"})
_STEPS = 3
"""Chips read, model trained, package written."""
_OPTIONS: Mapping[str, Any] = {
    "client": None,
    "pretrained": True,
    "progress": True,
    "seed": 42,
    "trust": False,
}
_ENDINGS = (".dlpk", ".emd")


def train_model(
    input_folder: str | Path | Sequence[str | Path],
    model_type: str,
    model_arguments: Mapping[str, Any] | None = None,
    batch_size: int = 2,
    max_epochs: int | None = None,
    learning_rate: float | None = None,
    backbone_model: str | None = None,
    validation_percent: float | None = None,
    pretrained_model: Any = None,
    stop_training: bool = True,
    freeze_model: bool = True,
    overwrite_model: bool = False,
    output_name: str | Path | None = None,
    context: Mapping[str, Any] | None = None,
    *,
    gis: None = None,
    future: bool = False,
    **kwargs: Any,
) -> Any:
    """Train a model on chips and save it as a package: prepare_data, fit and save in one call.

    Parameters
    ----------
    input_folder
        A chip store or folder of chips, as ``export_training_data`` and other software write them, or a list
        of them. Several must have the same metadata format, one of Classified_Tiles, Labeled_Tiles,
        MultiLabeled_Tiles, PASCAL_VOC_rectangles and RCNN_Masks, the same number of bands and the same tile
        size.
    model_type
        ``UNET``, ``PSPNET``, ``DEEPLABV3``, ..., in letters of any case, or the name of a class, such as
        ``UnetClassifier``. The message about an unknown one lists those that can be trained.
    model_arguments
        Settings of the model class (``class_balancing``, ``focal_loss``, ...), of ``prepare_data``
        (``chip_size``, ``extract_bands``, ...) and of ``fit`` (``monitor``, ``one_cycle``,
        ``gradient_clip``, ...). Values may be text: "0.5", "true", "[1, 2]".
    batch_size
        Chips in a step, 2 or more.
    max_epochs
        Passes over the training chips; None is 20.
    learning_rate
        Above 0. None or 0 has it found.
    backbone_model
        Feature extractor, such as ``RESNET34`` or ``resnet34``. None takes the usual one of the class.
    validation_percent
        Share of the chips to validate with, in percent, between 0 and 100; None is 10. Chips that are marked
        by ``export_training_data(split=...)`` are split as they say.
    pretrained_model
        A saved model of the same class, bands and classes to start from: a path or URL of a .dlpk, the name
        of an installed model, or a :class:`rasterloom.pipeline.Model`. A saved ``ModelExtension`` is trained
        on by its own code, with ``trust=True``.
    stop_training
        Stop when validation has not got better for five epochs.
    freeze_model
        Leave the backbone of pretrained weights as it is. False trains it too. A backbone that starts from
        random weights is always trained.
    overwrite_model
        Replace a package of this name.
    output_name
        Path of the package; a name alone goes to ``models`` beside the (first) chips. None makes a name of
        the model type and the chips.
    context
        ``processorType``: "CPU" or "GPU"; without it a GPU where there is one.
    gis
        Must be None; ``client`` says where the work is done.
    future
        Return at once with a :class:`rasterloom.cluster.background.Job`.
    kwargs
        ``client`` (None): a Dask client, whose workers then train together.
        ``seed`` (42): decides the split, the order of chips and their random views.
        ``pretrained`` (True): start from a backbone that knows ImageNet, which is fetched from the internet.
        ``trust`` (False): whether code in ``pretrained_model`` may be run.
        ``progress`` (True): show the training table.

    Returns
    -------
    str
        Path of the .dlpk; with ``future`` a Job whose result it is.

    Raises
    ------
    SettingError, MissingInputError, StoreError, OutputExistsError, ModelMismatchError
        Before anything is computed.
    PretrainedError
        If the backbone's weights cannot be had.
    RunInterrupted
        If the user stops it.

    References
    ----------
    "api-reference", train_model.
    """
    order = _checked(
        input_folder,
        model_type,
        model_arguments,
        context,
        gis,
        kwargs,
        batch_size=whole_of("batch_size", batch_size, least=2) or 2,
        epochs=whole_of("max_epochs", max_epochs, least=1) or EPOCHS,
        rate=number_of("learning_rate", learning_rate, least=0, most=1) or None,
        backbone=_backbone(backbone_model),
        share=_share(validation_percent),
        pretrained_model=pretrained_model,
        early_stopping=bool(stop_training),
        freeze=bool(freeze_model),
        overwrite=bool(overwrite_model),
        output=output_name,
    )
    if future:
        from rasterloom.cluster.background import Job

        return Job(lambda report: _trained(order, report))
    return _trained(order, lambda progress: None)


@dataclass(frozen=True, kw_only=True)
class _Order:
    """Everything that was asked for, checked as far as that goes without opening the chips."""

    paths: list[str | Path]
    row: AdapterRow
    kind: type[Any]
    routed: Routed
    processor: str | None
    options: Mapping[str, Any] = field(repr=False)
    batch_size: int
    epochs: int
    rate: float | None
    backbone: str | None
    share: float
    start: str | Path | None
    early_stopping: bool
    freeze: bool
    overwrite: bool
    output: str | Path | None


def _checked(
    folders: Any,
    model_type: str,
    arguments: Any,
    context: Any,
    gis: object,
    extra: Mapping[str, Any],
    **rest: Any,
) -> _Order:
    if gis is not None:
        raise SettingError("gis must be None: there is no portal here; pass client= to say where to work.")
    unknown = sorted(set(extra) - set(_OPTIONS))
    if unknown:
        raise SettingError(
            f"train_model has no argument {unknown[0]!r}: besides its named ones it takes "
            f"{', '.join(_OPTIONS)}; settings of the model go into model_arguments."
        )
    options = {**_OPTIONS, **extra}
    wanted = parse_context(context, allowed=_CONTEXT).get("processorType")
    if wanted is not None and options["client"] is not None:
        raise SettingError(
            "processorType is for training in this process, and a client's workers each use what they have: "
            "start them on machines with GPUs, or without."
        )
    start = _start(rest.pop("pretrained_model"))
    row, routed = find_model_type(model_type, started=start is not None), route(arguments)
    kind = row.load()
    if not row.brings_code:
        _check_parameters(kind, routed, rest["backbone"])
    elif routed.model or rest["backbone"]:
        raise SettingError(
            f"a {row.name} goes on with the settings that it was saved with: leave out backbone_model and "
            f"{', '.join(routed.model) or 'settings of the model'}."
        )
    paths = [folders] if isinstance(folders, str | Path) else list(folders)
    return _Order(
        paths=paths, row=row, kind=kind, routed=routed, processor=wanted, options=options, start=start, **rest
    )


def _check_parameters(kind: type[Any], routed: Routed, backbone: str | None) -> None:
    chosen = {} if backbone is None else {"backbone": backbone}
    try:
        kind.complete_parameters({**routed.model, **chosen})
    except SettingError as error:
        strange = " does not take " in str(error)
        raise SettingError(f"{error} {taken_besides()}" if strange else str(error)) from error


def _backbone(name: str | None) -> str | None:
    if name is None or not str(name).strip():
        return None
    text = str(name).strip()
    return text.lower() if text.isupper() else text


def _share(percent: float | None) -> float:
    number = number_of("validation_percent", percent, least=0, most=100)
    if number is None:
        return VALIDATION_PERCENT / 100
    if not 0 < number < 100:
        raise SettingError(
            f"validation_percent={percent!r} leaves no chips for one of the two sets: give more than 0 and "
            "less than 100, such as 10."
        )
    return number / 100


def _trained(order: _Order, report: Callable[[Progress], None]) -> str:
    with processor(order.processor):
        check_folders(order.paths)
        data = prepare_data(
            order.paths if len(order.paths) > 1 else order.paths[0],
            val_split_pct=order.share,
            batch_size=order.batch_size,
            seed=order.options["seed"],
            **order.routed.data,
        )
        target = _target(order, data)
        report(_done(1, order))
        model = _model(order, data)
        model.fit(
            order.epochs,
            lr=order.rate,
            early_stopping=order.early_stopping,
            show_progress=order.options["progress"],
            **({} if order.options["client"] is None else {"client": order.options["client"]}),
            **order.routed.fit,
        )
        report(_done(2, order))
        return str(model.save(target, overwrite=order.overwrite))


def _model(order: _Order, data: ImageryData) -> Any:
    if order.row.brings_code:
        model = order.kind.from_model(order.start, data, trust=bool(order.options["trust"]))
    else:
        chosen = {} if order.backbone is None else {"backbone": order.backbone}
        plain = {} if order.options["pretrained"] else {"pretrained": False}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(order.options["seed"])  # the same call begins with the same random weights
            model = order.kind(data, pretrained_path=order.start, **plain, **chosen, **order.routed.model)
    if not order.freeze:
        model.unfreeze()
    return model


def _start(model: Any) -> str | Path | None:
    """The path or name of the model to start from."""
    if model is None or isinstance(model, str | Path):
        return model or None
    path = getattr(model, "path", None)
    if not isinstance(path, str | Path):
        raise SettingError(
            f"pretrained_model={model!r} cannot be used: give the path or URL of a .dlpk, the name of an "
            "installed model, or a Model made of one."
        )
    return path


def _target(order: _Order, data: ImageryData) -> Path:
    """Where the package will stand, as a path without ending. Raises OutputExistsError if something does."""
    names = {model: kind for kind, model in MODEL_TYPES.items()}
    first = Path(str(order.paths[0]).rstrip("/")).stem
    name = Path(order.output or f"{names.get(order.row.name, order.row.name).lower()}_{first}").expanduser()
    alone = len(name.parts) == 1 and name.suffix.lower() not in _ENDINGS
    path = name.with_suffix("") if name.suffix.lower() in _ENDINGS else name
    if alone:
        path = data.working_dir / "models" / path
    for taken in (path.with_name(f"{path.name}.dlpk"), path):
        if taken.exists() and not order.overwrite:
            raise OutputExistsError(
                f"{taken} exists: choose another output_name, or use overwrite_model=True."
            )
    return path.absolute()


def _done(steps: int, order: _Order) -> Progress:
    return Progress(done_cells=steps, total_cells=_STEPS, pixels=0, failed=0, seconds=0.0)

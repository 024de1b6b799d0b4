"""Bring a network that was built and trained elsewhere."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rasterloom.models.brought import BroughtModel
from rasterloom.models.change.foreign import TorchChangeDetector
from rasterloom.models.contract import ClassInfo, ModelSpec, Task
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.models.legend import read_bands, read_classes, read_positions, read_scaling
from rasterloom.models.networks.change_outputs import TwoImages
from rasterloom.models.networks.fixed import fixed_side
from rasterloom.models.networks.object_outputs import FORMS, ObjectOutputs
from rasterloom.models.networks.outputs import PixelOutputs
from rasterloom.models.networks.probing import Probe, evaluating, probe
from rasterloom.models.networks.programs import (
    FAULTS,
    NAMES,
    Program,
    ProgramKind,
    first_line,
    open_exported,
    open_program,
    read_program,
    write_down,
)
from rasterloom.models.networks.scene_outputs import check_scene_outputs
from rasterloom.models.objects.foreign import TorchDetector
from rasterloom.models.pixels.foreign import TorchModel
from rasterloom.models.scenes.foreign import TorchSceneClassifier

_SURE = 1e-3
"""How far a probability may lie outside 0..1 by rounding."""
_TASKS = (Task.PIXELS, Task.OBJECTS, Task.SCENES, Task.CHANGE)
"""What networks are brought for."""


def from_torch(
    module: Any,
    *,
    task: str | Task = Task.PIXELS,
    classes: Any,
    bands: Any,
    tile_size: int,
    normalize: Any = None,
    outputs: str = "logits",
    extract_bands: Iterable[int] | None = None,
    tile_multiple: int = 1,
    dtype: str | None = None,
    cell_size: float | tuple[float, float] | None = None,
    crs: Any = None,
    name: str | None = None,
    trust: bool = False,
    multilabel: bool = False,
) -> TorchModel | TorchDetector | TorchSceneClassifier | TorchChangeDetector:
    """Make a model of a network that was built and trained elsewhere.

    Noise is sent through the network once, to see that it gives what the task wants: scores for every pixel
    and how many, or lists of things. It is left as it is: in its mode, on its device.

    Parameters
    ----------
    module
        A ``torch.nn.Module``, TorchScript, a ``torch.export`` program, or the path of a .pt2, TorchScript or
        .onnx file. It takes (N, C, H, W) float32 and returns (N, K, H, W), also as ``out`` in a dictionary,
        as ``.logits``, or first in a tuple; on the images' grid or a whole fraction of it. K is the number of
        classes, or one more for background as output 0, or 1 for one class against background.

        A detector, a module or TorchScript, takes (N, C, H, W) or a list of (C, H, W), whichever works. It
        returns a list with a dictionary for each image, as torchvision's detectors do: ``boxes`` (n, 4) as
        x1, y1, x2, y2 in pixels of the image, ``labels`` (n,) of int, where 1 is the first class,
        ``scores`` (n,) from 0 to 1, and perhaps ``masks`` (n, H, W) or (n, 1, H, W), shares of 0 to 1.

        A classifier of whole chips returns (N, K), a number for each class; there is no background.

        A network for change takes the bands of both dates, (N, 2C, H, W), the earlier ones first; a module
        may take two images instead. It returns what one for pixels does, and output 0 is no change.
    task
        ``pixels``, ``objects`` for a detector, ``scenes`` for a classifier of whole chips, or ``change``.
    classes
        In the order of the outputs, or of the labels: names (values 1, 2, .., and 0 for a first name
        "background"), ``{value: name}``, ``ClassInfo`` values, or rows of (value, name, (red, green, blue)).
    bands
        Number or names of the bands, in the network's order.
    tile_size
        Side of the tiles that it works best on, in pixels: usually what it was trained on.
    normalize
        What is done to pixels: None (raw numbers), ``"imagenet"`` (for pixels of 0..255), a number to divide
        by, or (mean, std), each one number or one for each band, in the raster's units. torchvision's
        detectors normalise images of 0..1 themselves: divide by 255.
    outputs
        Of networks for pixels and scenes: ``logits``, or ``probabilities`` where they end in a softmax or
        sigmoid.
    extract_bands
        Positions of the bands in the raster, from 0. None takes the first ones.
    tile_multiple
        What tile sizes must be a multiple of, in pixels.
    dtype, cell_size, crs
        Pixel type, pixel size (one number, or width and height) and its CRS in training. Where they are
        known, rasters that differ are warned of.
    name
        What messages call the model. None takes the name of the module's class, or of the file.
    trust
        Whether a program from a file may be run. TorchScript and .pt2 files can hold any code of their
        author; ONNX files cannot.
    multilabel
        Of networks for scenes: whether a chip can be of several classes, or of none.

    Returns
    -------
    TorchModel, TorchDetector, TorchSceneClassifier or TorchChangeDetector
        For the inference tools: ``classify_pixels``, ``detect_objects``, ``classify_objects``, or
        ``detect_change_using_deep_learning``.

    Raises
    ------
    SettingError
        If an argument cannot work.
    ModelMismatchError
        If the network does not give what the arguments say.
    MissingInputError, PackageError
        If the file is not there, cannot be read, or is not trusted.
    MissingExtraError
        If it is ONNX, and ``rasterloom[onnx]`` is not installed.
    """
    _check_task(task)
    _check_side(tile_size, tile_multiple)
    names = read_bands(bands)
    inner, program = _opened(_bare(module), trust=trust)
    spec = ModelSpec(
        model="",
        task=Task(task),
        bands=names,
        extract_bands=read_positions(extract_bands, len(names)),
        dtype=dtype or "",
        normalization=read_scaling(normalize, len(names)),
        tile_size=tile_size,
        classes=read_classes(classes),
        cell_size=_pair(cell_size),
        crs=_text(crs),
        parameters={
            "name": name or _name(_bare(module)),
            "tile_multiple": fixed_side(inner) or tile_multiple,
        },
    )
    if multilabel and spec.task is not Task.SCENES:
        raise SettingError(
            f"multilabel=True is for task='scenes', and this is for {spec.task}: leave it out."
        )
    if spec.task is Task.OBJECTS:
        _check_detector(spec, program, outputs)
        return _detector(spec, inner, program)
    if spec.task is Task.SCENES:
        return _scenes(spec, inner, program, outputs, multilabel=multilabel)
    if spec.task is Task.CHANGE:
        return _change(spec, inner, program, outputs)
    return _classifier(spec, inner, program, outputs)


def _classifier(spec: ModelSpec, inner: nn.Module, program: Program | None, outputs: str) -> TorchModel:
    parameters = {"name": spec.parameters["name"], "outputs": outputs, **spec.parameters}
    spec = replace(spec, model=TorchModel.__name__, parameters=parameters)
    model = TorchModel(spec, inner, program)
    seen = probe(model.network, bands=spec.band_count, tile_size=spec.tile_size)
    if outputs == "probabilities":
        _check_probabilities(seen)
    model.spec = _with_background(spec, seen.channels)
    return model


def _scenes(
    spec: ModelSpec, inner: nn.Module, program: Program | None, outputs: str, *, multilabel: bool
) -> TorchSceneClassifier:
    parameters = {**spec.parameters, "outputs": outputs, "multilabel": multilabel}
    spec = replace(spec, model=TorchSceneClassifier.__name__, parameters=parameters, background=False)
    model = TorchSceneClassifier(spec, inner, program)
    check_scene_outputs(
        model.network,
        spec,
        probabilities=outputs == "probabilities",
        several=multilabel,
    )
    return model


def _change(spec: ModelSpec, inner: nn.Module, program: Program | None, outputs: str) -> TorchChangeDetector:
    """The model of a network that takes the bands of both dates, or of a module that takes two images."""
    parameters = {"name": spec.parameters["name"], "outputs": outputs, **spec.parameters}
    spec = replace(spec, model=TorchChangeDetector.__name__, parameters=parameters)
    faults: list[str] = []
    for module in (inner, TwoImages(inner)) if program is None else (inner,):
        model = TorchChangeDetector(spec, module, program)
        try:
            seen = probe(model.network.outputs, bands=model.input_bands, tile_size=spec.tile_size)
        except ModelMismatchError as error:
            faults.append(first_line(error))
            continue
        if outputs == "probabilities":
            _check_probabilities(seen)
        model.spec = _with_background(spec, seen.channels)
        if model.spec.output_values[0] != 0:
            raise ModelMismatchError(
                f"the network has an output for each of {_listed(spec.classes)} and none for no change: it "
                "should be output 0."
            )
        return model
    forms = ("images with the bands of both dates", "two images")
    told = "; on ".join(f"{form}: {fault}" for form, fault in zip(forms, faults, strict=False))
    raise ModelMismatchError(f"the network does not answer on {told}.")


def _detector(spec: ModelSpec, inner: nn.Module, program: Program | None) -> TorchDetector:
    """The model of a detector that takes images in one form or the other."""
    faults: list[str] = []
    device = next((p.device for p in inner.parameters()), torch.device("cpu"))
    noise = torch.rand(2, spec.band_count, spec.tile_size, spec.tile_size)
    for form in FORMS:
        parameters = {**spec.parameters, "images": form}
        model = TorchDetector(
            replace(spec, model=TorchDetector.__name__, parameters=parameters), inner, program
        )
        try:
            with evaluating(model.network), torch.no_grad():
                model.detect(noise.to(device))
        except SettingError as error:
            raise ModelMismatchError(str(error)) from error
        except FAULTS as error:
            faults.append(first_line(error))
        else:
            return model
    raise ModelMismatchError(
        f"the network fails on {tuple(noise.shape)} images in evaluation mode ({faults[0]}), and on a list "
        f"of such images ({faults[1]}): use bands and tile_size that it takes."
    )


def _check_detector(spec: ModelSpec, program: Program | None, outputs: str) -> None:
    if any(info.value == 0 for info in spec.classes):
        raise SettingError("classes names a background, and a detector finds things: leave it out.")
    if outputs != "logits":
        raise SettingError(
            f"outputs={outputs!r} is about networks for pixels, and a detector gives scores from 0 to 1: "
            "leave it out."
        )
    if program is not None and program.kind is not ProgramKind.SCRIPT:
        raise SettingError(
            f"a detector returns lists of things, and {NAMES[program.kind]} returns tensors: bring the "
            "torch.nn.Module, or TorchScript."
        )


def _opened(module: Any, *, trust: bool) -> tuple[nn.Module, Program | None]:
    if isinstance(module, BroughtModel | PixelOutputs | ObjectOutputs) or hasattr(module, "spec"):
        raise SettingError("this is a model of rasterloom already: give it to the tools as it is.")
    if isinstance(module, torch.export.ExportedProgram):
        return open_exported(module), write_down(module)
    if isinstance(module, nn.Module):
        return module, write_down(module)
    if isinstance(module, str | Path):
        path = Path(module).expanduser()
        program = read_program(path)
        return open_program(program, trust=trust, source=str(path)), program
    told = "a class, not a module: call it first" if isinstance(module, type) else f"{type(module).__name__}"
    raise SettingError(
        f"a model cannot be made of {told}. Give a torch.nn.Module, TorchScript, a torch.export program, or "
        "the path of a .pt2, TorchScript or .onnx file. Of a state dictionary: build the module and call "
        "load_state_dict."
    )


def _bare(module: Any) -> Any:
    """The module itself, without what makes it faster in training."""
    module = getattr(module, "_orig_mod", module)  # of torch.compile; tools compile anew where that is wanted
    wrapped = isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel)
    return module.module if wrapped else module


def _check_task(task: str | Task) -> None:
    if task not in _TASKS:
        known = ", ".join(Task)
        said = f"for {task} is not here yet" if task in list(Task) else f"is for one of {known}"
        raise SettingError(f"task={str(task)!r}: from_torch {said}: use {_known_tasks()}.")


def _known_tasks() -> str:
    return " or ".join(f"task='{task}'" for task in _TASKS)


def _check_side(tile_size: Any, multiple: Any) -> None:
    for label, value in (("tile_size", tile_size), ("tile_multiple", multiple)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SettingError(f"{label}={value!r} cannot work: use a whole number of pixels from 1.")
    if tile_size % multiple:
        raise SettingError(
            f"tile_size={tile_size} is no multiple of tile_multiple={multiple}: use "
            f"tile_size={-(-tile_size // multiple) * multiple}."
        )


def _check_probabilities(seen: Probe) -> None:
    if seen.smallest < -_SURE or seen.largest > 1 + _SURE:
        raise ModelMismatchError(
            f"outputs='probabilities', and the network returns {seen.smallest:.3g} to {seen.largest:.3g}: "
            "use outputs='logits'."
        )


def _with_background(spec: ModelSpec, channels: int) -> ModelSpec:
    """The description with the background that the number of channels tells of."""
    named = len(spec.classes)
    has_zero = any(info.value == 0 for info in spec.classes)
    if channels == 1:
        if named - has_zero != 1:
            raise ModelMismatchError(
                f"the network has one output, which is one class against background, and classes names "
                f"{_listed(spec.classes)}: name the one."
            )
        return replace(spec, background=True)
    if channels == named:
        return replace(spec, background=has_zero)
    if channels == named + 1 and not has_zero:
        return replace(spec, background=True)
    more = "" if has_zero else f", or {named + 1} with background as output 0"
    raise ModelMismatchError(
        f"the network has {channels} outputs, and classes names {named} ({_listed(spec.classes)}): there "
        f"should be {named} outputs{more}. Name a class for each output, in their order."
    )


def _listed(classes: tuple[ClassInfo, ...]) -> str:
    return ", ".join(info.name for info in classes[:5]) + (", .." if len(classes) > 5 else "")


def _pair(cell_size: float | tuple[float, float] | None) -> tuple[float, float]:
    if cell_size is None:
        return 0.0, 0.0
    pair = (cell_size, cell_size) if isinstance(cell_size, int | float) else tuple(cell_size)
    if len(pair) != 2 or not all(side > 0 for side in pair):
        raise SettingError(
            f"cell_size={cell_size!r} cannot work: use one number, or width and height, above 0."
        )
    return float(pair[0]), float(pair[1])


def _text(crs: Any) -> str:
    if crs is None:
        return ""
    return (
        str(crs.to_wkt()) if hasattr(crs, "to_wkt") else f"EPSG:{crs}" if isinstance(crs, int) else str(crs)
    )


def _name(module: Any) -> str:
    if isinstance(module, str | Path):
        return Path(module).stem
    return str(getattr(module, "original_name", "") or type(module).__name__)

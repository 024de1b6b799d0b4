"""The files that a model's package is made of."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasterloom.models.catalog import find_adapter
from rasterloom.pipeline.packages.esri import inference_script
from rasterloom.pipeline.packages.findings import Findings
from rasterloom.pipeline.packages.manifest import dump_emd, relative_name, to_emd
from rasterloom.pipeline.packages.metrics_page import metrics_page

if TYPE_CHECKING:
    from rasterloom.models.networks.programs import Program
    from rasterloom.models.ready import ReadyModel

PAGE = "model_metrics.html"
PICTURES = "ModelCharacteristics"
OPTIMIZER = "optimizer.pth"


@dataclass(frozen=True)
class Contents:
    """A model and what goes into its package besides."""

    model: "ReadyModel"
    findings: Findings
    """What is told of the model."""
    program: "Program | None" = None
    """The network itself, where it is not built from its description."""
    save_inference_file: bool = True
    """Whether the script that other software calls is among the files."""
    optimizer_state: Mapping[str, Any] | None = None
    """State of the optimiser of the last run, where it is to be kept."""
    report: bool = True
    """Whether the page and the pictures are among the files."""


def write_contents(contents: Contents, folder: Path) -> None:
    """Write all files into an empty folder, whose name is the package's.

    Raises
    ------
    OSError
        If one cannot be written.
    """
    model, name, row = contents.model, folder.name, find_adapter(contents.model.spec.model)
    files = model.package_files() if hasattr(model, "package_files") else {}
    weights = _write_network(model, contents.program, folder)
    written = dict(files)
    if contents.optimizer_state is not None:
        written[OPTIMIZER] = _pickled(contents.optimizer_state)
    # a class for several tasks has the script of its usual one; for some tasks no script is known
    known = bool(row.inference_function) and model.spec.task == row.task
    scripted = contents.save_inference_file and known
    if scripted:
        written[row.inference_function] = inference_script(row).encode()
    if contents.report:
        findings = contents.findings
        written[PAGE] = metrics_page(name, model.spec, model.history, findings).encode()
        written |= {f"{PICTURES}/{file}": picture for file, picture in findings.pictures.items()}
    emd = to_emd(
        model.spec,
        model_file=weights,
        history=model.history,
        facts=contents.findings.facts,
        inference_function=row.inference_function if scripted else None,
        files=tuple(files),
        optimizer=OPTIMIZER if contents.optimizer_state is not None else None,
    )
    written[f"{name}.emd"] = dump_emd(emd)
    for file, content in written.items():
        target = folder / relative_name(file, source=f"the {model.spec.model}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _write_network(model: Any, program: "Program | None", folder: Path) -> str:
    if program is None and not find_adapter(model.spec.model).trainable:
        program = model.program()
    if program is not None:
        name = f"{folder.name}.{program.kind}"
        (folder / name).write_bytes(program.content)
        return name
    from safetensors.torch import save

    name = f"{folder.name}.safetensors"
    # a memory format is no part of a weight: one layout on disk, whatever the training used
    tensors = {key: t.detach().cpu().contiguous().clone() for key, t in model.network.state_dict().items()}
    (folder / name).write_bytes(save(tensors, metadata={"format": "pt"}))
    return name


def _pickled(state: Mapping[str, Any]) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()

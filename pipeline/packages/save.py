"""Writing model packages: a folder with everything, and the same as one file."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasterloom.models.catalog import find_adapter
from rasterloom.models.errors import OutputError, OutputExistsError, SettingError
from rasterloom.pipeline.packages.archive import write_archive
from rasterloom.pipeline.packages.esri import inference_script
from rasterloom.pipeline.packages.manifest import dump_emd, to_emd
from rasterloom.pipeline.packages.metrics_page import metrics_page

if TYPE_CHECKING:
    from rasterloom.models.networks.programs import Program
    from rasterloom.models.ready import ReadyModel

PAGE = "model_metrics.html"
_ENDINGS = (".dlpk", ".emd")


def save_package(
    model: "ReadyModel",
    name_or_path: str | Path,
    *,
    working_dir: Path | None = None,
    overwrite: bool = False,
    compute_metrics: bool = True,
    save_inference_file: bool = True,
    program: "Program | None" = None,
) -> Path:
    """Write a model as the folder NAME and, beside it, the same files in NAME.dlpk.

    Both are made under temporary names and renamed when they are whole. Equal models give equal bytes.

    Parameters
    ----------
    model
        Any model with ``spec``, ``network``, ``history`` and ``package_facts``.
    name_or_path
        Path whose last part is NAME; an ending .dlpk or .emd is left off. A name alone goes to ``models``
        in ``working_dir``, or to the current folder without one.
    overwrite
        Replace a package of this name.
    compute_metrics
        Judge the model on its validation set, where it has data, and write the figures down.
    save_inference_file
        Add the script that other software calls.
    program
        The network itself, for a model that is not built from its description. None asks the model for it.

    Returns
    -------
    pathlib.Path
        The .dlpk file.

    Raises
    ------
    SettingError
        If no name is left.
    OutputExistsError
        If a package of this name exists, or ``overwrite`` meets a folder that is no package.
    OutputError
        If it cannot be written; nothing is left under the final name.
    """
    folder = _target(name_or_path, working_dir)
    _check_free(folder, overwrite=overwrite)
    facts = model.package_facts(compute_metrics=compute_metrics)
    with _scratch_beside(folder) as scratch:
        staged = scratch / folder.name
        staged.mkdir()
        weights = _write_network(model, program, staged)
        _write_description(model, staged, weights, facts=facts, save_inference_file=save_inference_file)
        archive = scratch / _archive_name(folder)
        write_archive(archive, {file.name: file for file in staged.iterdir()})
        if folder.exists():
            folder.rename(scratch / "replaced")
        staged.rename(folder)
        return archive.replace(folder.with_name(archive.name))


def _target(name_or_path: str | Path, working_dir: Path | None) -> Path:
    path = Path(name_or_path).expanduser()
    alone = len(path.parts) == 1 and path.suffix.lower() not in _ENDINGS
    if path.suffix.lower() in _ENDINGS:
        path = path.with_suffix("")
    if path.name in ("", ".."):
        raise SettingError(f"{str(name_or_path)!r} names no model: use 'models/buildings', say.")
    if alone and working_dir is not None:
        path = working_dir / "models" / path
    return path.absolute()


def _archive_name(folder: Path) -> str:
    return f"{folder.name}.dlpk"


def _check_free(folder: Path, *, overwrite: bool) -> None:
    archive = folder.with_name(_archive_name(folder))
    taken = [path for path in (archive, folder) if path.exists()]
    if taken and not overwrite:
        raise OutputExistsError(f"{taken[0]} exists: choose another name, or use overwrite=True.")
    ours = not folder.exists() or (folder / f"{folder.name}.emd").is_file()
    if not ours or archive.is_dir():
        raise OutputExistsError(
            f"{folder} exists and is no model's folder: it is left alone, choose another name."
        )


@contextmanager
def _scratch_beside(folder: Path) -> Iterator[Path]:
    """A hidden folder on the same disk, gone afterwards whatever happens."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent
        ) as name:
            yield Path(name)
    except OSError as error:
        if isinstance(error, OutputError | OutputExistsError):
            raise
        raise OutputError(
            f"the model could not be written as {folder}: {error}. The folder must be writable and have room "
            "for two copies of the weights."
        ) from error


def _write_description(
    model: "ReadyModel", folder: Path, weights: str, *, facts: Mapping[str, Any], save_inference_file: bool
) -> None:
    name, row = folder.name, find_adapter(model.spec.model)
    emd = to_emd(
        model.spec,
        model_file=weights,
        history=model.history,
        facts=facts,
        inference_function=row.inference_function if save_inference_file else None,
    )
    (folder / f"{name}.emd").write_bytes(dump_emd(emd))
    (folder / PAGE).write_text(metrics_page(name, model.spec, model.history, facts), encoding="utf-8")
    if save_inference_file:
        (folder / row.inference_function).write_text(inference_script(row), encoding="utf-8")


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

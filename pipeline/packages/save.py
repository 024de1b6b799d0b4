"""Writing model packages: a folder with everything, and the same as one file."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError, OutputExistsError, SettingError
from rasterloom.models.settings import FRAMEWORK
from rasterloom.pipeline.packages.archive import write_archive
from rasterloom.pipeline.packages.contents import Contents, write_contents
from rasterloom.pipeline.packages.findings import gather_findings
from rasterloom.pipeline.packages.registry import Registry

if TYPE_CHECKING:
    from rasterloom.models.networks.programs import Program
    from rasterloom.models.ready import ReadyModel

_ENDINGS = (".dlpk", ".emd")


def save_package(
    model: "ReadyModel",
    name_or_path: str | Path,
    *,
    working_dir: Path | None = None,
    overwrite: bool = False,
    compute_metrics: bool = True,
    save_inference_file: bool = True,
    save_optimizer: bool = False,
    framework: str = FRAMEWORK,
    publish: bool = False,
    registry: str | Path | Place | None = None,
    report: bool = True,
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
        Replace a package of this name, also in the registry.
    compute_metrics
        Judge the model on its validation set, where it has data, and write figures and pictures down.
    save_inference_file
        Add the script that other software calls.
    save_optimizer
        Add the optimiser's state of the last run.
    framework
        What the network is written as: ``PyTorch``, its weights; ``torchscript`` or ``onnx``, a program.
    publish
        Also install the package in the registry, by its name.
    registry
        Folder or URL of the registry; None is the usual one.
    report
        Write the page about the model and the pictures.
    program
        The network itself, for a model that is not built from its description. None asks the model for it.

    Returns
    -------
    pathlib.Path
        The .dlpk file.

    Raises
    ------
    SettingError
        If no name is left, or the network cannot be written in this framework.
    OutputExistsError
        If a package of this name exists, or ``overwrite`` meets a folder that is no package.
    OutputError
        If it cannot be written; nothing is left under the final name.
    """
    folder = _target(name_or_path, working_dir)
    _check_free(folder, overwrite=overwrite)
    shelf = Registry.of(registry) if publish else None
    if shelf is not None:
        shelf.check_free(folder.name, overwrite=overwrite)
    written = model
    if framework != FRAMEWORK:
        from rasterloom.pipeline.packages.frameworks import as_program  # takes torch along

        written, program = as_program(model, framework)
    contents = Contents(
        written,
        findings=gather_findings(model, compute_metrics=compute_metrics, pictures=report),
        program=program,
        save_inference_file=save_inference_file,
        optimizer_state=getattr(model, "optimizer_state", None) if save_optimizer else None,
        report=report,
    )
    path = _write(contents, folder)
    if shelf is not None:
        shelf.publish(path, folder.name, overwrite=overwrite)
    return path


def _write(contents: Contents, folder: Path) -> Path:
    with _scratch_beside(folder) as scratch:
        staged = scratch / folder.name
        staged.mkdir()
        write_contents(contents, staged)
        archive = scratch / _archive_name(folder)
        files = (file for file in staged.rglob("*") if file.is_file())
        write_archive(archive, {file.relative_to(staged).as_posix(): file for file in files})
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

"""A package of any author as one file."""

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.packages.archive import write_archive
from rasterloom.pipeline.packages.contents import PAGE, PICTURES
from rasterloom.pipeline.packages.finding import Described
from rasterloom.pipeline.packages.findings import LOSSES, RESULTS
from rasterloom.pipeline.packages.manifest import SECTION, dump_emd, relative_name
from rasterloom.pipeline.packages.members import ArchiveMembers

_TOLD = (PAGE, f"{PICTURES}/{LOSSES}", f"{PICTURES}/{RESULTS}")
_SHIPPED = "[[]functions[]]*"
"""Scripts that come with other software and are in no package."""


def pack(described: Described, folder: Path, name: str) -> Path | bytes:
    """The package as a ``.dlpk``: as it is where it is one, else written to ``NAME.dlpk`` in ``folder``.

    Of an ``.emd`` file only the files are taken that it names, and those that tell of the model.

    Raises
    ------
    PackageError
        If a file is missing that the ``.emd`` names, or is not inside the package.
    """
    if isinstance(described.members, ArchiveMembers):
        return described.members.archive
    members: dict[str, Path | bytes] = {f"{name}.emd": dump_emd(described.emd)}
    for member in _named(described.emd, described.source):
        members[member] = described.members.find(member)
    for member in _TOLD:
        try:
            members[member] = described.members.find(member)
        except PackageError:
            continue  # it is not needed to use the model
    path = folder / f"{name}.dlpk"
    write_archive(path, members)
    return path


def _named(emd: Mapping[str, Any], source: str) -> list[str]:
    section = emd.get(SECTION)
    ours = section if isinstance(section, Mapping) else {}
    names = [
        emd.get("ModelFile"),
        emd.get("InferenceFunction"),
        emd.get("ModelConfigurationFile"),
        ours.get("Optimizer"),
        *ours.get("Files", ()),
    ]
    if names[0] is None:
        raise PackageError(f"{source} is no whole package: its .emd names no ModelFile.")
    kept = {n for n in names if n and not fnmatch.fnmatch(str(n).lower(), _SHIPPED)}
    return sorted({relative_name(n, source=source) for n in kept})

"""What the calls of all inference tools have in common: their sources, and the names of their results."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rasterloom.models.errors import MissingInputError, SettingError
from rasterloom.pipeline.inference.work import RunSettings
from rasterloom.pipeline.rasters.folders import rasters_in
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster

HOSTING = frozenset({"tiles_only"})
"""The reference's switches for its own hosting, which have no meaning here."""


def refuse_foreign(tool: str, gis: object, kwargs: Mapping[str, Any]) -> None:
    """Refuse what a tool has no use for. Raises SettingError."""
    if gis is not None:
        raise SettingError("gis must be None: there is no portal here; pass client= to say where to work.")
    unknown = sorted(set(kwargs) - HOSTING)
    if unknown:
        raise SettingError(f"{tool} has no argument {unknown[0]!r}.")


def for_each_item(
    separate: bool,
    source: Any,
    output: Any,
    ending: str,
    settings: RunSettings,
    run: Callable[[Raster, str, RunSettings], str],
    *,
    argument: str = "output_name",
) -> Any:
    """Run a tool over a source as one raster, or over each of its rasters by itself.

    Parameters
    ----------
    separate
        Whether each file of a folder or list is a raster of its own; ``output`` is then a folder.
    source
        As the caller gave it.
    output
        Name of the result, or None to derive it from the source's.
    ending
        What is added to the name of a raster for that of its result, such as "_classified.tif".
    run
        Does the work on one raster; says where its result stands.
    argument
        What the tool calls ``output``.

    Returns
    -------
    str, or list of str where each raster is by itself
    """
    if not separate or isinstance(source, Raster) or hasattr(source, "dims"):
        return run(describe(source), output_path(source, output, ending, argument), settings)
    items = _items(source, Path(ending).stem if output is None else None)
    # an item that an earlier call has finished counts as done
    settings = settings if settings.overwrite else replace(settings, retry_failed=True)
    folder = str(output) if output is not None else str(Path(items[0]).parent)
    return [run(describe(item), f"{folder}/{Path(item).stem}{ending}", settings) for item in items]


def output_path(source: Any, output: Any, ending: str, argument: str = "output_name") -> str:
    """Name of the result: as it is given, or the source's own with an ending. Raises SettingError."""
    if output is not None:
        return str(output)
    if isinstance(source, str | Path) and "://" not in str(source) and not str(source).startswith("/vsi"):
        path = Path(source)
        return str(path.with_name(f"{path.name if path.is_dir() else path.stem}{ending}"))
    raise SettingError(
        f"{argument} is missing: only a file or a folder has a name and a place to derive one from."
    )


def _items(source: Any, result: str | None) -> list[Any]:
    """The rasters of a folder or list; of a folder without results of an earlier call that stand in it."""
    if isinstance(source, str | Path):
        found = rasters_in(Path(source)) if Path(source).is_dir() else [source]
        return [item for item in found if not (result and Path(item).stem.endswith(result))]
    items = list(source)
    if not items or not all(isinstance(item, str | Path) for item in items):
        raise MissingInputError(
            "process_all_raster_items=True needs a folder or a list of paths or URLs, with one raster at "
            "least: its outputs are named after them."
        )
    return items

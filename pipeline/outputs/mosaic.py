"""Join a grid of COGs: a virtual raster over them, and a STAC collection that describes each."""

import json
import re

from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.outputs.parts import CogPlan, sidecar
from rasterloom.pipeline.outputs.stac import collection, item
from rasterloom.pipeline.outputs.virtual import virtual_raster
from rasterloom.pipeline.rasters.vrt import to_xml


def write_mosaic(plan: CogPlan, place: Place) -> None:
    """Describe the COGs of a finished plan, then write "<stem>.vrt", which opens them as one raster.

    Raises
    ------
    OutputError
        If something cannot be written.
    """
    try:
        _write_catalog(plan)
        _remove_strangers(plan)
        sources = ((f"{plan.stem}/{plan.name(part)}", plan.window(part)) for part in plan.batches())
        root = virtual_raster(sources, plan.what, overviews=plan.overviews or 0, relative=True)
        place.write(f"{plan.stem}.vrt", to_xml(root).encode())
    except OSError as error:
        raise OutputError(
            f"{place}/{plan.stem}.vrt could not be written: {error.strerror or error}. The COGs below it are "
            "kept; free some space, and the same call goes on from there."
        ) from error


def _write_catalog(plan: CogPlan) -> None:
    names = []
    for part in plan.batches():
        name = plan.name(part)
        names.append(f"{plan.stem}_{part.id}.json")
        described = item(
            plan.content(part), name, sidecar(name) if plan.place.exists(sidecar(name)) else None
        )
        plan.place.write(names[-1], json.dumps(described, indent=2).encode())
    described = collection(plan.what, plan.stem, names)
    plan.place.write("collection.json", json.dumps(described, indent=2).encode())


def _remove_strangers(plan: CogPlan) -> None:
    """Remove the parts of an older and larger raster of the same name."""
    ours = {f"{plan.stem}_{part.id}" for part in plan.batches()}
    named = re.compile(rf"({re.escape(plan.stem)}_\d+_\d+)\.(json|{re.escape(plan.suffix[1:])}(\.aux\.xml)?)")
    for name in plan.place.names():
        if (found := named.fullmatch(name)) and found[1] not in ours:
            plan.place.remove(name)

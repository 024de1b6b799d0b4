"""The notebooks: what is saved in them, and that they run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest


@dataclass(frozen=True)
class Journey:
    """A notebook and what it leaves behind."""

    name: str
    smaller: dict[str, int]
    """Parameters with which it is run here."""
    pictures: int
    """At least so many are saved in it."""
    says: str
    """Printed on the way."""
    makes: tuple[str, ...]
    """Files that are there afterwards."""

    @property
    def path(self) -> Path:
        return Path(__file__).parents[2] / "notebooks" / f"{self.name}.ipynb"

    @property
    def notebook(self) -> Any:
        return nbformat.read(self.path, as_version=4)


JOURNEYS = (
    Journey(
        "01_quick_start",
        {"size": 512, "epochs": 1, "steps": 4},
        pictures=5,
        says="mean IoU",
        makes=("quick_start/class_map.tif",),
    ),
    Journey(
        "02_bring_your_own_network",
        {"size": 640, "steps": 4},
        pictures=2,
        says="equal to the last byte",
        makes=("own_network/classes.tif", "own_network/probabilities.tif", "own_network/by_workers.tif"),
    ),
    Journey(
        "03_training_data",
        {"size": 1024},
        pictures=3,
        says="esri_model_definition.emd",
        makes=("training_data/pixels.zarr/zarr.json", "training_data/voc/map.txt"),
    ),
)
every_journey = pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.name)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters(notebook: Any) -> Any:
    (cell,) = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    return cell


def test_every_notebook_is_a_journey_here() -> None:
    assert {path.stem for path in JOURNEYS[0].path.parent.glob("*.ipynb")} == {j.name for j in JOURNEYS}


@every_journey
def test_it_is_saved_with_its_pictures_as_run_from_top_to_bottom(journey: Journey) -> None:
    cells = code_cells(journey.notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= journey.pictures
    assert journey.path.stat().st_size < 2_000_000


@every_journey
def test_what_is_saved_is_no_warning_and_names_no_folder_of_a_machine(journey: Journey) -> None:
    outputs = [output for cell in code_cells(journey.notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    saved = json.dumps(outputs)
    for folder in ("/home/", "/root/", "/tmp/", "/work/", "/Users/", "site-packages"):
        assert folder not in saved


@every_journey
@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::DeprecationWarning:zmq")
def test_it_runs_on_a_smaller_scene(journey: Journey, tmp_path: Path) -> None:
    smaller = journey.notebook
    cell = parameters(smaller)
    assert all(f"\n{name} = " in cell.source for name in journey.smaller)
    cell.source += "\n" + "\n".join(f"{name} = {value}" for name, value in journey.smaller.items())
    client = nbclient.NotebookClient(
        smaller, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    done = client.execute()
    printed = "".join(
        o.get("text", "") for c in code_cells(done) for o in c.outputs if o.get("name") == "stdout"
    )
    assert journey.says in printed
    assert all((tmp_path / name).is_file() for name in journey.makes)

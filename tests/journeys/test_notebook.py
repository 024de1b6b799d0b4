"""The quick-start notebook: what is saved in it, and that it runs."""

import json
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_quick_start.ipynb"
SMALLER = {"size": 512, "epochs": 1, "steps": 4}


@pytest.fixture(scope="module")
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters(notebook: Any) -> Any:
    (cell,) = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    return cell


def test_it_is_saved_with_its_pictures_as_run_from_top_to_bottom(notebook: Any) -> None:
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5
    assert NOTEBOOK.stat().st_size < 2_000_000


def test_what_is_saved_names_no_folder_of_a_machine(notebook: Any) -> None:
    saved = json.dumps([cell.outputs for cell in code_cells(notebook)])
    for folder in ("/home/", "/root/", "/tmp/", "/work/", "/Users/", "site-packages"):
        assert folder not in saved


@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::DeprecationWarning:zmq")
def test_it_runs_on_a_smaller_scene(notebook: Any, tmp_path: Path) -> None:
    smaller = nbformat.from_dict(json.loads(json.dumps(notebook)))
    cell = parameters(smaller)
    assert all(f"\n{name} = " in cell.source for name in SMALLER)
    cell.source += "\n" + "\n".join(f"{name} = {value}" for name, value in SMALLER.items())
    client = nbclient.NotebookClient(
        smaller, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    done = client.execute()
    printed = "".join(
        o.get("text", "") for c in code_cells(done) for o in c.outputs if o.get("name") == "stdout"
    )
    assert "mean IoU" in printed
    assert (tmp_path / "quick_start" / "class_map.tif").is_file()

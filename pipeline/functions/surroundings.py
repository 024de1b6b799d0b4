"""Where a script of another author runs: its folder on the path, its own modules, a stand-in for arcpy."""

import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_ONE_AT_A_TIME = threading.RLock()
"""``sys.path`` and ``sys.modules`` belong to the whole process."""

_ARCPY = "arcpy"


class Surroundings:
    """What a script finds around it while it runs, and what is put away when it does not.

    Modules that it loads from its own folder stay its own: two packages may both bring a ``model.py``.
    """

    def __init__(self, folder: Path, *, device: int) -> None:
        """Prepare a folder for a script.

        Parameters
        ----------
        folder
            Where the package has been unpacked.
        device
            GPU number, or -1 for the CPU: what ``arcpy.env`` tells.
        """
        self._folder = folder.resolve()
        self._path: list[str] = [str(folder)]
        self._modules: dict[str, ModuleType] = {}
        if importlib.util.find_spec(_ARCPY) is None:
            self._modules[_ARCPY] = _StandIn(device)

    def add_path(self, folder: Path) -> None:
        """Have the script find what lies in another folder of its package."""
        if str(folder) not in self._path:
            self._path.insert(0, str(folder))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run the body as the script's host; one script at a time in this process."""
        with _ONE_AT_A_TIME:
            path, hidden = list(sys.path), self._hide()
            known = set(sys.modules)
            sys.path[:0] = self._path
            sys.modules.update(self._modules)
            try:
                yield
            finally:
                self._keep_own(known)
                self._path = [entry for entry in sys.path if entry not in path]
                sys.path[:] = path
                sys.modules.update(hidden)

    def _hide(self) -> dict[str, ModuleType]:
        """Take away modules of others that are called as the script's own."""
        own = {name.partition(".")[0] for name in self._modules} | self._importable()
        hidden = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in own}
        for name in hidden:
            del sys.modules[name]
        return hidden

    def _importable(self) -> set[str]:
        folders = [Path(entry) for entry in self._path if Path(entry).is_relative_to(self._folder)]
        found = [item for folder in folders if folder.is_dir() for item in folder.iterdir()]
        return {
            item.stem
            for item in found
            if item.suffix == ".py" or (item.is_dir() and (item / "__init__.py").is_file())
        }

    def _keep_own(self, known: set[str]) -> None:
        for name in set(sys.modules) - known:
            if name in self._modules or self._is_own(sys.modules[name]):
                self._modules[name] = sys.modules.pop(name)

    def _is_own(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
        return file is not None and Path(file).resolve().is_relative_to(self._folder)


class _Environment:
    """What scripts look up in ``arcpy.env``; they may set it too."""

    def __init__(self, device: int) -> None:
        self.processorType = "CPU" if device < 0 else "GPU"
        self.gpuId = str(max(device, 0))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"arcpy.env.{name} is not here: only processorType and gpuId are.")


class _StandIn(ModuleType):
    """As much of arcpy as scripts of models need."""

    def __init__(self, device: int) -> None:
        super().__init__(_ARCPY, "A stand-in that knows env.processorType and env.gpuId.")
        self.env = _Environment(device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"arcpy.{name} is not here: only arcpy.env, with processorType and gpuId, stands in for it."
        )

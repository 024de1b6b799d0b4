"""Load a Python raster function and call it as its host does."""

import importlib.util
import itertools
import shutil
import sys
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasterloom.models.errors import PackageError, RasterloomError
from rasterloom.pipeline.functions.files import FunctionFiles
from rasterloom.pipeline.functions.surroundings import Surroundings

CPU = -1
"""The device number of no GPU."""

_numbers = itertools.count()


class Host:
    """An inference function that has been loaded and told its model.

    It keeps a folder of its own with the package's files until it is forgotten. Calls from several threads
    wait for each other.
    """

    def __init__(self, files: FunctionFiles, *, device: int = CPU) -> None:
        """Run the script of a package that is trusted.

        Parameters
        ----------
        files
            The package.
        device
            GPU number, or -1 for the CPU.

        Raises
        ------
        PackageError
            If the script cannot be loaded, lacks its class, or ends in an error; the message has its words.
        """
        self.files = files
        folder = Path(tempfile.mkdtemp(prefix="rasterloom-function-")).resolve()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.emd_path = files.unpack(folder)
        script = folder / files.script
        self._around = Surroundings(folder, device=device)
        self._around.add_path(script.parent)
        self._function = self._loaded(script)
        self.call_if_there("initialize", model=str(self.emd_path), device=device)
        self._check_licence()

    def has(self, method: str) -> bool:
        """Whether the function has a method of this name."""
        return callable(getattr(self._function, method, None))

    def call(self, method: str, *values: Any, **named: Any) -> Any:
        """Call a method.

        Raises
        ------
        PackageError
            If it is not there, or ends in an error.
        MemoryError
            If it runs out of memory.
        """
        if not self.has(method):
            raise PackageError(
                f"{self._name} has no method {method}: it is no Python raster function of this kind."
            )
        with self._around.entered():
            try:
                return getattr(self._function, method)(*values, **named)
            except (MemoryError, RasterloomError):
                raise
            except Exception as error:  # code of others can raise anything
                raise self._failed(method, error) from error

    def call_if_there(self, method: str, *values: Any, **named: Any) -> Any:
        """Call a method that a function may lack; None where it does. Errors as for :meth:`call`."""
        return self.call(method, *values, **named) if self.has(method) else None

    @property
    def _name(self) -> str:
        return f"{self.files.source}, {self.files.script}"

    def _loaded(self, script: Path) -> Any:
        name = f"_rasterloom_function_{next(_numbers)}_{script.stem}"
        spec = importlib.util.spec_from_file_location(name, script)
        assert spec is not None, "it ends in .py"
        assert spec.loader is not None, "it ends in .py"
        module = importlib.util.module_from_spec(spec)
        with self._around.entered():
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
                kind = getattr(module, self.files.class_name, None)
                if not isinstance(kind, type):
                    raise PackageError(
                        f"{self._name} holds no class {self.files.class_name}: the class of an inference "
                        "function is called as its file."
                    )
                return kind()
            except (MemoryError, RasterloomError):
                raise
            except Exception as error:  # code of others can raise anything
                raise self._failed("", error) from error

    def _failed(self, method: str, error: Exception) -> PackageError:
        done = f"{method} ended with" if method else "it cannot be loaded:"
        said = " ".join(str(error).split()) or "no words"
        more = ""
        if isinstance(error, ImportError):
            missing = str(error.name or "")
            more = (
                " Of arcpy only env.processorType and env.gpuId are here."
                if missing.partition(".")[0] == "arcpy"
                else " Install what it imports where it runs, on the workers too."
            )
        return PackageError(f"{self._name}: {done} {type(error).__name__}: {said}.{more}")

    def _check_licence(self) -> None:
        answer = self.call_if_there("isLicensed", productName="rasterloom")
        if isinstance(answer, Mapping) and not answer.get("okToRun", True):
            said = answer.get("message") or "it does not say why"
            raise PackageError(f"{self._name} refuses to run here: {said}.")

"""The demo's folder: what is made where, and what may be replaced."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rasterloom.models.errors import OutputError, OutputExistsError

_MARK = ".rasterloom-demo.json"


@dataclass(frozen=True)
class DemoFolder:
    """Names of everything that the demo writes."""

    path: Path

    @property
    def scene(self) -> Path:
        return self.path / "scene"

    @property
    def chips(self) -> Path:
        return self.path / "chips.zarr"

    @property
    def model(self) -> Path:
        """The package's folder; the package as one file stands beside it."""
        return self.path / "model"

    @property
    def package(self) -> Path:
        return self.path / "model.dlpk"

    @property
    def class_map(self) -> Path:
        return self.path / "class_map.tif"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Everything that a run writes, the scene included."""
        return (self.scene, self.chips, self.model, self.package, self.class_map, self.metrics, self.report)

    def claim(self, *, overwrite: bool) -> None:
        """Make the folder the demo's own; results of earlier demos in it may be replaced afterwards.

        Raises
        ------
        OutputExistsError
            If something stands under the demo's names that no demo made, or ``overwrite`` is False and
            something stands there at all.
        OutputError
            If the folder cannot be written.
        """
        standing = [path for path in self.outputs if path.exists()]
        if standing and not (self._marked and overwrite):
            whose = "an earlier demo" if self._marked else "something else than a demo"
            raise OutputExistsError(
                f"{standing[0]} exists and was made by {whose}: choose another folder"
                + (", or pass overwrite=True." if self._marked else ".")
            )
        if not self._marked:
            self._write({})

    def has_scene(self, **what: Any) -> bool:
        """Whether the generated scene of these properties is there, finished, made by this version."""
        return self.scene.is_dir() and self._read().get("scene") == _recorded(what)

    def forget_scene(self) -> None:
        """From now on the scene is not finished."""
        self._write({})

    def record_scene(self, **what: Any) -> None:
        """From now on the scene of these properties is finished."""
        self._write({"scene": _recorded(what)})

    @property
    def _marked(self) -> bool:
        return (self.path / _MARK).is_file()

    def _read(self) -> dict[str, Any]:
        try:
            held = json.loads((self.path / _MARK).read_text("utf-8"))
        except (OSError, ValueError):  # cut off while it was written: nothing is known
            return {}
        return held if isinstance(held, dict) else {}

    def _write(self, facts: dict[str, Any]) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / _MARK).write_text(json.dumps({"made by": "rasterloom demo", **facts}), "utf-8")
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be written to: {error.strerror or error}. Choose a folder that can."
            ) from error


def _recorded(what: dict[str, Any]) -> dict[str, Any]:
    return {**what, "version": version("rasterloom")}

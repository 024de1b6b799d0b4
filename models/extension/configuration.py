"""A user's model class with its source, so that a package can carry it."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.abc import InspectLoader
from importlib.util import module_from_spec, spec_from_loader
from types import CodeType
from typing import Any, Self, final

from rasterloom.models.errors import PackageError, SettingError

HOOKS = (
    "get_model",
    "on_batch_begin",
    "transform_input",
    "transform_input_multispectral",
    "loss",
    "post_process",
)
"""Methods that a model class must have."""
SOURCE_FILE = "ModelConfiguration.py"
"""What the source is called in a package."""
MOST_SOURCE_BYTES = 2**20


@final
@dataclass(frozen=True, eq=False)
class Configuration:
    """An instance of a model class, and the module it is written in."""

    hooks: Any = field(repr=False)
    """The instance; it has all of :data:`HOOKS`."""
    class_name: str
    source: str = field(repr=False)
    """Text of the whole module."""

    @classmethod
    def of(cls, model_conf: Any) -> Self:
        """A class as the caller has it.

        Raises
        ------
        SettingError
            If it is no class, lacks a method, or is not written in a module that can be put into a package.
        """
        _check_class(model_conf)
        return cls(model_conf(), model_conf.__name__, _source_of(model_conf))

    @classmethod
    def from_source(cls, source: str, class_name: str, origin: str) -> Self:
        """Run the text of a module and take the class from it. The caller has been asked for trust.

        Parameters
        ----------
        origin
            Where the text is from, for messages.

        Raises
        ------
        PackageError
            If the text is no Python, needs a package that is not here, or holds no such class.
        """
        model_conf: Any = getattr(_module_of(source, origin), class_name, None)
        try:
            _check_class(model_conf)
        except SettingError as error:
            raise PackageError(f"{origin} holds no model class {class_name}: {error}") from error
        return cls(model_conf(), class_name, source)

    def __reduce__(self) -> tuple[Any, ...]:
        # another process may not have the module: it gets the text
        return Configuration.from_source, (self.source, self.class_name, SOURCE_FILE)


def backbone_name(backbone: str | Callable[..., Any] | None) -> str | None:
    """A backbone as text: its own name where it is one, and ``function:MODULE:NAME`` of a function.

    Raises
    ------
    SettingError
        If the function cannot be found again by its name.
    """
    if backbone is None or isinstance(backbone, str):
        return backbone
    module, name = getattr(backbone, "__module__", ""), getattr(backbone, "__qualname__", "")
    if _imported(module, name) is not backbone or module == "__main__":
        raise SettingError(
            f"backbone={backbone!r} cannot be saved: give a name, or a function that an installed package "
            "holds, such as torchvision.models.resnet18."
        )
    return f"function:{module}:{name}"


def read_backbone(name: str | None) -> Any:
    """What :func:`backbone_name` named. The caller has been asked for trust.

    Raises
    ------
    PackageError
        If a function is not here.
    """
    if name is None or not name.startswith("function:"):
        return name
    _, module, function = name.split(":")
    found = _imported(module, function)
    if found is None:
        raise PackageError(
            f"the backbone {module}.{function} is not here: install the package it belongs to."
        )
    return found


def _imported(module: str, name: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        return None
    return found


def _check_class(model_conf: Any) -> None:
    if not inspect.isclass(model_conf):
        raise SettingError(
            f"model_conf={model_conf!r} is no class: give the class itself, such as model_conf=MyModel."
        )
    lacking = [name for name in HOOKS if not callable(getattr(model_conf, name, None))]
    if lacking:
        raise SettingError(
            f"{model_conf.__name__} lacks {', '.join(lacking)}: a model class has the methods "
            f"{', '.join(HOOKS)}."
        )


def _source_of(model_conf: type) -> str:
    module = sys.modules.get(model_conf.__module__)
    advice = (
        f"put {model_conf.__name__} into a module of its own, such as my_model.py, and import it from there: "
        "a package carries that file."
    )
    if module is None or model_conf.__module__ == "__main__":
        raise SettingError(f"{model_conf.__name__} was written in a notebook, console or script: {advice}")
    if getattr(module, model_conf.__qualname__, None) is not model_conf:
        raise SettingError(f"{model_conf.__qualname__} is no class at the top of its module: {advice}")
    if isinstance(module.__loader__, _Text):  # it came out of a package
        return module.__loader__.get_source(module.__name__)
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError) as error:
        raise SettingError(
            f"the source of {model_conf.__name__} cannot be had ({error}): {advice}"
        ) from error
    if len(source.encode()) > MOST_SOURCE_BYTES:
        raise SettingError(f"the module of {model_conf.__name__} is larger than 1 MiB: {advice}")
    return source


class _Text(InspectLoader):
    """Gives Python's import system a module's text, tracebacks with its lines included."""

    def __init__(self, source: str) -> None:
        self._source = source

    def get_source(self, fullname: str) -> str:
        return self._source

    def get_code(self, fullname: str) -> CodeType:
        # no name in pointed brackets: tracebacks would not ask for its lines
        code: CodeType = self.source_to_code(self._source, f"{fullname}/{SOURCE_FILE}")
        return code


def _module_of(source: str, origin: str) -> Any:
    """The module that the text makes; the same text makes one module."""
    name = f"rasterloom_configuration_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_loader(name, _Text(source), origin=origin)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        del sys.modules[name]
        raise PackageError(f"{origin} cannot be run here: {error}.") from error
    except BaseException:
        del sys.modules[name]
        raise
    return module

"""Directives that take their text from the program itself, so that the pages cannot fall behind it."""

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class PublicNames(SphinxDirective):
    """``.. public-names:: rasterloom.models`` documents every name that the package lists."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        package = importlib.import_module(self.arguments[0])
        lines = []
        for name in package._PUBLIC:
            kind = directive_for(getattr(package, name))
            members = ["   :no-members:"] if kind == "exception" else []  # they are Python's own
            lines += [f".. auto{kind}:: {package.__name__}.{name}", *members, ""]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source="public names"), self.content_offset, container)
        return container.children


def directive_for(thing: object) -> str:
    if inspect.isclass(thing):
        return "exception" if issubclass(thing, BaseException) else "class"
    return "function" if callable(thing) else "data"


class CommandHelp(SphinxDirective):
    """``.. command-help:: train`` shows what ``rasterloom train --help`` prints."""

    optional_arguments = 1
    final_argument_whitespace = True
    plain: ClassVar[dict[str, str]] = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "96"}

    def run(self) -> list[nodes.Node]:
        words = [*(self.arguments[0].split() if self.arguments else []), "--help"]
        script = Path(sys.executable).with_name("rasterloom")
        done = subprocess.run(
            [script, *words], capture_output=True, text=True, env=os.environ | self.plain, timeout=60
        )
        if done.returncode:
            raise self.error(f"rasterloom {' '.join(words)}: {done.stderr.strip()}")
        printed = "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())
        text = f"$ rasterloom {' '.join(words)}\n\n{printed}"
        return [nodes.literal_block(text, text, language="text")]


class PlainFields:
    """Keeps napoleon away from the docstrings of fields: it takes what stands before a colon for a type."""

    kept: ClassVar[dict[str, list[str]]] = {}

    @classmethod
    def hide(cls, app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
        if what in {"attribute", "data", "property"}:
            cls.kept[name] = lines[:]
            lines.clear()

    @classmethod
    def show(cls, app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
        lines.extend(cls.kept.pop(name, []))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", PlainFields.hide, priority=400)  # napoleon's is 500
    app.connect("autodoc-process-docstring", PlainFields.show, priority=600)
    app.add_directive("public-names", PublicNames)
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}

"""``rasterloom models``: the models that are installed in a registry."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from rasterloom.pipeline.cli.options import Overwrite

models = typer.Typer(
    help="Install models in a registry, list them, ask about them, take them away.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    epilog="\n\n".join(
        (
            "[bold]Examples[/bold]",
            "[cyan]rasterloom models install model.dlpk --name buildings[/cyan]",
            "[cyan]rasterloom models list --registry s3://bucket/models[/cyan]",
            "[cyan]rasterloom classify-pixels scene.tif buildings -o classes.tif[/cyan]",
        )
    ),
)

RegistryOption = Annotated[
    str | None,
    typer.Option(
        "--registry",
        metavar="FOLDER",
        envvar="RASTERLOOM_REGISTRY",
        help="Folder or address of the registry.",
        show_default="in the user's data folder",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@models.command("list")
def list_installed(registry: RegistryOption = None, as_json: AsJson = False) -> None:
    """Name the installed models."""
    from rasterloom.models.errors import RasterloomError
    from rasterloom.pipeline.packages.model import list_models
    from rasterloom.pipeline.packages.registry import Registry

    rows = []
    for model in list_models(registry=registry):
        try:
            told = model.query_info()
        except RasterloomError as error:  # the others are listed all the same
            told = {"name": model.name, "model": f"cannot be read: {error}"}
        rows.append(told)
    if as_json:
        typer.echo(json.dumps([{**row} for row in rows], indent=2))
    elif not rows:
        typer.echo(f"no model is installed in {Registry.of(registry)}")
    else:
        _print(("name", "model", "bands", "classes", "tile size"), [_line(row) for row in rows])


@models.command()
def install(
    package: Annotated[
        str, typer.Argument(metavar="PACKAGE", help="A .dlpk or .emd file, folder or address.")
    ],
    name: Annotated[
        str | None, typer.Option(help="What it will be called.", show_default="as the file")
    ] = None,
    registry: RegistryOption = None,
    overwrite: Overwrite = False,
) -> None:
    """Put a model into the registry."""
    from rasterloom.pipeline.packages.model import Model

    typer.echo(Model(package).install(name=name, registry=registry, overwrite=overwrite))


@models.command()
def info(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of an installed model, or a package.")],
    registry: RegistryOption = None,
    as_json: AsJson = False,
) -> None:
    """Say what a model is and takes."""
    from rasterloom.pipeline.packages.model import Model
    from rasterloom.pipeline.packages.registry import Registry

    shelf = Registry.of(registry)
    found = Model.installed(model, shelf) if shelf.holds(model) else Model(model)
    told = found.query_info()
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    _print(None, [(key.replace("_", " "), _told(value)) for key, value in told.items() if value is not None])


@models.command()
def uninstall(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of an installed model.")],
    registry: RegistryOption = None,
) -> None:
    """Take a model out of the registry."""
    from rasterloom.pipeline.packages.registry import Registry

    typer.echo(Registry.of(registry).remove(model))


def _line(told: Mapping[str, Any]) -> tuple[str, ...]:
    classes = ", ".join(str(row["name"]) for row in told.get("classes") or ())
    tile = told.get("tile_size")
    return (
        told["name"],
        str(told["model"] or told.get("model_type") or "of other software"),
        ", ".join(told.get("bands") or ()),
        classes,
        "" if tile is None else f"{tile} px",
    )


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        lines = any(isinstance(item, Mapping) for item in value.values())
        return ("\n" if lines else ", ").join(f"{key}={_told(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_class(item) for item in value)
    return str(value)


def _class(item: Any) -> str:
    return f"{item['value']} {item['name']}" if isinstance(item, Mapping) and "name" in item else str(item)


def _print(header: tuple[str, ...] | None, rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*(header or ("", "")), show_header=header is not None, box=None, title_justify="left")
    for first, *rest in rows:
        table.add_row(f"[bold]{escape(first)}[/bold]", *(escape(cell) for cell in rest))
    Console().print(table)

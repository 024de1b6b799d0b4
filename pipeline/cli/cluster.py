"""``rasterloom cluster``: start, look at and end clusters from the command line."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rasterloom.pipeline.cli.cluster_certs import certs

if TYPE_CHECKING:
    from rasterloom.cluster.daemon_state import NodeState

cluster = typer.Typer(
    help="Start a scheduler and workers, look at them, end them, and make the keys that protect them.",
    rich_markup_mode="rich",
    no_args_is_help=True,
    epilog="\n\n".join(
        (
            "[bold]Examples[/bold]",
            "[cyan]rasterloom cluster start --n-workers 4[/cyan]",
            "[cyan]rasterloom classify-pixels scene.tif model.dlpk --cluster tcp://127.0.0.1:8786[/cyan]",
            "[cyan]rasterloom cluster status[/cyan]",
            "[cyan]rasterloom cluster stop[/cyan]",
            "[cyan]rasterloom cluster start --role worker --join tls://10.0.0.5:8786 --tls keys/node1[/cyan]",
        )
    ),
)


class Role(StrEnum):
    """What runs on this machine."""

    ALL = "all"
    SCHEDULER = "scheduler"
    WORKER = "worker"


WHAT = "What runs here"
ADDRESS = "Addresses"
SAFETY = "Safety"
"""Panels of the help."""

Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="What it is called on this machine, for status and stop.",
        show_default="default",
    ),
]


@cluster.command()
def start(
    name: Name = None,
    role: Annotated[
        Role,
        typer.Option(help="A scheduler and its workers, or one of them.", rich_help_panel=WHAT),
    ] = Role.ALL,
    n_workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Worker processes.",
            show_default="one per GPU, or per core",
            rich_help_panel=WHAT,
        ),
    ] = None,
    threads_per_worker: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Batches that a worker computes at the same time.",
            show_default="1, or 3 on a GPU",
            rich_help_panel=WHAT,
        ),
    ] = None,
    memory_limit: Annotated[
        str,
        typer.Option(help='Memory at which a worker is restarted, as "8 GB".', rich_help_panel=WHAT),
    ] = "auto",
    gpus: Annotated[
        str,
        typer.Option(
            help="GPUs that get a worker each: auto, all, none, a number, or indices and UUIDs as 0,2.",
            rich_help_panel=WHAT,
        ),
    ] = "auto",
    join: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Scheduler that the workers of --role worker belong to, as tls://10.0.0.5:8786.",
            rich_help_panel=ADDRESS,
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address of this machine to listen on.",
            show_default="127.0.0.1; of a worker, the one that reaches its scheduler",
            rich_help_panel=ADDRESS,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Port of the scheduler; 0 takes a free one.", rich_help_panel=ADDRESS
        ),
    ] = 8786,
    dashboard_port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            help="Port of the dashboard, on 127.0.0.1 always; another where it is taken.",
            rich_help_panel=ADDRESS,
        ),
    ] = 8787,
    worker_ports: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST:LAST",
            help="Ports of the workers, two for each, as 9000:9015: for firewalls.",
            show_default="free ones",
            rich_help_panel=ADDRESS,
        ),
    ] = None,
    tls: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            envvar="RASTERLOOM_TLS",
            help="Folder with ca.pem, cert.pem and key.pem, as 'rasterloom cluster certs' makes it.",
            rich_help_panel=SAFETY,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Listen on --host without TLS: whoever reaches the port can run code here.",
            rich_help_panel=SAFETY,
        ),
    ] = False,
    foreground: Annotated[
        bool,
        typer.Option(
            "--foreground", help="Stay here until SIGTERM or Ctrl-C: for systemd, containers and SLURM."
        ),
    ] = False,
    grace: Annotated[
        float,
        typer.Option(min=0, help="Seconds that batches in flight may take when the workers are ended."),
    ] = 25.0,
) -> None:
    """Start a scheduler, workers, or both, and say how to use them."""
    from rasterloom.cluster.daemon import start_node
    from rasterloom.cluster.daemon_node import serve
    from rasterloom.cluster.daemon_plan import NodeSettings

    named = name or (None if foreground else "default")
    settings = NodeSettings(
        role=role.value,
        name=named,
        host=host,
        port=port,
        dashboard_port=dashboard_port,
        join=join,
        n_workers=n_workers,
        threads_per_worker=threads_per_worker,
        memory_limit=memory_limit,
        gpus=gpus,
        worker_ports=worker_ports,
        tls=None if tls is None else str(tls.expanduser().absolute()),
        insecure=insecure,
        grace=grace,
    )
    if insecure and tls is None:
        typer.echo(
            "note: --insecure: whoever reaches the ports of this cluster can run programs on this machine, "
            "as the user that started it. 'rasterloom cluster certs' makes keys, and --tls FOLDER uses them.",
            err=True,
        )
    if foreground:
        serve(settings, on_ready=_tell_ready)
    else:
        _tell_ready(start_node(settings))


@cluster.command()
def status(
    name: Annotated[
        str | None, typer.Option("--name", help="Only this one.", metavar="NAME", show_default="all")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what runs on this machine, and what its schedulers know."""
    from rasterloom.cluster.daemon import look_at_nodes

    nodes = look_at_nodes(name)
    if as_json:
        typer.echo(json.dumps(nodes, indent=2))
    elif not nodes:
        typer.echo("no cluster runs here: 'rasterloom cluster start' starts one")
    else:
        _print([_rows(node) for node in nodes])


@cluster.command()
def stop(name: Name = None) -> None:
    """End what 'start' started: batches in flight are finished first."""
    from rasterloom.cluster.daemon import stop_node

    state = stop_node(name or "default")
    typer.echo(f"{state.name} has ended")


cluster.command("certs")(certs)


def _tell_ready(state: "NodeState") -> None:
    typer.echo(f"scheduler  {state.address}")
    if state.dashboard:
        typer.echo(f"dashboard  {state.dashboard}  (on this machine only)")
    if state.workers:
        typer.echo(f"workers    {state.workers}")
    if state.role == "worker":
        return
    keys = f', security="{state.tls}"' if state.tls else ""
    typer.echo(f'Python     connect("{state.address}"{keys})')
    typer.echo(f"commands   --cluster {state.address}")
    if state.tls:
        typer.echo(f"           with RASTERLOOM_TLS={state.tls} in the environment")
    if state.log:
        typer.echo(f"log        {state.log}")
        typer.echo(f"end it     rasterloom cluster stop --name {state.name}")


def _rows(node: dict[str, Any]) -> list[tuple[str, str]]:
    workers = node["workers"]
    rows = [
        ("", f"{node['name']} ({node['role']}, {node['state']})"),
        ("scheduler", node["address"]),
        ("dashboard", node["dashboard"]),
        ("workers", "" if workers is None else _told_workers(node)),
        ("keys", node["tls"] or "none: open to every user of this machine"),
        ("log", node["log"]),
    ]
    return [(head, said) for head, said in rows if said]


def _told_workers(node: dict[str, Any]) -> str:
    workers = node["workers"]
    gpus = sum(worker["gpus"] for worker in workers)
    memory, limit = (sum(worker[key] for worker in workers) for key in ("memory", "memory_limit"))
    told = f"{len(workers)}, {sum(worker['threads'] for worker in workers)} threads"
    told += f", {gpus} GPUs" if gpus else ""
    return f"{told}, {memory / 1e9:.1f} of {limit / 1e9:.1f} GB in use"


def _print(nodes: list[list[tuple[str, str]]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    for rows in nodes:
        table = Table(show_header=False, box=None)
        for head, said in rows:
            table.add_row(f"[bold]{head}[/bold]", escape(said))
        Console().print(table)

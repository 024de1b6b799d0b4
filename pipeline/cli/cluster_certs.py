"""``rasterloom cluster certs``: make the keys with which the machines of a cluster know each other."""

from pathlib import Path
from typing import Annotated

import typer

NODES = ("scheduler", "worker", "client")
"""Whose keys are made where none are named: one folder for each role, shared by all workers."""

_NEXT = """
Copy each machine's folder to it, and only that, with its modes (scp -p): others may not read key.pem.
The authority stays here: whoever has {authority}/ca-key.pem can let machines in.

  on the scheduler   rasterloom cluster start --role scheduler --host ADDRESS --tls FOLDER
  on each worker     rasterloom cluster start --role worker --join tls://ADDRESS:8786 --tls FOLDER
  in Python          connect("tls://ADDRESS:8786", security="FOLDER")
  or everywhere      RASTERLOOM_TLS=FOLDER in the environment, and tls:// in the address"""


def certs(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Where the keys of the cluster are kept: FOLDER/NODE for each."
        ),
    ],
    nodes: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NODE[=HOST,HOST...]",
            help="Machines, and the names and IP addresses that their certificates carry. "
            "Dask does not compare them: they are for other programs and for you.",
            show_default=", ".join(NODES),
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="Name of the cluster, in the certificate of a new authority.")
    ] = "rasterloom",
    days: Annotated[
        int, typer.Option("--days", min=1, help="Days that the machines' certificates are valid.")
    ] = 397,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace the keys of the named machines, as when they expire. The authority stays.",
        ),
    ] = False,
) -> None:
    """Make an authority, where there is none, and keys for machines.

    A scheduler that is started with keys talks only to workers and clients with a certificate of the same
    authority, and all that is sent is encrypted.
    """
    from rasterloom.cluster.certificates import AUTHORITY, check_node, make_authority, make_node

    wanted = dict(_parsed(text) for text in nodes or NODES)
    for node, hosts in wanted.items():  # all of them before anything is made
        check_node(folder, node, hosts, overwrite=overwrite)
    authority = folder / AUTHORITY
    if not authority.exists():
        typer.echo(make_authority(folder, name=name))
    for node, hosts in wanted.items():
        typer.echo(make_node(folder, node, hosts=hosts, days=days, overwrite=overwrite))
    typer.echo(_NEXT.format(authority=authority), err=True)


def _parsed(text: str) -> tuple[str, list[str]]:
    node, _, hosts = text.partition("=")
    return node, [host.strip() for host in hosts.split(",") if host.strip()]

"""Starts a cluster on machines that are reached by SSH.

distributed has an SSHCluster, which writes Dask's whole configuration, whatever tokens are in it, into the
command line of every machine, gives all machines the same settings, and kills what it has started. Here the
command line holds nothing, every machine has its own settings and keys, and what was started is closed.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from distributed import Security

from rasterloom.cluster.gpu import GpuChoice
from rasterloom.cluster.targets import Opened, load_extra
from rasterloom.cluster.targets_hosts import Hosts, Login, Machine, read_hosts
from rasterloom.cluster.targets_thread import LoopThread
from rasterloom.models.errors import ClusterError, SettingError

_LOGIN_SECONDS = 30.0

_ALIVE_SECONDS, _ALIVE_TRIES = 30, 20
"""A connection is given up after ten minutes without an answer: as long as a run waits for workers."""

_CLOSE_SECONDS = 30.0

_KEPT_CHARACTERS = 4_000
"""What is kept of the end of what a machine writes."""


def open_cluster(
    file: str,
    *,
    n_workers: int | None,
    threads_per_worker: int | None,
    gpus: GpuChoice,
    security: bool | str | Path | Security | None,
    timeout: float,
) -> Opened:
    """Start the scheduler and the workers that a file lists; see ``rasterloom.cluster.targets_hosts``.

    Their number is the file's: ``n_workers`` changes nothing here.

    Raises
    ------
    MissingExtraError
        If asyncssh is not installed.
    ClusterError
        If a machine is not who it should be, lets us not in, or does not start its part.
    """
    load_extra("asyncssh", "ssh")
    hosts = read_hosts(file)
    keys, mine = _keys(hosts, security, file)
    changes: dict[str, Any] = {} if threads_per_worker is None else {"threads": threads_per_worker}
    if gpus != "auto":
        changes["gpus"] = gpus
    thread = LoopThread("ssh-cluster")
    parts = _Parts()
    try:
        address = thread.run(_start(parts, hosts, keys, changes, timeout), timeout + _CLOSE_SECONDS)
    except BaseException:
        _close(thread, parts)
        raise
    return Opened(
        address=address,
        security=mine,
        where=f"ssh {Path(file).name}, {len(hosts.workers)} machines",
        close=lambda: _close(thread, parts),
        scale=None,
    )


def _keys(
    hosts: Hosts, security: bool | str | Path | Security | None, file: str
) -> tuple[dict[str, str] | None, Security | None]:
    """Return what the machines are sent, and what this process uses."""
    if hosts.with_tls:
        from rasterloom.cluster.tls import read_security

        if security is False:
            raise SettingError(f"security=False, and the machines of {file} have TLS keys: leave it out.")
        return None, read_security(security, "tls://")
    if security is False:
        return None, None
    if security is not None and security is not True:
        raise SettingError(
            f"security is given, and the machines of {file} have no keys to answer with: name the folder of "
            'each with tls = "..." there, or leave security out for keys that are made for this cluster.'
        )
    made = Security.temporary()
    return {"ca": made.tls_ca_file, "cert": made.tls_worker_cert, "key": made.tls_worker_key}, made


class _Part:
    """A process on another machine, which ends with its standard input."""

    def __init__(self, login: Login, connection: Any, process: Any) -> None:
        self._login, self._connection, self._process = login, connection, process
        self._tail = ""
        # Unread output would stop the process once its window is full.
        self._reading = asyncio.ensure_future(self._read())

    async def ask(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Send the settings and wait for the answer."""
        self._process.stdin.write(json.dumps(settings) + "\n")
        line = await self._process.stdout.readline()
        if line.startswith("{"):
            answer: dict[str, Any] = json.loads(line)
            return answer
        await asyncio.wait([self._reading], timeout=1.0)
        raise ClusterError(
            f"{self._login.host} did not start the {settings['role']} with '{self._login.command}'. What it "
            f"said: {self._tail.strip() or 'nothing'}. Check that rasterloom is installed there for that "
            "python, in the version that is used here."
        )

    async def close(self) -> None:
        """End the process and the connection."""
        if not self._process.stdin.is_closing():
            self._process.stdin.write_eof()
        try:
            await asyncio.wait_for(self._process.wait_closed(), _CLOSE_SECONDS)
        except TimeoutError:
            self._process.kill()
        self._connection.close()
        await self._connection.wait_closed()
        self._reading.cancel()

    async def _read(self) -> None:
        while text := await self._process.stderr.read(4096):
            self._tail = (self._tail + text)[-_KEPT_CHARACTERS:]


class _Parts:
    """What was started, in an order in which it can be closed."""

    def __init__(self) -> None:
        self.scheduler: _Part | None = None
        self.workers: list[_Part] = []

    async def close(self) -> None:
        """End the workers first: they would look for a scheduler that has gone."""
        workers, self.workers = self.workers, []
        await asyncio.gather(*(part.close() for part in workers), return_exceptions=True)
        scheduler, self.scheduler = self.scheduler, None
        if scheduler is not None:
            await asyncio.gather(scheduler.close(), return_exceptions=True)


async def _start(
    parts: _Parts, hosts: Hosts, keys: dict[str, str] | None, changes: dict[str, Any], timeout: float
) -> str:
    try:
        async with asyncio.timeout(timeout):
            parts.scheduler = await _open(hosts.scheduler.login)
            told = await parts.scheduler.ask(_settings(hosts.scheduler, keys))
            address: str = told["address"]

            async def start_workers(machine: Machine) -> None:
                part = await _open(machine.login)
                parts.workers.append(part)
                await part.ask(_settings(machine, keys) | changes | {"scheduler": address})

            async with asyncio.TaskGroup() as group:
                for machine in hosts.workers:
                    group.create_task(start_workers(machine))
    except TimeoutError as error:
        raise ClusterError(
            f"The machines did not start within {timeout:.0f} s. Check that the workers' machines reach the "
            "scheduler's (its address and dask_port, the firewall between them), or give a larger timeout."
        ) from error
    except ExceptionGroup as group_error:
        # the machines start side by side: the first that fails says why, and it has stopped the others
        raise group_error.exceptions[0] from None
    return address


def _settings(machine: Machine, keys: dict[str, str] | None) -> dict[str, Any]:
    return {**machine.settings, "tls": machine.login.tls or keys}


async def _open(login: Login) -> _Part:
    import asyncssh

    try:
        connection = await asyncssh.connect(login.host, **_options(login))
        process = await connection.create_process(login.command, errors="replace")
    except asyncssh.HostKeyNotVerifiable as error:
        raise ClusterError(
            f"The key of {login.host} is not among the known hosts ({error.reason}): log in once with "
            f"'ssh {login.host}' and compare the fingerprint it shows, or ask for the line of that machine. "
            "rasterloom never connects to a machine that it does not know."
        ) from error
    except asyncssh.PermissionDenied as error:
        raise ClusterError(
            f"{login.host} does not let us in with a key ({error.reason}): check user and key, and that the "
            "public key stands in ~/.ssh/authorized_keys there. Passwords are never used."
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise ClusterError(
            f"The key for {login.host} cannot be used ({error}): for one with a passphrase run 'ssh-add' and "
            "leave the key out of the file."
        ) from error
    except (OSError, asyncssh.Error) as error:
        raise ClusterError(
            f"{login.host} cannot be reached by SSH ({error}): check the host, the port, and that "
            f"'ssh {login.host}' works from here."
        ) from error
    return _Part(login, connection, process)


def _options(login: Login) -> dict[str, Any]:
    """What asyncssh is told: keys only, and known machines only, whatever its own defaults are."""
    known = login.known_hosts or Path("~/.ssh/known_hosts").expanduser()
    options: dict[str, Any] = {
        "known_hosts": str(known) if known.is_file() else ((), (), ()),  # three lists of keys: none is known
        "preferred_auth": "publickey",
        "connect_timeout": _LOGIN_SECONDS,
        "keepalive_interval": _ALIVE_SECONDS,
        "keepalive_count_max": _ALIVE_TRIES,
    }
    if login.user is not None:
        options["username"] = login.user
    if login.port is not None:
        options["port"] = login.port
    if login.key is not None:
        options |= {"client_keys": [str(login.key)], "agent_path": None}
    return options


def _close(thread: LoopThread, parts: _Parts) -> None:
    try:
        thread.run(parts.close(), 2 * _CLOSE_SECONDS)
    finally:
        thread.stop()

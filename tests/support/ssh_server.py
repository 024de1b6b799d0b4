"""An SSH server of this machine for tests of what reaches machines by SSH."""

import asyncio
import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

import asyncssh
import psutil


class SshServer:
    """The SSH server of a machine, in a thread of this process: it runs what it is told, as sshd does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[str] = []
        self.processes: list[psutil.Process] = []
        self._connections: list[asyncssh.SSHServerConnection] = []
        self._loop, self._ready = asyncio.new_event_loop(), threading.Event()
        self._gone = asyncio.Event()
        for name in ("host", "mine", "stranger"):
            key = asyncssh.generate_private_key("ssh-ed25519")
            key.write_private_key(str(folder / name))
            key.write_public_key(str(folder / f"{name}.pub"))
            (folder / name).chmod(0o600)
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))
        self._thread.start()
        assert self._ready.wait(20)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._gone.set)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Lose every connection, as a client does that is gone all at once."""
        for connection in self._connections:
            self._loop.call_soon_threadsafe(connection.abort)

    def hosts_file(self, *workers: str, name: str = "hosts.toml", defaults: str = "") -> Path:
        """A file of a scheduler and of workers on this machine."""
        machines = "".join(f'[[workers]]\nhost = "127.0.0.1"\n{lines}\n' for lines in workers)
        path = self.folder / name
        path.write_text(
            f'[defaults]\nuser = "tester"\nport = {self.port}\npython = "{sys.executable}"\n'
            + (defaults or f'key = "{self.folder}/mine"\nknown_hosts = "{self.folder}/known_hosts"\n')
            + f'[scheduler]\nhost = "127.0.0.1"\ndask_port = 0\n{machines}'
        )
        return path

    async def _serve(self) -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[str(self.folder / "host")],
            authorized_client_keys=str(self.folder / "mine.pub"),
            process_factory=self._run,
            acceptor=self._connections.append,
            encoding=None,
            config=None,
        )
        self.port = server.get_port()
        public = (self.folder / "host.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}")
        self._ready.set()
        await self._gone.wait()
        server.close()
        await server.wait_closed()

    async def _run(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        pipe = asyncio.subprocess.PIPE
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        child = await asyncio.create_subprocess_shell(
            process.command or "", stdin=pipe, stdout=pipe, stderr=pipe, env=os.environ | {"PATH": path}
        )
        self.commands.append(process.command or "")
        self.processes.append(psutil.Process(child.pid))
        await asyncio.gather(
            pump(process.stdin, child.stdin),
            pump(child.stdout, process.stdout),
            pump(child.stderr, process.stderr),
        )
        process.exit(await child.wait())


async def pump(source: Any, sink: Any) -> None:
    """Hand on what comes, until nothing does."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    sink.close()

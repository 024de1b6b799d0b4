"""Who may talk to a cluster: finds and judges the keys of encrypted ones, and tells what stands open."""

import os
import shutil
import socket
import ssl
import stat
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from distributed import Security

from rasterloom.models.errors import MissingInputError, SettingError

VARIABLE = "RASTERLOOM_TLS"
"""Environment variable that names the folder of this machine's keys."""

FILES = ("ca.pem", "cert.pem", "key.pem")
"""The authority that is trusted, this machine's certificate, and the key to it."""

_ROLES = ("scheduler", "worker", "client")

_ENCRYPTED = ("tls", "wss", "gateway")
"""Schemes of addresses that encrypt what they send."""

_PROBE_SECONDS = 0.5

_HOW = (
    "'rasterloom cluster certs FOLDER' makes an authority and a folder of keys for each machine; "
    f"then use security='FOLDER/client', or name that folder in {VARIABLE}."
)

_EXPIRED, _EARLY, _PURPOSE = 10, 9, 26  # X509_V_ERR_... of OpenSSL


class OpenClusterWarning(UserWarning):
    """Someone else than its owner can use a cluster or look into it."""


@dataclass(frozen=True)
class Keys:
    """A folder of keys that was found to be in order."""

    folder: Path
    name: str
    """Name of the machine in its certificate."""
    hosts: tuple[str, ...]
    """Names and addresses in the certificate. Dask does not compare them: it trusts the whole authority."""
    expires: datetime
    """When the certificate ends, in UTC."""


def read_security(given: bool | str | Path | Security | None, address: str | None) -> Security | None:
    """Return what a connection to ``address`` is encrypted with, or None where it is not.

    Keys are tried before they are used: in a handshake with themselves, within this process.

    Parameters
    ----------
    given
        A folder with ca.pem, cert.pem and key.pem, or a ``Security``. None finds keys by itself where the
        address starts with tls://; True finds them always: in the folder that RASTERLOOM_TLS names, else
        in Dask's configuration. False is no encryption.
    address
        Where the scheduler is or will be, "tcp://..." or "tls://..."; None if that is not known.

    Raises
    ------
    SettingError
        If there are no keys and some are needed, if others may read them, if they do not belong together or
        are expired, or if the address is not of an encrypted scheduler.
    MissingInputError
        If the folder or one of its files is not there.
    """
    if not isinstance(given, None | bool | str | Path | Security):
        raise SettingError(
            f"security is of type {type(given).__name__}, and that is no keys: use a folder with "
            f"{', '.join(FILES)}, a distributed.Security, True or None."
        )
    encrypted = urlsplit(address or "").scheme == "tls"
    if given is False or (given is None and not encrypted):
        if encrypted:
            raise SettingError(f"security=False, and {address} is encrypted: leave it out. {_HOW}")
        return None
    security = _found(address) if given is None or given is True else _given(given)
    if address and not encrypted and _holds_keys(security):
        raise SettingError(
            f"{address} is not encrypted, and keys are given: use tls:// for a scheduler that was started "
            "with keys, or security=None for one that was not."
        )
    return security


def read_keys(folder: str | Path) -> Keys:
    """Return what the certificate of a folder says, once its keys are found to be in order.

    Raises
    ------
    SettingError
        If others may read the key, or the files do not belong together or are expired.
    MissingInputError
        If the folder or one of its files is not there.
    """
    path = Path(folder).expanduser().absolute()
    certificate = _try_files(*(path / name for name in FILES), serves=True)
    subject = {key: value for part in certificate["subject"] for key, value in part}
    return Keys(
        folder=path,
        name=subject.get("commonName", ""),
        hosts=tuple(host for _, host in certificate.get("subjectAltName", ())),
        expires=_moment(certificate["notAfter"]),
    )


def tls_environment(folder: str | Path) -> dict[str, str]:
    """Return the environment in which Dask's own commands use the keys of ``folder``: paths, no keys."""
    authority, certificate, key = (str(Path(folder).expanduser().absolute() / name) for name in FILES)
    head = "DASK_DISTRIBUTED__COMM__"
    variables = {f"{head}REQUIRE_ENCRYPTION": "True", f"{head}TLS__CA_FILE": authority}
    for role in _ROLES:
        variables[f"{head}TLS__{role.upper()}__CERT"] = certificate
        variables[f"{head}TLS__{role.upper()}__KEY"] = key
    return variables


def temporary_keys() -> tuple[Path, Callable[[], None]]:
    """Make a folder of keys for one cluster of this machine, and what removes it again.

    The authority's own key is forgotten at once: nobody can make another certificate for this cluster.
    """
    from rasterloom.cluster.certificates import write_unrepeatable

    folder = Path(tempfile.mkdtemp(prefix="rasterloom-tls-"))  # for its owner only
    write_unrepeatable(folder)
    return folder, lambda: shutil.rmtree(folder, ignore_errors=True)


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach an address such as "tcp://127.0.0.1:8786"."""
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if parts.scheme == "inproc":
        return True
    return _is_loopback_host(parts.hostname or "")


def warn_of_open(
    where: str, scheduler_address: str, dashboard_link: str | None, security: Security | None
) -> None:
    """Warn, once for each cluster, if others than its owner can use it or look into it.

    Parameters
    ----------
    where
        What the user calls the cluster.
    scheduler_address
        As the scheduler itself tells it (``client.scheduler_info()["address"]``): one that listens to the
        whole network may have been joined by its loopback address.
    dashboard_link
        Its pages; they are tried from here, because a link does not say where they can be reached.
    security
        What the connection is encrypted with.
    """
    told = [*_open_scheduler(scheduler_address, security), *_open_pages(scheduler_address, dashboard_link)]
    if told and scheduler_address not in _WARNED:
        _WARNED.add(scheduler_address)
        warnings.warn(f"The cluster at {where} is open. {' '.join(told)}", OpenClusterWarning, stacklevel=3)


_WARNED: set[str] = set()


def _is_loopback_host(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761: never asked of a server


def _open_scheduler(address: str, security: Security | None) -> list[str]:
    # Those of a gateway lack the field, and its own scheme is encrypted.
    encrypted = urlsplit(address).scheme in _ENCRYPTED or getattr(security, "require_encryption", False)
    if encrypted or is_loopback(address):
        return []
    return [
        f"Whoever reaches {_place(address)} can run programs on its machines, as the user that runs the "
        "workers, and can read all that is sent: start it with keys ('rasterloom cluster certs' makes them, "
        "'rasterloom cluster start --tls FOLDER' uses them), or let it listen on 127.0.0.1 only."
    ]


def _open_pages(scheduler_address: str, link: str | None) -> list[str]:
    if link is None or (port := urlsplit(link).port) is None:
        return []
    hosts = {urlsplit(address).hostname or "" for address in (link, scheduler_address)}
    reached = sorted(host for host in hosts if not _is_loopback_host(host) and _answers(host, port))
    if not reached:
        return []
    return [
        f"Its dashboard at {reached[0]}:{port} shows tasks, logs and file names to whoever reaches it, "
        f"without a password: start the scheduler with --dashboard-address 127.0.0.1:{port}, and look at it "
        f"through 'ssh -L {port}:127.0.0.1:{port} {reached[0]}'."
    ]


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False


def _place(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2]


def _found(address: str | None) -> Security:
    if folder := os.environ.get(VARIABLE):
        return _of_folder(folder)
    security = Security(require_encryption=True)
    if not _holds_keys(security):
        what = f"{address} is encrypted" if address else "security=True wants encryption"
        raise SettingError(
            f"{what}, and there are no keys: {VARIABLE} is not set, and Dask's configuration names none. "
            f"{_HOW}"
        )
    return _given(security)


def _given(given: str | Path | Security) -> Security:
    if not isinstance(given, Security):
        return _of_folder(given)
    if not _holds_keys(given):
        return given
    if not given.require_encryption:
        raise SettingError(
            "security holds keys, and lets connections in that are not encrypted: "
            "use distributed.Security(require_encryption=True, ...)."
        )
    for role in _ROLES:
        tls = given.get_tls_config_for_role(role)
        # Text with line ends is a key itself, which Dask keeps in memory.
        if tls["cert"] and "\n" not in tls["cert"] + tls["ca_file"] + (tls["key"] or ""):
            key = Path(tls["key"] or tls["cert"])
            _try_files(Path(tls["ca_file"]), Path(tls["cert"]), key, serves=role != "client")
    return given


def _of_folder(folder: str | Path) -> Security:
    path = read_keys(folder).folder
    return _security(*(path / name for name in FILES))


def _security(authority: Path, certificate: Path, key: Path) -> Security:
    files = {"cert": str(certificate), "key": str(key)}
    roles = {f"tls_{role}_{kind}": file for role in _ROLES for kind, file in files.items()}
    return Security(require_encryption=True, tls_ca_file=str(authority), **roles)


def _holds_keys(security: Security) -> bool:
    # Those of a gateway keep their keys elsewhere, and lack the fields.
    return bool(getattr(security, "tls_ca_file", None) and getattr(security, "tls_client_cert", None))


def _try_files(authority: Path, certificate: Path, key: Path, *, serves: bool) -> dict[str, Any]:
    """Return the certificate's content once a handshake of the files with themselves succeeds.

    Parameters
    ----------
    serves
        Whether the certificate is shown to those who call, too, and not only by the one who calls.
    """
    _, _, text = (_read(path) for path in (authority, certificate, key))
    if b"ENCRYPTED" in text:
        raise SettingError(
            f"{key} asks for a password, and workers have nobody to answer: use a key without one, in a file "
            "of mode 0600."
        )
    _check_modes(authority, key)
    try:
        security = _security(authority, certificate, key)
        caller = security.get_connection_args("client")["ssl_context"]
        if not serves:
            caller.verify_mode = ssl.CERT_NONE
        return _shake_hands(caller, security.get_listen_args("scheduler")["ssl_context"])
    except ssl.SSLCertVerificationError as error:
        raise SettingError(_refusal(authority, certificate, error)) from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            why = f"{key} is not the key to {certificate}: copy both from one folder"
        else:
            why = f"{authority}, {certificate} and {key} are not all certificates and keys in PEM format"
        raise SettingError(f"{why} ({error.reason or 'unreadable'}). {_HOW}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise SettingError(
            f"{path} may not be read by this user, who has to own it: 'chown' it, or copy the folder as its "
            "owner and give it away."
        ) from error
    except OSError as error:
        raise MissingInputError(f"there is no file of keys at {path}. {_HOW}") from error


def _check_modes(authority: Path, key: Path) -> None:
    """Refuse a key that others read, and an authority that others write."""
    found = key.stat()
    # A secret that Kubernetes mounts belongs to root, and to the group of the container's user.
    allowed = stat.S_IRWXU | (stat.S_IRGRP if found.st_uid == 0 else 0)
    if (mode := stat.S_IMODE(found.st_mode)) & ~allowed:
        raise SettingError(
            f"{key} has mode {mode:04o}, so others than its owner can take the key: 'chmod 600 {key}', and "
            "make new keys if strangers have been on this machine."
        )
    if authority.stat().st_mode & stat.S_IWOTH:
        raise SettingError(
            f"{authority} can be written by everyone, who could add an authority of their own: "
            f"'chmod 644 {authority}', and compare it with the one that was made."
        )


def _refusal(authority: Path, certificate: Path, error: ssl.SSLCertVerificationError) -> str:
    now = datetime.now(UTC)
    if error.verify_code == _EXPIRED:
        if _authority_ends(authority) < now:
            return (
                f"the authority in {authority} has expired on {_authority_ends(authority):%Y-%m-%d}: make a "
                f"new one, and new keys for every machine. {_HOW}"
            )
        return (
            f"the certificate {certificate} has expired (the clock here says {now:%Y-%m-%d %H:%M} UTC): "
            f"'rasterloom cluster certs FOLDER {certificate.parent.name} --overwrite' makes a new one of the "
            "same authority."
        )
    if error.verify_code == _EARLY:
        return (
            f"the certificate {certificate} is not valid yet: the clock here says {now:%Y-%m-%d %H:%M} UTC. "
            "Set it, or wait."
        )
    if error.verify_code == _PURPOSE:
        return (
            f"the certificate {certificate} may not be used by both sides of a connection "
            f"({error.verify_message}): it needs the purposes serverAuth and clientAuth. {_HOW}"
        )
    return (
        f"the certificate {certificate} is not of the authority in {authority} ({error.verify_message}): "
        f"copy both from one folder. {_HOW}"
    )


def _authority_ends(authority: Path) -> datetime:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    return min(_moment(str(found["notAfter"])) for found in context.get_ca_certs())


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _shake_hands(caller: ssl.SSLContext, listener: ssl.SSLContext) -> dict[str, Any]:
    """Return what the listener learns of the caller; both are in this process."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    called = listener.wrap_bio(there, back, server_side=True)
    waiting = [caller.wrap_bio(back, there), called]
    while waiting:
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue  # the other side has to answer first
    certificate = called.getpeercert()
    assert certificate is not None, "it was required"
    return certificate

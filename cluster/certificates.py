"""Makes the keys of a cluster: an authority of its own, and a certificate for each machine."""

import os
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rasterloom.models.errors import MissingInputError, OutputError, OutputExistsError, SettingError

AUTHORITY = "authority"
"""Folder of the authority, beside the folders of the machines."""

NODE_DAYS = 397
"""Days that a machine's certificate is valid: a year and a month to renew it in."""

_EARLIER = timedelta(hours=1)
"""Machines whose clocks are behind take a new certificate, too."""

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def make_authority(folder: str | Path, *, name: str = "rasterloom", days: int = 3650) -> Path:
    """Make an authority in FOLDER/authority, and return that folder.

    Whoever holds ca-key.pem can let machines into the cluster: it stays where it was made. A cluster trusts
    every certificate of its authority, whatever name is in it, so each cluster has an authority of its own.

    Parameters
    ----------
    folder
        Where the keys of a cluster are kept. Made if it is not there.
    name
        Name of the cluster, in the certificate.
    days
        How long it is valid, at least 1.

    Raises
    ------
    OutputExistsError
        If there is one: with a new one, all certificates of the old one would be worthless.
    SettingError
        If a setting cannot work.
    """
    home = Path(folder).expanduser() / AUTHORITY
    if home.exists():
        raise OutputExistsError(
            f"there is an authority in {home}: use it for further machines, or move the folder away and make "
            "new keys for every machine."
        )
    key, certificate = _new_authority(name, days)
    _write_folder(home, {"ca.pem": _pem(certificate), "ca-key.pem": _pem_key(key)})
    return home


def make_node(
    folder: str | Path,
    node: str,
    *,
    hosts: Sequence[str] = (),
    days: int = NODE_DAYS,
    overwrite: bool = False,
) -> Path:
    """Make the keys of a machine in FOLDER/NODE, and return that folder; it is what the machine gets.

    They serve as scheduler, worker and client alike.

    Parameters
    ----------
    folder
        Where ``make_authority`` put the authority.
    node
        Name of the machine: letters, digits, dots and dashes.
    hosts
        Names and IP addresses under which others reach it, beside ``node``.
    days
        How long the certificate is valid, at least 1; it ends with its authority at the latest.
    overwrite
        Whether to replace the keys that the machine has.

    Raises
    ------
    OutputExistsError
        If it has keys.
    MissingInputError
        If there is no authority.
    SettingError
        If a setting cannot work, or the authority's files do not.
    """
    check_node(folder, node, hosts, overwrite=overwrite)
    home = Path(folder).expanduser() / node
    authority_key, authority = _load_authority(Path(folder).expanduser() / AUTHORITY)
    key, certificate = _new_node(node, hosts, days, authority_key, authority)
    _write_folder(home, _node_files(authority, certificate, key))
    return home


def check_node(folder: str | Path, node: str, hosts: Sequence[str] = (), *, overwrite: bool = False) -> None:
    """Raise what ``make_node`` would raise about the machine's name, its hosts and the keys that it has."""
    if not _NODE.fullmatch(node) or node == AUTHORITY:
        raise SettingError(
            f"node={node!r} cannot name a machine and its folder: use up to 63 letters, digits, dots, dashes "
            f"and underscores that start with a letter or digit, and not {AUTHORITY!r}."
        )
    for host in hosts:
        _general_name(host)
    home = Path(folder).expanduser() / node
    if home.exists() and not overwrite:
        raise OutputExistsError(f"{home} has keys already: use overwrite=True to replace them.")


def write_unrepeatable(folder: Path) -> None:
    """Write the keys of a machine and forget the key of their authority, which is of no other use."""
    authority_key, authority = _new_authority("one cluster", NODE_DAYS)
    key, certificate = _new_node("localhost", ("127.0.0.1", "::1"), NODE_DAYS, authority_key, authority)
    _write_folder(folder, _node_files(authority, certificate, key))


def _node_files(
    authority: x509.Certificate, certificate: x509.Certificate, key: EllipticCurvePrivateKey
) -> dict[str, bytes]:
    return {"ca.pem": _pem(authority), "cert.pem": _pem(certificate), "key.pem": _pem_key(key)}


def _new_authority(name: str, days: int) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    if not name or len(name) > 64:
        raise SettingError(f"name={name!r} cannot stand in a certificate: use 1 to 64 characters.")
    key = generate_private_key(SECP256R1())
    subject = _named(name)
    until = _moment_after(days)
    builder = (
        _certificate(subject, subject, key, key, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return key, builder.sign(key, hashes.SHA256())


def _new_node(
    node: str,
    hosts: Sequence[str],
    days: int,
    authority_key: EllipticCurvePrivateKey,
    authority: x509.Certificate,
) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    key = generate_private_key(SECP256R1())
    until = min(_moment_after(days), authority.not_valid_after_utc)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    names = [_general_name(host) for host in dict.fromkeys((node, *hosts))]
    builder = (
        _certificate(_named(node), authority.subject, key, authority_key, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return key, builder.sign(authority_key, hashes.SHA256())


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    issuer_key: EllipticCurvePrivateKey,
    until: datetime,
) -> x509.CertificateBuilder:
    public = key.public_key()
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - _EARLIER)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(issued_by, critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        if not _HOST.fullmatch(host):
            raise SettingError(
                f"{host!r} is neither the name of a machine nor an IP address: use one such as "
                "'worker-1.example.org' or '10.0.0.5', without a port."
            ) from None
        return x509.DNSName(host)


def _moment_after(days: int) -> datetime:
    if not 1 <= days <= 36500:
        raise SettingError(f"days={days} is no time for a certificate: use 1 to 36500.")
    return datetime.now(UTC) + timedelta(days=days)


def _load_authority(home: Path) -> tuple[EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = load_pem_private_key((home / "ca-key.pem").read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate((home / "ca.pem").read_bytes())
    except FileNotFoundError as error:
        raise MissingInputError(
            f"there is no authority in {home} (ca.pem and ca-key.pem): make one with 'rasterloom cluster "
            f"certs {home.parent}', or work where it was made."
        ) from error
    except PermissionError as error:
        raise SettingError(f"the authority in {home} belongs to another user: work as its owner.") from error
    except (ValueError, TypeError) as error:
        raise SettingError(
            f"the authority in {home} cannot be read: ca.pem and ca-key.pem are not what was made there."
        ) from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise SettingError(f"{home}/ca-key.pem is not the key to {home}/ca.pem: copy both from one place.")
    if certificate.not_valid_after_utc <= datetime.now(UTC):
        raise SettingError(
            f"the authority in {home} has expired on {certificate.not_valid_after_utc:%Y-%m-%d}: move the "
            "folder away and make a new one, and new keys for every machine."
        )
    return key, certificate


def _write_folder(home: Path, files: dict[str, bytes]) -> None:
    """Write files that only their owner can read, each whole or not at all, the key last."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)  # whatever the umask and whoever made it
        for name, content in files.items():
            _write_private(home / name, content)
    except OSError as error:
        raise OutputError(
            f"keys cannot be written to {home} ({error.strerror}): use a folder of your own on this machine."
        ) from error


def _write_private(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _pem_key(key: EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

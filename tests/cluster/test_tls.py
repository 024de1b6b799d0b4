"""Keys are found where the user said, and judged before they are used."""

import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from distributed import Security

from rasterloom.cluster import certificates, tls
from rasterloom.cluster.certificates import make_authority, make_node
from rasterloom.cluster.tls import FILES, read_keys, read_security, temporary_keys, tls_environment
from rasterloom.models.errors import MissingInputError, SettingError
from tests.support.keys import make_two_clusters, secret_of

TLS = "tls://10.0.0.5:8786"


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tls.VARIABLE, raising=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys that nobody changes: ours/a, ours/b, theirs/a."""
    return make_two_clusters(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def node(made: Path, tmp_path: Path) -> Path:
    """A folder of keys to spoil."""
    return Path(shutil.copytree(made / "ours" / "a", tmp_path / "node"))


def configured(folder: Path, *roles: str) -> dict[str, Any]:
    """Dask's configuration of the keys in ``folder``."""
    head = "distributed.comm.tls"
    named = {f"{head}.ca-file": str(folder / "ca.pem")}
    for role in roles:
        named |= {f"{head}.{role}.{kind}": str(folder / f"{kind}.pem") for kind in ("cert", "key")}
    return named


def files_of(security: Security | None) -> set[str]:
    assert security is not None
    roles = ("client", "scheduler", "worker")
    return {str(v) for role in roles for v in security.get_tls_config_for_role(role).values() if v}


# Which keys are used


@pytest.mark.parametrize("address", [None, "tcp://127.0.0.1:8786", "tcp://10.0.0.5:8786"])
@pytest.mark.parametrize("given", [None, False])
def test_nothing_is_encrypted_unasked(
    given: bool | None, address: str | None, node: Path, monkeypatch
) -> None:
    monkeypatch.setenv(tls.VARIABLE, str(node))
    assert read_security(given, address) is None


@pytest.mark.parametrize("address", [None, TLS])
@pytest.mark.parametrize("kind", [str, Path, tls._of_folder])
def test_keys_that_are_given_serve_every_role(made: Path, kind: Callable, address: str | None) -> None:
    security = read_security(kind(made / "ours" / "a"), address)
    assert files_of(security) == {str(made / "ours" / "a" / name) for name in FILES}
    assert security is not None
    assert security.require_encryption


@pytest.mark.parametrize(("given", "address"), [(None, TLS), (True, TLS), (True, None)])
def test_the_environment_names_keys_and_comes_before_dasks_configuration(
    made: Path, monkeypatch: pytest.MonkeyPatch, given: bool | None, address: str | None
) -> None:
    with dask.config.set(configured(made / "theirs" / "a", "client")):
        configured_only = read_security(given, address)
        assert files_of(configured_only) == {str(made / "theirs" / "a" / name) for name in FILES}
        assert configured_only is not None
        assert configured_only.require_encryption
        monkeypatch.setenv(tls.VARIABLE, str(made / "ours" / "a"))
        assert files_of(read_security(given, address)) == {str(made / "ours" / "a" / name) for name in FILES}


def test_a_path_may_start_at_home(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(made))
    assert read_keys("~/ours/b").folder == made / "ours" / "b"


@pytest.mark.parametrize(("given", "address"), [(None, TLS), (True, TLS), (True, None)])
def test_without_any_keys_the_error_says_how_to_make_them(given: bool | None, address: str | None) -> None:
    with pytest.raises(SettingError, match=r"RASTERLOOM_TLS is not set.*rasterloom cluster certs FOLDER"):
        read_security(given, address)


def test_keys_that_dask_keeps_in_memory_are_taken_as_they_are() -> None:
    given = Security.temporary()
    assert read_security(given, TLS) is given


def test_a_security_that_holds_its_keys_elsewhere_is_taken_as_it_is() -> None:
    class Gateway(Security):
        def __init__(self) -> None:
            pass

    given = Gateway()
    assert read_security(given, TLS) is given


@pytest.mark.parametrize(
    ("given", "address", "words"),
    [
        (3, None, "security is of type int"),
        ({"ca": "x"}, TLS, "security is of type dict"),
        (False, TLS, "security=False, and tls://10.0.0.5:8786 is encrypted"),
        ("node", "tcp://10.0.0.5:8786", "tcp://10.0.0.5:8786 is not encrypted, and keys are given"),
        (True, "tcp://10.0.0.5:8786", "tcp://10.0.0.5:8786 is not encrypted, and keys are given"),
    ],
)
def test_words_that_contradict_each_other_are_refused(
    given: Any, address: str | None, words: str, node: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tls.VARIABLE, str(node))
    with pytest.raises(SettingError, match=words):
        read_security(node if given == "node" else given, address)


def test_keys_that_let_plain_connections_in_are_refused(made: Path) -> None:
    security = tls._of_folder(made / "ours" / "a")
    security.require_encryption = False
    with pytest.raises(SettingError, match=r"require_encryption=True"):
        read_security(security, TLS)


# What is wrong with keys


def test_a_folder_tells_whose_keys_it_holds_and_until_when(made: Path) -> None:
    keys = read_keys(made / "ours" / "a")
    assert (keys.folder, keys.name, keys.hosts) == (made / "ours" / "a", "a", ("a", "10.0.0.5"))
    expected = datetime.now(UTC) + timedelta(days=certificates.NODE_DAYS)
    assert abs(keys.expires - expected) < timedelta(minutes=5)


def replace(name: str, source: str) -> Callable[[Path, Path], None]:
    return lambda node, made: (node / name).write_bytes((made / source / name).read_bytes()) and None


def add_password(node: Path, made: Path) -> None:
    key = load_pem_private_key((node / "key.pem").read_bytes(), None)
    hidden = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame"))
    (node / "key.pem").write_bytes(hidden)


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (lambda n, m: shutil.rmtree(n), MissingInputError, "no file of keys at .*cluster certs"),
        (lambda n, m: (n / "ca.pem").unlink(), MissingInputError, "no file of keys at .*/ca.pem"),
        (lambda n, m: (n / "key.pem").unlink(), MissingInputError, "no file of keys at .*/key.pem"),
        (lambda n, m: (n / "key.pem").chmod(0o604), SettingError, "mode 0604.*chmod 600 .*/key.pem"),
        (lambda n, m: (n / "key.pem").chmod(0o620), SettingError, "mode 0620.*chmod 600 .*/key.pem"),
        (lambda n, m: (n / "ca.pem").chmod(0o666), SettingError, "chmod 644 .*/ca.pem"),
        (lambda n, m: (n / "key.pem").write_text("x"), SettingError, "not all certificates and keys in PEM"),
        (lambda n, m: (n / "cert.pem").write_text(""), SettingError, "not all certificates and keys in PEM"),
        (lambda n, m: (n / "ca.pem").write_text("x"), SettingError, "not all certificates and keys in PEM"),
        (replace("key.pem", "ours/b"), SettingError, "key.pem is not the key to .*cert.pem"),
        (replace("ca.pem", "theirs/a"), SettingError, "cert.pem is not of the authority in .*ca.pem"),
        (add_password, SettingError, "asks for a password"),
    ],
)
def test_keys_that_cannot_work_are_refused_with_a_remedy(
    node: Path, made: Path, spoil: Callable, error: type[Exception], words: str
) -> None:
    secret = secret_of(node)
    read_keys(node)
    spoil(node, made)
    with pytest.raises(error, match=words) as caught:
        read_security(node, TLS)
    assert secret not in str(caught.value)


def test_a_key_of_another_user_is_refused_with_a_remedy(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "key.pem":  # root, as who tests may run, would read it all the same
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(SettingError, match=r"key\.pem may not be read by this user.*chown"):
        read_keys(node)


def test_a_security_is_tried_like_a_folder(node: Path, made: Path) -> None:
    security = tls._of_folder(node)
    replace("key.pem", "ours/b")(node, made)
    with pytest.raises(SettingError, match="is not the key to"):
        read_security(security, TLS)
    (node / "key.pem").chmod(0o644)
    with pytest.raises(SettingError, match="mode 0644"):
        read_security(security, TLS)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root: gives a file to another user")
def test_the_group_may_read_a_key_that_belongs_to_root_as_kubernetes_mounts_it(node: Path) -> None:
    (node / "key.pem").chmod(0o440)
    assert read_keys(node).name == "a"
    os.chown(node / "key.pem", 12345, 12345)
    with pytest.raises(SettingError, match="mode 0440"):
        read_keys(node)


def shifted(days: int) -> type[datetime]:
    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(days=days)

    return Shifted


@pytest.mark.parametrize(
    ("shift", "authority_days", "node_days", "words"),
    [
        (-10, 3650, 9, r"cert\.pem has expired .*cluster certs FOLDER worker --overwrite"),
        (-10, 9, 9, r"the authority in .*ca\.pem has expired on .*make a new one"),
        (+10, 3650, 9, r"ca?.*is not valid yet: the clock here says"),
    ],
)
def test_keys_of_another_time_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shift: int,
    authority_days: int,
    node_days: int,
    words: str,
) -> None:
    monkeypatch.setattr(certificates, "datetime", shifted(shift))
    make_authority(tmp_path, days=authority_days)
    folder = make_node(tmp_path, "worker", days=node_days)
    with pytest.raises(SettingError, match=words):
        read_security(folder, TLS)


def test_a_certificate_for_callers_only_serves_a_client_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    purposes = SimpleNamespace(
        SERVER_AUTH=ExtendedKeyUsageOID.CODE_SIGNING, CLIENT_AUTH=ExtendedKeyUsageOID.CLIENT_AUTH
    )
    monkeypatch.setattr(certificates, "ExtendedKeyUsageOID", purposes)
    make_authority(tmp_path)
    folder = make_node(tmp_path, "client")
    with pytest.raises(SettingError, match="it needs the purposes serverAuth and clientAuth"):
        read_keys(folder)
    with dask.config.set(configured(folder, "client")):
        assert read_security(None, TLS) is not None
    with (
        dask.config.set(configured(folder, "client", "worker")),
        pytest.raises(SettingError, match="it needs the purposes"),
    ):
        read_security(None, TLS)


# Keys for others


def test_temporary_keys_are_private_and_gone_when_they_are_removed() -> None:
    folder, remove = temporary_keys()
    try:
        assert read_keys(folder).name == "localhost"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
        assert {path.name for path in folder.iterdir()} == set(FILES)
    finally:
        remove()
    assert not folder.exists()
    remove()


def test_dask_in_another_process_finds_the_keys_by_their_environment(made: Path) -> None:
    environment = tls_environment(made / "ours" / "a")
    assert secret_of(made / "ours" / "a") not in " ".join(environment.values())
    code = (
        "from distributed import Security; s = Security(); print(s.require_encryption); "
        "print(*sorted({v for r in ('client', 'scheduler', 'worker') "
        "for v in s.get_tls_config_for_role(r).values() if v}), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", *sorted(str(made / "ours" / "a" / name) for name in FILES)]


def test_a_security_that_travels_names_its_keys_only_by_path(made: Path) -> None:
    key = secret_of(made / "ours" / "a")
    security = read_security(made / "ours" / "a", TLS)
    assert security is not None
    assert key not in repr(security) + security._repr_html_()
    assert key.encode() not in pickle.dumps(security)
    assert re.search(r"key\.pem", repr(security))

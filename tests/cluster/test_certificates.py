"""The keys of a cluster are what other software takes for sound, and only their owner can read them."""

import os
import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from rasterloom.cluster.certificates import check_node, make_authority, make_node, write_unrepeatable
from rasterloom.models.errors import MissingInputError, OutputError, OutputExistsError, SettingError


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority and the keys of worker-1; nobody writes here."""
    folder = tmp_path_factory.mktemp("keys")
    make_authority(folder, name="fleet")
    make_node(folder, "worker-1", hosts=("10.0.0.5", "worker-1.example.org"))
    return folder


def certificate_of(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def judge(folder: Path) -> tuple[PolicyBuilder, x509.Certificate]:
    """What another library verifies with, and what is to be verified."""
    store = Store([certificate_of(folder / "ca.pem")])
    return PolicyBuilder().store(store), certificate_of(folder / "cert.pem")


@pytest.mark.parametrize("host", ["worker-1", "worker-1.example.org"])
def test_a_strict_verifier_takes_the_certificate_for_both_sides_of_a_connection(
    keys: Path, host: str
) -> None:
    policy, certificate = judge(keys / "worker-1")
    assert len(policy.build_server_verifier(x509.DNSName(host)).verify(certificate, [])) == 2
    address = x509.IPAddress(ip_address("10.0.0.5"))
    assert len(policy.build_server_verifier(address).verify(certificate, [])) == 2
    assert len(policy.build_client_verifier().verify(certificate, []).chain) == 2


def test_the_certificate_is_of_no_other_authority_and_for_no_other_name(keys: Path, tmp_path: Path) -> None:
    policy, certificate = judge(keys / "worker-1")
    with pytest.raises(VerificationError):
        policy.build_server_verifier(x509.DNSName("worker-2")).verify(certificate, [])
    make_authority(tmp_path, name="fleet")
    foreign, _ = judge(make_node(tmp_path, "worker-1"))
    with pytest.raises(VerificationError):
        foreign.build_client_verifier().verify(certificate, [])


def test_a_machine_cannot_let_others_in(keys: Path) -> None:
    certificate = certificate_of(keys / "worker-1" / "cert.pem")
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    authority = certificate_of(keys / "authority" / "ca.pem")
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_each_machine_has_a_key_of_its_own_on_the_curve_p_256(keys: Path, tmp_path: Path) -> None:
    make_authority(tmp_path)
    public = []
    for name in ("a", "b"):
        folder = make_node(tmp_path, name)
        key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
        public.append(key.public_key())
        assert public[-1] == certificate_of(folder / "cert.pem").public_key()
        assert isinstance(public[-1], EllipticCurvePublicKey)
        assert isinstance(public[-1].curve, SECP256R1)
    assert public[0] != public[1]
    serials = {certificate_of(tmp_path / name / "cert.pem").serial_number for name in ("a", "b")}
    assert len(serials) == 2


def test_nobody_but_the_owner_reads_anything_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_authority(tmp_path / "keys")
        make_node(tmp_path / "keys", "worker")
    finally:
        os.umask(before)
    for folder, files in {
        "authority": {"ca.pem", "ca-key.pem"},
        "worker": {"ca.pem", "cert.pem", "key.pem"},
    }.items():
        home = tmp_path / "keys" / folder
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert {path.name for path in home.iterdir()} == files
        assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}


def test_a_certificate_lasts_as_long_as_asked_and_never_longer_than_its_authority(tmp_path: Path) -> None:
    make_authority(tmp_path, days=30)
    now = datetime.now(UTC)
    for days, expected in ((7, 7), (397, 30)):
        certificate = certificate_of(make_node(tmp_path, f"for-{days}", days=days) / "cert.pem")
        assert abs(certificate.not_valid_after_utc - now - timedelta(days=expected)) < timedelta(minutes=5)
        # a machine whose clock is a little behind takes it
        assert certificate.not_valid_before_utc < now - timedelta(minutes=30)


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    make_authority(tmp_path)
    node = make_node(tmp_path, "worker")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.pem")}
    with pytest.raises(OutputExistsError, match="make new keys for every machine"):
        make_authority(tmp_path)
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        make_node(tmp_path, "worker")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.pem")} == before

    (node / "notes.txt").write_text("rack 4")
    make_node(tmp_path, "worker", overwrite=True)
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == {"cert.pem", "key.pem"}
    assert (node / "notes.txt").read_text() == "rack 4"
    policy, certificate = judge(node)
    assert policy.build_client_verifier().verify(certificate, []).chain


def test_the_key_of_a_temporary_authority_is_nowhere(tmp_path: Path) -> None:
    write_unrepeatable(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"ca.pem", "cert.pem", "key.pem"}
    policy, certificate = judge(tmp_path)
    assert policy.build_client_verifier().verify(certificate, []).chain
    authority = certificate_of(tmp_path / "ca.pem").public_key()
    assert load_pem_private_key((tmp_path / "key.pem").read_bytes(), None).public_key() != authority


@pytest.mark.parametrize("node", ["", "authority", "../etc", "a/b", ".hidden", "-x", "a b", "ä", "n" * 64])
def test_a_name_that_is_no_folder_of_its_own_is_refused(tmp_path: Path, node: str) -> None:
    make_authority(tmp_path)
    with pytest.raises(SettingError, match="cannot name a machine"):
        make_node(tmp_path, node)
    assert [path.name for path in tmp_path.iterdir()] == ["authority"]


@pytest.mark.parametrize("host", ["10.0.0.5:8786", "tls://a", "", "a b", "straße", "x" * 300])
def test_a_host_that_is_none_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingError, match="neither the name of a machine nor an IP address"):
        check_node(tmp_path, "worker", [host])


@pytest.mark.parametrize("days", [0, -1, 10**9])
def test_a_time_that_is_none_is_refused(tmp_path: Path, days: int) -> None:
    with pytest.raises(SettingError, match=f"days={days}"):
        make_authority(tmp_path, days=days)
    make_authority(tmp_path)
    with pytest.raises(SettingError, match=f"days={days}"):
        make_node(tmp_path, "worker", days=days)


@pytest.mark.parametrize("name", ["", "n" * 65])
def test_an_authority_has_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingError, match="1 to 64 characters"):
        make_authority(tmp_path, name=name)


def test_without_an_authority_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=f"'rasterloom cluster certs {tmp_path}'"):
        make_node(tmp_path, "worker")


def test_an_authority_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "ours")
    other = make_authority(tmp_path / "theirs")
    key = authority / "ca-key.pem"
    key.write_bytes((other / "ca-key.pem").read_bytes())
    with pytest.raises(SettingError, match="is not the key to"):
        make_node(tmp_path / "ours", "worker")
    key.write_text("nothing")
    with pytest.raises(SettingError, match="cannot be read"):
        make_node(tmp_path / "ours", "worker")
    assert not (tmp_path / "ours" / "worker").exists()


def test_an_authority_that_has_expired_makes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_authority(tmp_path, days=2)

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=3)

    monkeypatch.setattr("rasterloom.cluster.certificates.datetime", Later)
    with pytest.raises(SettingError, match="has expired on"):
        make_node(tmp_path, "worker")


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="use a folder of your own"):
        make_authority(tmp_path / "file")

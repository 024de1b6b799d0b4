"""``rasterloom cluster certs`` makes keys that work at once, and replaces none unasked."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rasterloom.cluster.tls import read_keys, read_security
from rasterloom.pipeline.cli.cluster_certs import NODES
from rasterloom.pipeline.cli.main import run


def certs(*arguments: str | Path) -> int:
    return run(["cluster", "certs", *map(str, arguments)])


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*.pem")}


def test_one_command_makes_keys_for_every_role(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    assert certs(folder) == 0
    told = capsys.readouterr()
    assert told.out.split() == [str(folder / name) for name in ("authority", *NODES)]
    for node in NODES:
        assert read_security(folder / node, "tls://10.0.0.5:8786") is not None
    assert f"whoever has {folder}/authority/ca-key.pem can let machines in" in told.err
    assert "PRIVATE KEY" not in told.out + told.err


def test_machines_are_added_to_the_authority_that_is_there(tmp_path: Path) -> None:
    assert certs(tmp_path, "worker-1=10.0.0.5,w1.example.org", "--days", "30") == 0
    first = contents(tmp_path)
    assert certs(tmp_path, "worker-2") == 0
    assert contents(tmp_path).items() > first.items()
    keys = read_keys(tmp_path / "worker-1")
    assert keys.hosts == ("worker-1", "10.0.0.5", "w1.example.org")
    assert abs(keys.expires - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    assert read_keys(tmp_path / "worker-2").hosts == ("worker-2",)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("here", "has keys already: use --overwrite"),
        ("../there", "cannot name a machine"),
        ("there=10.0.0.5:8786", "'10.0.0.5:8786' is neither"),
    ],
)
def test_one_wrong_word_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str, words: str
) -> None:
    assert certs(tmp_path, "here") == 0
    before = contents(tmp_path)
    assert certs(tmp_path, "new", wrong) == 1
    assert words in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_keys_are_renewed_when_that_is_said_and_the_authority_stays(tmp_path: Path) -> None:
    assert certs(tmp_path, "a", "b") == 0
    before = contents(tmp_path)
    assert certs(tmp_path, "a", "--overwrite") == 0
    after = contents(tmp_path)
    assert {path.relative_to(tmp_path) for path in after if after[path] != before[path]} == {
        Path("a/cert.pem"),
        Path("a/key.pem"),
    }
    assert read_keys(tmp_path / "a").name == "a"


def test_help_says_what_the_words_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert certs("--help") == 0
    told = capsys.readouterr().out
    assert "[NODE[=HOST,HOST...]]..." in told
    assert "--overwrite" in told

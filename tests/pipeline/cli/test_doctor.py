"""``rasterloom doctor`` prints what it found, and its exit code says whether anything fails."""

import json
from types import SimpleNamespace

import pyarrow
import pyogrio
import pytest

from rasterloom.cluster import doctor as looks
from rasterloom.cluster.doctor import Finding
from rasterloom.pipeline.cli.doctor import look_at_formats
from rasterloom.pipeline.cli.main import run


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what another test looks at."""
    monkeypatch.delenv("RASTERLOOM_TLS", raising=False)
    monkeypatch.setattr(looks, "look_at_disk", lambda: [Finding("disk", "warn", "[3] GB free", "free some")])
    monkeypatch.setattr(looks, "look_at_memory", lambda: Finding("memory", "ok", "64 GB"))


def test_all_is_printed_with_remedies(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["doctor"])
    said = capsys.readouterr().out
    for topic in ("Python", "packages", "extras", "rasters", "vectors", "GeoParquet", "GPU", "open files"):
        assert topic in said
    assert "[3] GB free" in said
    assert "-> free some" in said
    assert code == (1 if "fail " in said else 0)


def test_anything_that_fails_is_an_exit_code_and_json_says_the_same(
    quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(looks, "look_at_memory", lambda: Finding("memory", "fail", "none", "buy some"))
    assert run(["doctor", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {"topic": "memory", "level": "fail", "said": "none", "remedy": "buy some"} in rows
    assert all(row["remedy"] for row in rows if row["level"] != "ok")


def test_keys_and_a_cluster_are_looked_at_where_they_are_named(
    quick: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, str | None]] = []

    def answer(address: str, security: str | None) -> list[Finding]:
        asked.append((address, security))
        return []

    monkeypatch.setattr(looks, "look_at_cluster", answer)
    assert run(["doctor", "--cluster", "tls://192.0.2.7:8786", "--tls", "/no/such/keys", "--json"]) == 1
    assert asked == [("tls://192.0.2.7:8786", "/no/such/keys")]
    assert "TLS keys" in {row["topic"] for row in json.loads(capsys.readouterr().out)}


def test_this_environment_has_every_format() -> None:
    assert [(finding.topic, finding.level) for finding in look_at_formats()] == [
        ("rasters", "ok"),
        ("vectors", "ok"),
        ("GeoParquet", "ok"),
        ("coordinates", "ok"),
    ]


def test_formats_that_lack_are_named_with_what_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyogrio, "list_drivers", lambda **_: {"GPKG": "raw", "GeoJSON": "raw"})
    monkeypatch.setattr(pyarrow, "Codec", SimpleNamespace(is_available=lambda name: False))
    found = {finding.topic: finding for finding in look_at_formats()}
    assert found["vectors"].level == "fail"
    assert "lacks FlatGeobuf (labels and detections)" in found["vectors"].said
    assert found["GeoParquet"].level == "fail"
    assert "lacks zstd" in found["GeoParquet"].said

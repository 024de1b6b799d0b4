"""Models of every origin reach the workers as they are, and nothing else does."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rasterloom.cluster.places import Place
from rasterloom.models import from_torch
from rasterloom.models.build import build
from rasterloom.models.errors import (
    MissingInputError,
    ModelMismatchError,
    OutputError,
    PackageError,
    SettingError,
)
from rasterloom.models.networks.programs import Program, ProgramKind
from rasterloom.pipeline.inference.models import bands_for, load_staged, staged_model
from rasterloom.pipeline.packages.load import load_package
from rasterloom.pipeline.packages.save import save_package
from rasterloom.pipeline.rasters.open import describe
from tests.support.models import pixel_spec, random_model
from tests.support.networks import TinyNet, seeded
from tests.support.rasters import write_raster

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def _foreign(network=None, **changes):
    network = seeded(TinyNet) if network is None else network
    return from_torch(network, **({"classes": ["a", "b", "c"], "bands": 3, "tile_size": 64} | changes))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return save_package(random_model(), tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


def _answer(model):
    with torch.inference_mode():
        return model.network.eval()(IMAGES)


def test_every_form_of_a_trained_model_is_the_same_model(package, tmp_path):
    forms = [package, str(package), package.with_suffix(""), load_package(package), random_model()]
    digests = set()
    for number, form in enumerate(forms):
        with staged_model(form) as staged:
            digests.add(staged.digest)
            assert staged.spec == random_model().spec
            assert staged.tile_multiple == 8
            placed = staged.place(tmp_path / str(number))
        assert torch.equal(_answer(load_staged(placed)), _answer(random_model()))
    assert len(digests) == 1


def test_a_network_of_the_callers_own_reaches_the_workers_with_its_code(tmp_path):
    class Own(TinyNet):
        def forward(self, images):
            return {"out": super().forward(images) if len(images) else None}

    model = _foreign(seeded(Own))
    with staged_model(model) as staged:
        assert staged.digest == model.digest
        assert torch.equal(_answer(load_staged(str(staged.path))), _answer(model))
        placed = staged.place(tmp_path)
    name = Path(placed).name
    assert name == f"model-{hashlib.sha256(Path(placed).read_bytes()).hexdigest()}.dlpk"
    assert torch.equal(_answer(load_staged(placed)), _answer(model))
    assert not list(tmp_path.glob("*.tmp"))


def test_the_digest_does_not_depend_on_the_file(tmp_path):
    digests = set()
    for seed in (0, 0, 1):
        with staged_model(_foreign(seeded(TinyNet, seed))) as staged:
            digests.add(staged.digest)
    assert len(digests) == 2


def test_a_model_reaches_workers_through_an_object_store(package, bucket):
    place = Place.of(bucket) / "run/inputs"
    for model in (_foreign(), package):
        with staged_model(model) as staged:
            placed = staged.place(place)
            assert staged.place(place) == placed
        assert placed.startswith(f"{place.url}/model-")
        load_staged(placed)
    (place.parent / "models").write("unet.dlpk", package.read_bytes())
    with staged_model(f"{place.parent.url}/models/unet.dlpk") as staged:
        assert staged.digest == load_package(package).digest
        assert torch.equal(_answer(load_staged(staged.place(place))), _answer(random_model()))


def test_a_file_that_is_not_what_the_caller_put_there_is_refused(tmp_path):
    with staged_model(_foreign()) as staged:
        placed = Path(staged.place(tmp_path))
    spoilt = bytearray(placed.read_bytes())
    spoilt[-1] ^= 1
    placed.write_bytes(spoilt)
    with pytest.raises(PackageError, match="its content is not what this run put there"):
        load_staged(str(placed))
    placed.unlink()
    with pytest.raises(MissingInputError, match="is gone"):
        load_staged(str(placed))


def test_a_package_that_was_replaced_since_is_refused(package):
    load_staged(str(package), load_package(package).digest)
    with pytest.raises(PackageError, match="another model than it did"):
        load_staged(str(package), "0" * 64)


def test_a_package_with_a_program_is_taken_only_when_it_is_trusted(tmp_path):
    model = _foreign()
    path = model.save(tmp_path / "net")
    for form in (path, load_package(path)):
        with pytest.raises(PackageError, match="trust=True"), staged_model(form):
            pass
    trusted = load_package(path, trust=True)
    with staged_model(trusted) as staged:
        assert staged.digest == trusted.digest
        torch.testing.assert_close(_answer(load_staged(staged.place(tmp_path / "run"))), _answer(model))


class _Payload:
    def __reduce__(self):
        return (pytest.fail, ("code of a stranger was run",))


def test_code_in_a_strangers_package_is_never_run(tmp_path):
    buffer = io.BytesIO()
    torch.save(_Payload(), buffer)
    evil = save_package(
        _foreign(), tmp_path / "evil", program=Program(ProgramKind.PICKLED, buffer.getvalue())
    )
    with pytest.raises(PackageError, match="a pickled module"), staged_model(evil):
        pass
    with pytest.raises(PackageError, match="a pickled module"):
        load_staged(str(evil))


def test_staging_builds_no_network(package, monkeypatch):
    monkeypatch.setattr("rasterloom.models.build.build", lambda spec: pytest.fail("built"))
    model = build(pixel_spec())
    for form in (package, package.with_suffix(""), model):
        with staged_model(form) as staged:
            assert staged.tile_multiple == 8


def test_a_package_with_settings_that_cannot_work_is_refused(package):
    spec = load_package(package).spec
    spoilt = replace(load_package(package), spec=replace(spec, parameters={"encoder_depth": 99}))
    with pytest.raises(PackageError, match=r"contradicts itself: .*encoder_depth"), staged_model(spoilt):
        pass


def test_what_is_no_model_says_how_to_make_one(tmp_path):
    with pytest.raises(SettingError, match=r"made of TinyNet: .*from_torch"), staged_model(TinyNet()):
        pass
    with pytest.raises(MissingInputError), staged_model(tmp_path / "none.dlpk"):
        pass


def test_a_folder_that_cannot_be_written_is_an_error_of_the_output(package, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with staged_model(package) as staged, pytest.raises(OutputError, match="cannot be written"):
        staged.place(tmp_path / "file" / "inputs")


def test_facts_that_nobody_knows_are_not_warned_of(tmp_path):
    raster = describe(write_raster(tmp_path / "scene.tif", height=8, width=8, dtype="uint16"))
    assert bands_for(_foreign().spec, raster) == (0, 1, 2)
    with pytest.warns(UserWarning, match="crops was trained on uint8 pixels"):
        bands_for(_foreign(name="crops", dtype="uint8").spec, raster)
    with pytest.warns(UserWarning, match=r"crops was trained on cells of 10 .*'cellSize': 10"):
        bands_for(_foreign(name="crops", cell_size=10, crs="EPSG:32633").spec, raster)
    with pytest.raises(ModelMismatchError, match="crops was trained on 3 bands"):
        bands_for(_foreign(name="crops", extract_bands=[0, 1, 5]).spec, raster)

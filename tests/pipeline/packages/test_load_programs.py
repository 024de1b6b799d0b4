"""Packages that hold a program are read by anyone and run by those who trust them."""

import json
import shutil
import zipfile

import pytest
import torch

from rasterloom.cluster.places import Place
from rasterloom.models import from_torch
from rasterloom.models.errors import MissingInputError, PackageError, SettingError
from rasterloom.pipeline.packages.esri import PixelFunction
from rasterloom.pipeline.packages.load import build_model, load_package, read_package
from rasterloom.pipeline.packages.save import save_package
from tests.support.networks import TinyNet, seeded, write_onnx


@pytest.fixture(scope="module")
def foreign():
    return from_torch(seeded(TinyNet), classes=["a", "b", "c"], bands=3, tile_size=32, normalize=255)


@pytest.fixture(scope="module")
def stored(foreign, tmp_path_factory):
    return save_package(foreign, tmp_path_factory.mktemp("program") / "net")


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_description_is_read_without_trust_and_the_program_is_not(stored, foreign):
    for path in (stored, stored.with_suffix(""), str(stored)):
        package = load_package(path)
        assert package.spec == foreign.spec
        with pytest.raises(PackageError, match=r"net.* holds a torch\.export program"):
            build_model(package)


def test_a_trusted_package_is_built_in_any_form(stored, foreign, images):
    found = [load_package(path, trust=True) for path in (stored, stored.with_suffix(""))]
    found.append(read_package(stored.read_bytes(), source="it", trust=True))
    assert len({package.digest for package in found}) == 1
    for package in found:
        model = build_model(package)
        assert model.spec == foreign.spec
        with torch.inference_mode():
            assert torch.equal(model.network(images), foreign.network.eval()(images))


def test_equal_models_give_equal_packages(foreign, stored, tmp_path):
    assert save_package(foreign, tmp_path / "net").read_bytes() == stored.read_bytes()


def test_what_is_not_known_is_left_out_of_the_description(stored):
    with zipfile.ZipFile(stored) as archive:
        emd = json.loads(archive.read("net.emd"))
        page = archive.read("model_metrics.html").decode()
    assert emd["ModelFile"] == "net.pt2"
    assert "MinCellSize" not in emd
    assert [row["Value"] for row in emd["Classes"]] == [1, 2, 3]
    assert emd["Rasterloom"]["Spec"]["background"] is False
    assert page.count("not known") == 2


def test_an_onnx_package_needs_no_trust(tmp_path, images):
    pytest.importorskip("onnxruntime", reason="needs the extra rasterloom[onnx]")
    pytest.importorskip("onnxscript", reason="writes ONNX files")
    network = seeded(TinyNet).eval()
    path = write_onnx(tmp_path / "net.onnx", network)
    model = from_torch(path, classes=["a", "b", "c"], bands=3, tile_size=32)
    path.unlink()
    built = build_model(load_package(model.save(tmp_path / "package")))
    torch.testing.assert_close(built.network(images), network(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth", "net.exe"])
def test_weights_alone_are_no_program(stored, tmp_path, name):
    folder = shutil.copytree(stored.with_suffix(""), tmp_path / "net")
    emd = json.loads((folder / "net.emd").read_text())
    (folder / "net.pt2").rename(folder / name)
    (folder / "net.emd").write_text(json.dumps(emd | {"ModelFile": name}))
    with pytest.raises(PackageError, match=r"should be \.pt2, \.torchscript, \.onnx, \.pickle"):
        load_package(folder, trust=True)


def test_a_program_that_does_not_fit_its_description_is_refused(stored, tmp_path):
    folder = shutil.copytree(stored.with_suffix(""), tmp_path / "net")
    emd = json.loads((folder / "net.emd").read_text())
    emd["Rasterloom"]["Spec"]["parameters"]["outputs"] = "numbers"
    (folder / "net.emd").write_text(json.dumps(emd))
    with pytest.raises(PackageError, match="contradicts itself: outputs='numbers'"):
        build_model(load_package(folder, trust=True))
    (folder / "net.pt2").write_bytes(b"rubbish")
    with pytest.raises(PackageError, match="cannot be read"):
        build_model(load_package(folder, trust=True))


def test_a_package_is_read_from_an_object_store(saved, model, bucket):
    place = Place.of(bucket) / "models"
    place.write("fields.dlpk", saved.read_bytes())
    for given in (f"{place.url}/fields.dlpk", place / "fields.dlpk"):
        package = load_package(given)
        assert package.digest == load_package(saved).digest
        assert package.source == f"{place.url}/fields.dlpk"
    with pytest.raises(MissingInputError, match="is not there"):
        load_package(f"{place.url}/missing.dlpk")


def test_an_address_that_names_no_package_is_refused():
    with pytest.raises(PackageError, match=r"a URL must be that of a \.dlpk file"):
        load_package("memory://models/fields.emd")
    with pytest.raises(SettingError, match="has a query"):
        load_package("s3://models/fields.dlpk?key=secret")


def test_a_place_of_this_machine_is_a_path(saved):
    assert load_package(Place.of(saved)).digest == load_package(saved).digest


def test_other_software_gets_classes_where_there_is_no_background(stored, foreign):
    function = PixelFunction()
    function.initialize(model=str(stored))
    function.getConfiguration(padding="0", predict_background="False")
    pixels = torch.randint(0, 255, (3, 32, 32), generator=torch.Generator().manual_seed(1)).numpy()
    found = function.updatePixels((0, 0), (1, 32, 32), {}, raster_pixels=pixels)["output_pixels"]
    with torch.inference_mode():
        scores = foreign.network.eval()(torch.from_numpy(pixels / 255).float()[None])
    assert (found[0] == scores[0].argmax(0).numpy() + 1).all()

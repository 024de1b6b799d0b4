"""The user's guide to inference: its examples run as they stand, on small data."""

import json
import re
from pathlib import Path
from typing import Any

import geopandas
import pytest
import rasterio
import shapely

from rasterloom.pipeline.packages.save import save_package
from tests.support.models import random_model
from tests.support.rasters import write_raster

GUIDE = Path(__file__).parents[2] / "docs" / "inference.md"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the guide names."""
    monkeypatch.chdir(tmp_path)
    save_package(random_model(), tmp_path / "model", compute_metrics=False)
    write_raster("scene.tif", height=200, width=520)
    write_raster("lattice.tif", height=8, width=8, origin=(499_990.5, 5_000_003.25))
    Path("photos").mkdir()
    write_raster("photos/a.tif", height=100, width=100)
    write_raster("photos/b.tif", height=100, width=100, origin=(500_100.0, 5_000_000.0), cell=1.25, seed=1)
    for seed, name in enumerate(("red", "green", "blue")):
        write_raster(f"{name}.tif", height=100, width=100, bands=1, seed=seed)
    assets = {name: {"href": f"./{name}.tif", "roles": ["data"]} for name in ("red", "green", "blue")}
    item = {"type": "Feature", "stac_version": "1.0.0", "id": "a", "properties": {}, "assets": assets}
    Path("item.json").write_text(json.dumps(item))
    inside = shapely.Point(500_100, 4_999_900).buffer(60)
    geopandas.GeoDataFrame(geometry=[inside], crs="EPSG:32633").to_file("county.gpkg")
    return tmp_path


@pytest.mark.slow
def test_every_example_of_the_guide_runs(
    place: Path, client: Any, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import s3fs

    s3fs.S3FileSystem().put("scene.tif", f"{bucket}/scene.tif")
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(examples) >= 10
    names: dict[str, Any] = {}
    for example in examples:
        code = example.replace("s3://bucket", bucket).replace("output_name=", "progress=False, output_name=")
        exec(compile(code, GUIDE.name, "exec"), names)  # noqa: S102  the guide's own text is what is tested
    assert names["path"] == "large.vrt"
    with rasterio.open("large.vrt") as source, rasterio.open("classes.tif") as whole:
        assert (source.read() == whole.read()).all()
    assert Path("by_workers.tif").read_bytes() == Path("classes.tif").read_bytes()
    assert sorted(path.name for path in Path("maps").glob("*.tif")) == [
        "a_classified.tif",
        "b_classified.tif",
    ]
    assert 0 <= float(names["water"].max()) <= 1
    assert s3fs.S3FileSystem().exists(f"{bucket}/maps/classes.tif")

import pandas as pd
import pytest

from rasterloom.models.errors import MissingInputError, ReadError
from rasterloom.pipeline.inference.video.metadata import COLUMN, MetadataTable, read_targets
from rasterloom.pipeline.inference.video.vmti import FrameTargets, Target, vmti_set


def objects(number):
    target = Target((0, 0, number + 1, 5), "car", 1.0)
    return vmti_set(FrameTargets(number, 0, (20, 20), (target,)))


def fill(path, count):
    times = []
    with MetadataTable(path) as table:
        for number in range(count):
            times.append(table.time_of(number * 40_000))
            table.append(objects(number), times[-1])
    return times


def test_a_new_table_has_the_time_and_the_objects_of_every_frame(tmp_path):
    path = tmp_path / "m.csv"
    assert fill(path, 3) == [0, 40_000, 80_000]
    table = pd.read_csv(path, dtype=str)
    assert list(table.columns) == ["Precision Time Stamp", COLUMN]
    assert list(table["Precision Time Stamp"]) == ["0", "40000", "80000"]
    assert [bytes.fromhex(text) for text in table[COLUMN]] == [objects(n) for n in range(3)]
    assert [frame.targets[0].box[2] for frame in read_targets(path)] == [1, 2, 3]


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_rows_that_are_there_are_kept_as_they_are(tmp_path, sign):
    path = tmp_path / "m.csv"
    rows = [["Unix Time Stamp", "Sensor Latitude", "note"], ["1700", "01.50", f"a{sign}b"], ["1800", "", "ü"]]
    pd.DataFrame(rows[1:], columns=rows[0]).to_csv(path, sep=sign, index=False, encoding="utf-8-sig")
    assert fill(path, 2) == [1700, 1800]
    table = pd.read_csv(path, sep=sign, dtype=str, keep_default_na=False)
    assert table.drop(columns=COLUMN).to_numpy().tolist() == rows[1:]
    assert list(table[COLUMN]) == [objects(0).hex(), objects(1).hex()]


def test_frames_beyond_the_last_row_get_rows_and_rows_beyond_the_last_frame_stay(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("precision_time_stamp,x\n5,a\n")
    assert fill(path, 2) == [5, 40_000]
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert table.iloc[:, :2].to_numpy().tolist() == [["5", "a"], ["40000", ""]]
    fill(path, 1)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(table[COLUMN]) == [objects(0).hex(), ""]  # a second run replaces what the first one found
    assert [frame is None for frame in read_targets(path)] == [False, True]


def test_the_row_of_the_next_frame_can_be_looked_at_before_it_is_written(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("Sensor Latitude\n12.5\n")
    with MetadataTable(path) as table:
        assert table.waiting["sensorlatitude"] == "12.5"
        table.append(b"", 0)
        assert table.waiting == {}
        table.append(b"", 1)
    assert path.read_text() == f"Sensor Latitude,{COLUMN}\n12.5,\n,\n"


def test_a_run_that_fails_leaves_the_table_as_it_was(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("a\n1\n1,2\n")
    with pytest.raises(ReadError, match="row 2"):
        fill(path, 2)
    assert path.read_text() == "a\n1\n1,2\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_row_of_too_many_fields_is_named(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("a,b\n1,2\n1,2,3\n")
    with pytest.raises(ReadError, match=r"row 2 .* has 3 fields and the header 2"), MetadataTable(path):
        pass


def test_a_short_row_is_filled_up(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("a,b\n1\n")
    fill(path, 1)
    assert path.read_text() == f"a,b,{COLUMN}\n1,,{objects(0).hex()}\n"


def test_what_is_no_table_is_refused(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ReadError, match="no table of text"):
        MetadataTable(path)
    with pytest.raises(MissingInputError, match="no folder"):
        MetadataTable(tmp_path / "none" / "m.csv")


def test_reading_objects_says_what_is_wrong(tmp_path):
    path = tmp_path / "m.csv"
    with pytest.raises(MissingInputError, match="no metadata file"):
        list(read_targets(path))
    path.write_text("a\n1\n")
    with pytest.raises(ReadError, match=f"no column {COLUMN}: it has a"):
        list(read_targets(path))
    path.write_text(f"{COLUMN}\nzz\n")
    with pytest.raises(ReadError, match=r"row 0 .* no hexadecimal digits"):
        list(read_targets(path))

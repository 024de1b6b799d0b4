import csv
import tracemalloc

import numpy as np
import pytest

from rasterloom.models.errors import MissingInputError, OutputExistsError, ReadError, SettingError
from rasterloom.pipeline.inference.video.metadata import read_targets
from rasterloom.pipeline.inference.video.movie import inner_boxes
from rasterloom.pipeline.inference.video.packing import items, read_measured
from rasterloom.pipeline.inference.video.predict import predict_video
from tests.support.videos import BrightFinder, read_video, scene, write_video

SIZE = (150, 100)
TWO = [[(3 * k, 10, 3 * k + 30, 40), (100, 2 * k, 140, 2 * k + 25)] for k in range(14)]
"""Where two rectangles are in each frame; larger than what a chip owns, across its seams."""


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "cars.mov", [scene(SIZE, boxes) for boxes in TWO])


def boxes_of(path):
    return [
        [] if frame is None else sorted(target.box for target in frame.targets)
        for frame in read_targets(path)
    ]


def test_every_object_of_every_frame_is_in_the_metadata_once(video, tmp_path):
    result = predict_video(BrightFinder(tile=64), video, tmp_path / "m.csv")
    assert boxes_of(tmp_path / "m.csv") == [sorted(boxes) for boxes in TWO]
    assert (result.frames, result.objects, result.tracks) == (14, 28, 0)
    assert (result.output_file, result.multiplex_file) == (None, None)
    first = next(iter(read_targets(tmp_path / "m.csv")))
    assert {(target.label, target.score, target.track) for target in first.targets} == {("grey", 0.78, 0)}
    assert sorted(tmp_path.iterdir()) == [video, tmp_path / "m.csv"]


@pytest.mark.parametrize("resize", [False, True])
def test_it_does_not_matter_how_many_chips_are_seen_at_once(video, tmp_path, resize):
    tables = []
    for batch_size in (1, 4, 20):
        path = tmp_path / f"{batch_size}.csv"
        predict_video(BrightFinder(), video, path, resize=resize, batch_size=batch_size, track=True)
        tables.append(path.read_bytes())
    assert tables[0] == tables[1] == tables[2]


def test_rows_of_the_metadata_are_kept_and_say_when_a_frame_was_taken(video, tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("Precision Time Stamp,Sensor Latitude\n" + "".join(f"{10 + k},1.5\n" for k in range(14)))
    predict_video(BrightFinder(), video, path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["Precision Time Stamp"], row["Sensor Latitude"]) for row in rows] == [
        (str(10 + k), "1.5") for k in range(14)
    ]
    assert [frame.time for frame in read_targets(path)] == list(range(10, 24))
    assert [frame.frame for frame in read_targets(path)] == list(range(14))


def test_frames_without_objects_have_an_empty_field(tmp_path):
    video = write_video(tmp_path / "a.mov", [scene(SIZE, boxes) for boxes in ([], TWO[0], [])])
    assert predict_video(BrightFinder(), video, tmp_path / "m.csv").objects == 2
    assert [frame is None for frame in read_targets(tmp_path / "m.csv")] == [True, False, True]


def test_objects_are_tracked_with_their_options(video, tmp_path):
    options = {"detect_frames": 4}
    result = predict_video(BrightFinder(), video, tmp_path / "m.csv", track=True, tracker_options=options)
    assert result.tracks == 2
    tracks = [
        {target.track: target.box for target in frame.targets} for frame in read_targets(tmp_path / "m.csv")
    ]
    assert all(set(found) == {0} for found in tracks[:3])
    assert all(set(found) == {1, 2} for found in tracks[3:])
    for number in (1, 2):
        places = np.array([found[number] for found in tracks[3:]])
        assert len(np.unique(np.diff(places, axis=0), axis=0)) == 1  # each goes its own way, evenly


def test_a_threshold_between_the_scores_keeps_the_certain_ones(tmp_path):
    frame = np.maximum(scene(SIZE, [(5, 5, 30, 30)], (120,) * 3), scene(SIZE, [(60, 60, 90, 90)], (240,) * 3))
    video = write_video(tmp_path / "a.mov", [frame])
    counts = []
    for threshold in (0.1, 0.6, 0.95):
        counts.append(predict_video(BrightFinder(), video, tmp_path / "m.csv", threshold=threshold).objects)
    assert counts == [2, 1, 0]


def test_resized_frames_are_seen_once_and_boxes_are_those_of_the_frame(tmp_path):
    boxes = [(10, 10, 40, 30), (100, 60, 140, 90)]
    video = write_video(tmp_path / "a.mov", [scene((200, 100), boxes)])
    model = BrightFinder(tile=50)
    predict_video(model, video, tmp_path / "m.csv", resize=True)
    assert model.seen == [(1, 3, 50, 50)]
    assert np.abs(np.array(boxes_of(tmp_path / "m.csv")[0]) - boxes).max() <= 4  # a pixel seen is four across


def test_the_drawn_video_shows_the_boxes_in_their_colour(video, tmp_path):
    options = {"color": (255, 0, 0), "thickness": 3, "show_labels": False, "show_scores": False}
    result = predict_video(
        BrightFinder(),
        video,
        tmp_path / "m.csv",
        visualize=True,
        output_file_path=tmp_path / "out.mov",
        visual_options=options,
    )
    assert result.output_file == tmp_path / "out.mov"
    before, after = read_video(video), read_video(tmp_path / "out.mov")
    assert len(before) == len(after)
    for boxes, old, new in zip(TWO, before, after, strict=True):
        blue = new[..., 2].astype(int) - new[..., 0]  # frames are read with red first
        x1, y1, x2, y2 = boxes[0]
        assert blue[y1 : y1 + 1, x1 + 4 : x2 - 4].mean() > 90
        inside = (slice(y1 + 8, y2 - 8), slice(x1 + 8, x2 - 8))
        assert np.abs(new[inside].astype(int) - old[inside]).mean() < 25
        assert np.abs(new[-15:, :60].astype(int) - old[-15:, :60]).mean() < 12


def test_videos_are_named_after_the_video_unless_named(video, tmp_path):
    result = predict_video(BrightFinder(), video, tmp_path / "m.csv", visualize=True, multiplex=True)
    assert result.output_file == tmp_path / "cars_prediction.mov"
    assert result.multiplex_file == tmp_path / "cars_multiplex.MOV"
    assert len(read_video(result.output_file)) == len(read_video(result.multiplex_file)) == 14
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        predict_video(BrightFinder(), video, tmp_path / "m.csv", multiplex=True)
    predict_video(BrightFinder(), video, tmp_path / "m.csv", multiplex=True, visualize=True, overwrite=True)


def test_the_multiplexed_video_carries_packets_with_the_telemetry(video, tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("Unix Time Stamp,Sensor Latitude\n" + "".join(f"{10 + k},45\n" for k in range(14)))
    result = predict_video(BrightFinder(), video, path, multiplex=True)
    data = result.multiplex_file.read_bytes()
    packets = [content for kind, content in inner_boxes(data) if kind == b"mdat"][-1]
    key, found = bytes.fromhex("060e2b34020b01010e01030101000000"), []
    while packets:
        assert packets[:16] == key
        content, end = read_measured(packets, 16)
        found.append(dict(items(content)))
        packets = packets[end:]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [int.from_bytes(packet[2], "big") for packet in found] == list(range(10, 24))
    assert [packet[74].hex() for packet in found] == [row["vmtilocaldataset"] for row in rows]
    assert {packet[13].hex() for packet in found} == {"40000000"}  # half of 90 degrees
    assert all(
        (a == b).all() for a, b in zip(read_video(video), read_video(result.multiplex_file), strict=True)
    )


def test_bands_of_a_model_are_seen_in_its_own_order(tmp_path):
    video = write_video(tmp_path / "a.mov", [scene(SIZE, [(10, 10, 40, 40)], (250, 30, 30))])
    for bands in (("red", "green", "blue"), ("blue", "green", "red")):
        predict_video(BrightFinder(bands=bands), video, tmp_path / "m.csv")
        (frame,) = read_targets(tmp_path / "m.csv")
        assert [target.label for target in frame.targets] == ["red"]


def test_memory_does_not_grow_with_the_video(tmp_path):
    def peak(count):
        frames = (scene((320, 240), [(k % 200, 10, k % 200 + 30, 40)]) for k in range(count))
        video = write_video(tmp_path / f"{count}.mov", frames)
        model = BrightFinder(tile=320)
        model.detect = lambda images, **_: [model._found(images[0].numpy(), 0.5)]
        tracemalloc.start()
        predict_video(model, video, tmp_path / f"{count}.csv", track=True, multiplex=True)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(3)
    assert peak(40) < peak(8) + 100_000  # a frame has 230,400 bytes


def test_what_cannot_work_is_refused_before_anything_is_written(video, tmp_path):
    model, path = BrightFinder(), tmp_path / "m.csv"
    refused = [
        (SettingError, "4 bands", {"model": BrightFinder(bands=("a", "b", "c", "d"))}),
        (SettingError, "threshold=2", {"threshold": 2}),
        (SettingError, "nms_overlap=-1", {"nms_overlap": -1}),
        (SettingError, "batch_size=0", {"batch_size": 0}),
        (SettingError, "it knows assignment_iou_thrd", {"track": True, "tracker_options": {"x": 1}}),
        (SettingError, "it knows color", {"visual_options": {"x": 1}}),
        (SettingError, r"\.mp4", {"visualize": True, "output_file_path": tmp_path / "a.gif"}),
        (SettingError, r"\.mov", {"multiplex": True, "multiplex_file_path": tmp_path / "a.avi"}),
        (
            MissingInputError,
            "no folder",
            {"multiplex": True, "multiplex_file_path": tmp_path / "x" / "a.mov"},
        ),
        (SettingError, "different files", {"metadata_file": video}),
        (MissingInputError, "no video", {"input_video_path": tmp_path / "none.mp4"}),
    ]
    for error, told, given in refused:
        arguments = {"model": model, "input_video_path": video, "metadata_file": path} | given
        with pytest.raises(error, match=told):
            predict_video(**arguments)
    assert list(tmp_path.iterdir()) == [video]
    assert model.seen == []


def test_a_run_that_fails_leaves_the_outputs_as_they_were(video, tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("a\n" + "1\n" * 8 + "1,2\n")
    with pytest.raises(ReadError, match="row 9"):
        predict_video(BrightFinder(), video, path, visualize=True, multiplex=True)
    assert path.read_text() == "a\n" + "1\n" * 8 + "1,2\n"
    assert sorted(tmp_path.iterdir()) == [video, path]


def test_a_model_is_left_as_it_was(video, tmp_path):
    model = BrightFinder()
    model.network.train()
    predict_video(model, video, tmp_path / "m.csv")
    assert model.network.training


def test_cars_on_a_parking_area_are_followed(data_folder, tmp_path):
    video = data_folder / "video_cars" / "car-detection.mp4"
    result = predict_video(
        MovingFinder(tile=192),
        video,
        tmp_path / "m.csv",
        track=True,
        resize=True,
        batch_size=4,
        multiplex=True,
        multiplex_file_path=tmp_path / "cars.mp4",
    )
    assert result.frames == 377
    assert 4 <= result.tracks <= 12
    assert sum(frame is not None for frame in read_targets(tmp_path / "m.csv")) > 100
    assert len(read_video(tmp_path / "cars.mp4")) == 377


class MovingFinder(BrightFinder):
    """Finds what differs from the first frame, which shows the empty ground."""

    ground = None

    def _found(self, image, threshold):
        self.ground = image if self.ground is None else self.ground
        moved = np.abs(image - self.ground).max(axis=0) > 40
        found = super()._found(np.repeat(255.0 * moved[None], 3, axis=0), threshold)
        large = (found["boxes"][:, 2:] - found["boxes"][:, :2]).min(dim=1).values > 10
        return {name: values[large] for name, values in found.items()}

"""Seats: one rank to a worker, one GPU to a rank, and a folder that all of them share."""

import os

import pytest

from rasterloom.cluster import seats as seats_file
from rasterloom.cluster.seats import check_client, check_shared, seats_for
from rasterloom.models.errors import ClusterError, SettingError


def show_gpu(name):
    if name is None:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = name


@pytest.mark.parametrize("ranks", [0, 3, "two", True])
def test_more_ranks_than_workers_are_refused(pair, ranks):
    with pytest.raises(SettingError, match="use 1 to 2"):
        seats_for(pair, ranks)


def test_workers_that_see_the_same_gpus_take_one_each(pair):
    assert [seat.device for seat in seats_for(pair, None)] == [0, 1]
    first, second = (seat.worker for seat in seats_for(pair, None))
    try:
        for worker, gpu in ((first, "0"), (second, "1")):
            pair.run(show_gpu, gpu, workers=[worker])
        assert [seat.device for seat in seats_for(pair, None)] == [0, 0]
    finally:
        pair.run(show_gpu, None)


def test_a_folder_that_a_worker_cannot_use_is_told_with_the_worker(pair, tmp_path, monkeypatch):
    seats = seats_for(pair, 2)
    check_shared(pair, seats, tmp_path)
    assert list(tmp_path.iterdir()) == []
    # the worker looks into a folder of the same name that holds nothing, as on a disk of its own
    real = seats_file._try_folder
    elsewhere = str(tmp_path / "elsewhere")
    monkeypatch.setattr(seats_file, "_try_folder", lambda folder, token: real(elsewhere, token))
    with pytest.raises(ClusterError, match=rf"worker {seats[0].worker} .*No such file.*working_dir"):
        check_shared(pair, seats, tmp_path)


def test_what_is_no_client_is_refused():
    with pytest.raises(SettingError, match=r"rasterloom.cluster.connect\(\)"):
        check_client("tcp://10.0.0.1:8786")

import errno

import pytest

from rasterloom.cluster.failures import (
    WorkerDied,
    describe_error,
    is_data_error,
    is_storage_error,
    storage_failure,
)
from rasterloom.cluster.places import Place
from rasterloom.models import errors

DATA = [
    errors.ReadError("x"),
    MemoryError(),
    WorkerDied("x"),
    TimeoutError(),
    OSError(errno.EIO, "input/output"),
]
STORAGE = [
    errors.OutputError("x"),
    *(OSError(code, "x") for code in (errno.ENOSPC, errno.EACCES, errno.EROFS)),
]
PROGRAM = [TypeError(), KeyError("x"), ImportError(), AssertionError(), RuntimeError(), ZeroDivisionError()]
OURS = [
    getattr(errors, name)("x")
    for name in dir(errors)
    if name not in {"ReadError", "OutputError"} and isinstance(getattr(errors, name), type)
]


@pytest.mark.parametrize("error", DATA, ids=repr)
def test_data_errors_are_tried_again(error):
    assert is_data_error(error)
    assert not is_storage_error(error)


@pytest.mark.parametrize("error", STORAGE, ids=repr)
def test_storage_errors_are_not(error):
    assert is_storage_error(error)
    assert not is_data_error(error)


@pytest.mark.parametrize("error", [*PROGRAM, *OURS], ids=repr)
def test_everything_else_is_a_mistake(error):
    assert not is_data_error(error)
    assert not is_storage_error(error)


def test_the_space_wanted_follows_from_what_was_written(tmp_path):
    (tmp_path / "tile").write_bytes(bytes(3_000_000))
    failure = storage_failure(OSError(errno.ENOSPC, "No space left on device"), Place.of(tmp_path), 3, 10)
    assert "About 7.0 MB more are needed" in str(failure)
    assert "3 of 10 batches are kept" in str(failure)


def test_no_figures_are_invented_for_an_object_store():
    refused = storage_failure(PermissionError(errno.EACCES, "denied"), Place.of("s3://bucket/run"), 3, 10)
    assert "Make the folder writable" in str(refused)
    full = storage_failure(OSError(errno.ENOSPC, "quota"), Place.of("s3://bucket/run"), 3, 10)
    assert "Free some space, or choose another output" in str(full)
    assert "3 of 10 batches are kept in s3://bucket/run" in str(full)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.ReadError("tile 3\nis corrupt"), "tile 3 is corrupt"),
        (MemoryError(), "MemoryError"),
        (TimeoutError("no answer"), "TimeoutError: no answer"),
    ],
)
def test_an_error_is_told_in_one_line(error, words):
    assert describe_error(error) == words

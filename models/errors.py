"""Every error that rasterloom raises on purpose, in one tree.

RasterloomError
├── SettingError           (ValueError)         an argument that cannot work
├── MissingInputError      (FileNotFoundError)  a file or folder that is not there
├── RasterError            (ValueError)         a raster that cannot be used as it is
│   └── CrsError           (ValueError)         no coordinate reference system, or one that cannot be reached
├── ReadError              (OSError)            pixels that could not be read or decoded
├── LabelError             (ValueError)         labels that do not fit the raster or the request
├── StoreError             (ValueError)         a chip store that cannot be read
├── PackageError           (ValueError)         a model package that cannot be read
├── ModelMismatchError     (ValueError)         a model and a raster or data set that do not belong together
├── OutputExistsError      (FileExistsError)    something stands under the final name
├── OutputError            (OSError)            the output could not be written
├── MissingExtraError      (ImportError)        an optional package is not installed
├── PretrainedError        (ConnectionError)    pretrained weights could not be fetched
├── ClusterError           (RuntimeError)       the cluster cannot be reached or has no workers
├── TooManyFailures        (RuntimeError)       a run ended with more failed cells than allowed
└── RunInterrupted         (RuntimeError)       a run was cut off and can be resumed

Every class takes one string, because errors cross process borders by pickling.
"""


class RasterloomError(Exception):
    """Base of all errors raised on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class SettingError(RasterloomError, ValueError):
    """An argument that cannot work."""


class MissingInputError(RasterloomError, FileNotFoundError):
    """A file or folder that is not there."""


class RasterError(RasterloomError, ValueError):
    """A raster that cannot be used as it is."""


class CrsError(RasterError):
    """A raster or layer without a coordinate reference system, or with one that cannot be reached."""


class ReadError(RasterloomError, OSError):
    """Pixels that could not be read or decoded."""


class LabelError(RasterloomError, ValueError):
    """Labels that do not fit the raster or the request."""


class StoreError(RasterloomError, ValueError):
    """A chip store that cannot be read."""


class PackageError(RasterloomError, ValueError):
    """A model package that cannot be read."""


class ModelMismatchError(RasterloomError, ValueError):
    """A model and a raster or data set that do not belong together."""


class OutputExistsError(RasterloomError, FileExistsError):
    """Something stands under the final name of an output."""


class OutputError(RasterloomError, OSError):
    """The output could not be written."""


class MissingExtraError(RasterloomError, ImportError):
    """An optional package is not installed."""


class PretrainedError(RasterloomError, ConnectionError):
    """Pretrained weights could not be fetched."""


class ClusterError(RasterloomError, RuntimeError):
    """The cluster cannot be reached or has no workers."""


class TooManyFailures(RasterloomError, RuntimeError):
    """A run ended with more failed cells than allowed."""


class RunInterrupted(RasterloomError, RuntimeError):
    """A run was cut off; the same call resumes it."""

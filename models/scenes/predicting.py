"""Labels of photographs, folders of them, exported chips and features, for models of whole chips."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rasterloom.models.errors import SettingError
from rasterloom.models.services import service

Vote = tuple[Any, float]
"""A class name and its confidence, 0..1."""
Decision = Callable[[list[Vote]], Vote]
"""What several images of one feature make together."""


def predict(
    model: Any, img_path: Any, visualize: bool | str | Path = False, gradcam: bool = False
) -> tuple[Any, Any]:
    """The label of one image, seen once, at the size of a chip.

    Parameters
    ----------
    img_path
        Path of an image or raster, or an array (height, width, bands).
    visualize
        True draws the image with its label, in a notebook or a window; a path saves the picture there.
    gradcam
        Whether the picture also shows where in the image the label comes from. Needs ``visualize``.

    Returns
    -------
    tuple
        Name of the class and its probability, 0..1. Of a model of several labels, the names of all classes
        with a probability of 0.5 or more, the most probable first, and their probabilities.
    """
    if gradcam and not visualize:
        raise SettingError("gradcam=True is drawn into the picture, and there is none: set visualize=True.")
    found: tuple[Any, Any] = service("predict_scene")(model, img_path, visualize=visualize, gradcam=gradcam)
    return found


def predict_folder_and_create_layer(
    model: Any,
    folder: str | Path,
    feature_layer_name: str | Path,
    gis: None = None,
    prediction_field: str = "predict",
    confidence_field: str = "confidence",
    *,
    batch_size: int = 64,
    overwrite: bool = False,
) -> Path:
    """Label the photographs in a folder and write them as points where their GPS says they were taken.

    Photographs without a position are left out, and a warning tells how many.

    Parameters
    ----------
    folder
        Holds the photographs; folders in it are not looked into.
    feature_layer_name
        Path of the file of points to write. Without ending it is GeoParquet; .gpkg, .geojson and .fgb work.
    gis
        None: it belongs to a hosted GIS.
    prediction_field, confidence_field
        Names of the fields of the label and of its probability. The field ``image`` names the photograph.
    batch_size
        Photographs that the network sees at once.
    overwrite
        Replace the file where it exists.

    Returns
    -------
    pathlib.Path
        The file: points in WGS 84.
    """
    if gis is not None:
        raise SettingError("gis belongs to a hosted GIS: use gis=None. The points go to a file.")
    written: Path = service("predict_folder")(
        model,
        folder,
        feature_layer_name,
        prediction_field=prediction_field,
        confidence_field=confidence_field,
        batch_size=batch_size,
        overwrite=overwrite,
    )
    return written


def classify_features(
    model: Any,
    feature_layer: Any,
    labeled_tiles_directory: str | Path,
    input_label_field: str,
    output_label_field: str,
    confidence_field: str | None = None,
    predict_function: Decision | None = None,
) -> bool:
    """Label features by chips that were exported of each of them. ``classify_objects`` cuts them itself.

    Parameters
    ----------
    feature_layer
        Path of a vector file, which gets the new fields, or a GeoDataFrame, which gets new columns.
    labeled_tiles_directory
        Chips in the Labeled_Tiles format whose class values are those of ``input_label_field``.
    input_label_field
        The field of whole numbers, one of its own for each feature, that the chips were exported by.
    output_label_field
        The field to write labels to. Features without a chip get none.
    confidence_field
        The field to write probabilities to; None writes none.
    predict_function
        Decides where a feature has several chips: gets a list of (label, probability) and returns one. None
        takes the most probable.

    Returns
    -------
    bool
        True: the features are labelled.
    """
    service("classify_features")(
        model,
        feature_layer,
        labeled_tiles_directory,
        input_label_field=input_label_field,
        output_label_field=output_label_field,
        confidence_field=confidence_field,
        predict_function=predict_function or most_certain,
    )
    return True


def categorize_features(
    model: Any,
    feature_layer: Any,
    raster: Any = None,
    class_value_field: str = "class_val",
    class_name_field: str = "prediction",
    confidence_field: str | None = "confidence",
    cell_size: float = 1,
    coordinate_system: Any = None,
    predict_function: Decision | None = None,
    batch_size: int = 64,
    overwrite: bool = False,
) -> bool:
    """Label features by what a raster shows of them, or by photographs attached to them.

    ``classify_objects`` is the tool for many features: it reads each part of the raster once.

    Parameters
    ----------
    feature_layer
        Path of a vector file, which gets the new fields, or a GeoDataFrame, which gets new columns.
    raster
        Path of a raster, or whatever else the tools take. None looks at the images that the field
        ``attachments`` names: a path, or a list of paths, relative to the vector file.
    class_value_field, class_name_field, confidence_field
        The fields to write class values, class names and probabilities to; None for no probabilities.
    cell_size
        Side of a pixel of what the network sees, in units of ``coordinate_system``.
    coordinate_system
        EPSG code or CRS in which chips are cut; None takes the raster's.
    predict_function
        Decides where a feature has several attachments: gets a list of (label, probability) and returns one.
        None takes the most probable.
    batch_size
        Chips that the network sees at once.
    overwrite
        Replace fields of these names where the features have them already.

    Returns
    -------
    bool
        True: the features are labelled.
    """
    service("categorize_features")(
        model,
        feature_layer,
        raster,
        class_value_field=class_value_field,
        class_name_field=class_name_field,
        confidence_field=confidence_field,
        cell_size=cell_size,
        coordinate_system=coordinate_system,
        predict_function=predict_function or most_certain,
        batch_size=batch_size,
        overwrite=overwrite,
    )
    return True


def most_certain(votes: Sequence[Vote]) -> Vote:
    """The vote with the highest confidence; the first of equals."""
    return max(votes, key=lambda vote: vote[1])

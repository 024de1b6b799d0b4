"""What changed between two single images, for every model of change."""

from typing import TYPE_CHECKING, Any

from rasterloom.models.services import service

if TYPE_CHECKING:
    from torch import Tensor


def predict_change(model: Any, before_image: Any, after_image: Any, **kwargs: Any) -> "Tensor":
    """What changed between two images.

    Parameters
    ----------
    before_image, after_image
        Paths of images or rasters of one size, or arrays (height, width, bands). They lie on each other pixel
        by pixel; rasters on different grids are for ``detect_change_using_deep_learning``.
    kwargs
        ``crop_predict`` (False): see the images chip by chip, joined without seams, as for images larger than
        the chips that the model was trained on; otherwise they are seen at once. ``visualize`` (False): True
        draws both images and the change, in a notebook or a window; a path saves the picture there.
        ``save`` (False): True writes the class values as a raster beside the later image, its name with
        ``_change``; a path writes them there. ``overwrite`` (False): replace that file.
        ``batch_size`` (4): chips that the network sees at once.

    Returns
    -------
    torch.Tensor
        Class value of each pixel, (height, width) int64; 0 is no change.

    Raises
    ------
    SettingError
        If a setting cannot work, or the images differ in size.
    MissingInputError, ReadError
        If there is no such image, or it cannot be read.
    ModelMismatchError
        If an image has not the bands that the model sees.
    OutputExistsError
        If the file to save is there already.
    """
    found: Tensor = service("predict_change")(model, before_image, after_image, **kwargs)
    return found

"""Hold a model ready on a device and turn chips into class indices."""

import numpy as np
import torch

from rasterloom.cluster.resident import forward_lock, resident
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.packages.load import build_model, load_package


class PixelPredictor:
    """A network in evaluation mode that says which class each pixel of a chip is."""

    def __init__(self, model: ImageryModel, device: str) -> None:
        self.device = torch.device(device)
        self.model = model
        # channels_last is 1.3 to 3 times faster on CPU; one format per run keeps the arithmetic the same
        self.network = model.network.eval().to(self.device).to(memory_format=torch.channels_last)
        shape, scaling = (1, -1, 1, 1), model.spec.normalization
        self.mean = torch.tensor(scaling.mean, dtype=torch.float32, device=self.device).view(shape)
        self.std = torch.tensor(scaling.std, dtype=torch.float32, device=self.device).view(shape)

    def classify(
        self, chips: np.ndarray, valid: np.ndarray, *, padding: int, background: bool = True
    ) -> np.ndarray:
        """Class index of the centre of every chip.

        Parameters
        ----------
        chips
            (N, C, T, T) in the raster's own type.
        valid
            (N, T, T) of bool. Pixels that are not valid are given the band's mean.
        padding
            Pixels dropped on each side.
        background
            Whether index 0 may win.

        Returns
        -------
        ndarray of uint8 or int16, (N, T - 2 * padding, T - 2 * padding)
        """
        with forward_lock(str(self.device)), torch.inference_mode():
            pixels = torch.from_numpy(chips.astype(np.float32)).to(self.device, non_blocking=True)
            normal = (pixels - self.mean) / self.std
            normal *= torch.from_numpy(valid).to(self.device)[:, None]  # the band's mean is 0 once normalised
            logits = self.network(normal.contiguous(memory_format=torch.channels_last))
            side = slice(padding, logits.shape[-1] - padding)
            kept = self.model.probabilities(logits[..., side, side])  # (N, K, S, S)
            if not background:
                kept[:, 0] = -1.0
            index = kept.argmax(dim=1)
            small = torch.uint8 if kept.shape[1] <= 256 else torch.int16
            return index.to(small).cpu().numpy()


def load_predictor(package: str, digest: str, device: str) -> PixelPredictor:
    """The predictor of a package, loaded once in this process."""

    def load() -> PixelPredictor:
        return PixelPredictor(build_model(load_package(package)), device)

    return resident(f"pixels-{digest}-{device}", load)

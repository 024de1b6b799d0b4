"""Roads, found together with their orientation."""

from typing import final

from rasterloom.models.roads.extractor import LineExtractor


@final
class MultiTaskRoadExtractor(LineExtractor):
    """Finds roads, and learns how they lie so that they hang together.

    References
    ----------
    Batra, Singh, Pang, Basu, Jawahar, Paluri (2019), "Improved Road Connectivity by Joint Learning of
    Orientation and Segmentation", doi:10.1109/CVPR.2019.01063.
    """

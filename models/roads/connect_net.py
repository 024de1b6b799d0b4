"""Lines of any kind, found together with their orientation."""

from typing import final

from rasterloom.models.roads.extractor import LineExtractor


@final
class ConnectNet(LineExtractor):
    """Finds rivers, ditches, tracks or other lines, and learns how they lie so that they hang together.

    Networks and settings are those of :class:`~rasterloom.models.roads.multi_task.MultiTaskRoadExtractor`.

    References
    ----------
    Batra, Singh, Pang, Basu, Jawahar, Paluri (2019), "Improved Road Connectivity by Joint Learning of
    Orientation and Segmentation", doi:10.1109/CVPR.2019.01063.
    """

"""Chips of rare classes seen more often."""

from dataclasses import replace

import numpy as np

from rasterloom.pipeline.datasets.data import ImageryData


def oversampled(data: ImageryData) -> ImageryData:
    """The data with chips to train on repeated until every class has as many as the most frequent one.

    Chips of a class take turns, so that none is seen more than once oftener than another of its class. The
    views of a chip that is seen twice are drawn apart. Chips to validate with stay as they are.
    """
    presence = data.train.presence()  # (n, k)
    classes = presence.argmax(axis=1)
    known = presence.any(axis=1)
    counts = np.bincount(classes[known], minlength=presence.shape[1])
    most = int(counts.max(initial=0))
    chosen = [np.flatnonzero(~known)]
    for number in np.flatnonzero(counts):
        own = np.flatnonzero(known & (classes == number))
        chosen.append(np.resize(own, most))
    places = np.sort(np.concatenate(chosen))
    return replace(data, train=replace(data.train, indices=data.train.indices[places]))

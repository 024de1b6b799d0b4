import torch

from rasterloom.models.networks.parts import Part, training_parts


def test_plain_logits_are_one_part_that_counts_fully():
    logits, targets = torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)
    (part,) = training_parts(logits)
    assert part.logits is logits
    assert part.weight == 1
    assert part.target(targets) is targets


def test_several_parts_stay_in_their_order():
    parts = [Part(torch.zeros(1)), Part(torch.ones(1), weight=0.4)]
    assert training_parts(parts) == parts


def test_the_target_of_a_point_is_that_of_the_pixel_it_lies_in():
    targets = torch.arange(2 * 3 * 4).reshape(2, 3, 4)
    points = torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(0))
    found = Part(torch.zeros(2, 5, 50, 1), at=points).target(targets)
    assert found.shape == (2, 50, 1)
    for chip in range(2):
        for point in range(50):
            x, y = points[chip, point].tolist()
            assert found[chip, point, 0] == targets[chip, int(y * 3), int(x * 4)]


def test_a_point_on_the_far_edge_belongs_to_the_last_pixel():
    targets = torch.arange(6).reshape(1, 2, 3)
    points = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert Part(torch.zeros(1, 1, 2, 1), at=points).target(targets).flatten().tolist() == [5, 0]

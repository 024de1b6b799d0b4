import pytest
import torch
from hypothesis import given, settings, strategies as st
from torchvision.ops import box_iou

from rasterloom.models.networks import found
from rasterloom.models.networks.found import each_once, found_objects

SIZE = (40, 60)


def _random(count, seed, classes=3):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([60.0, 40.0]) - 5
    boxes = torch.cat([corner, corner + torch.rand(count, 2, generator=generator) * 20 + 1], dim=1)
    # few different scores, so that some are equal
    return boxes, torch.randint(0, 8, (count, classes), generator=generator) / 8


def _plainly(boxes, probabilities, threshold, overlap):
    """A loop that keeps the most certain box, and of those that remain the most certain again."""
    height, width = SIZE
    kept = []
    order = sorted(range(len(boxes)), key=lambda i: (-float(probabilities[i].max()), i))
    for i in order:
        score, label = probabilities[i].max(dim=0)
        box = boxes[i].clamp(torch.zeros(4), torch.tensor([width, height, width, height]))
        if score < threshold or (box[2:] - box[:2]).min() <= 0:
            continue
        if all(int(label) != other or box_iou(box[None], there[None]) <= overlap for there, other, _ in kept):
            kept.append((box, int(label), float(score)))
    return kept


@settings(max_examples=40)
@given(
    count=st.integers(0, 40),
    seed=st.integers(0, 10**6),
    threshold=st.sampled_from([0.0, 0.3, 0.9]),
    overlap=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_objects_are_those_that_a_plain_loop_keeps(count, seed, threshold, overlap):
    boxes, probabilities = _random(count, seed)
    objects = found_objects(boxes, probabilities, size=SIZE, threshold=threshold, nms_overlap=overlap)
    plain = _plainly(boxes, probabilities, threshold, overlap)
    assert objects["labels"].tolist() == [label + 1 for _, label, _ in plain]
    assert objects["scores"].tolist() == [score for _, _, score in plain]
    assert torch.equal(objects["boxes"], torch.stack([torch.zeros(4), *(box for box, _, _ in plain)])[1:])


def test_numbers_that_are_none_are_no_objects():
    boxes = torch.tensor([[1.0, 1, 5, 5], [torch.nan, 1, 5, 5], [1.0, 1, torch.inf, 5], [10.0, 10, 20, 20]])
    probabilities = torch.tensor([[torch.nan], [0.9], [0.8], [0.7]])
    objects = found_objects(boxes, probabilities, size=SIZE, threshold=0.0, nms_overlap=0.5)
    assert objects["scores"].tolist() == pytest.approx([0.8, 0.7])
    assert objects["boxes"][0].tolist() == [1, 1, 60, 5]


def test_only_the_most_certain_boxes_are_compared(monkeypatch):
    monkeypatch.setattr(found, "MOST_CANDIDATES", 5)
    boxes = torch.arange(20.0)[:, None] + torch.tensor([0.0, 0, 0.5, 0.5])
    scores = torch.linspace(0.1, 0.9, 20)
    objects = found_objects(boxes, scores[:, None], size=SIZE, threshold=0.2, nms_overlap=0.5)
    assert objects["scores"].tolist() == scores.flip(0)[:5].tolist()


@given(st.integers(0, 10_000), st.integers(0, 30), st.floats(0.05, 0.95), st.floats(0, 1))
def test_what_is_kept_is_what_a_plain_loop_keeps(seed, count, overlap, threshold):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 20, (count, 2), generator=generator).float()
    boxes = torch.cat([corner, corner + torch.randint(1, 12, (count, 2), generator=generator)], dim=1)
    scores = torch.randint(0, 8, (count,), generator=generator) / 8
    labels = torch.randint(1, 3, (count,), generator=generator)
    found = each_once(
        {"boxes": boxes, "labels": labels, "scores": scores}, threshold=threshold, nms_overlap=overlap
    )
    shares, kept = box_iou(boxes, boxes), []
    for place in sorted(range(count), key=lambda place: -scores[place]):
        rivals = [other for other in kept if labels[other] == labels[place]]
        if scores[place] >= threshold and all(shares[place, other].item() <= overlap for other in rivals):
            kept.append(place)
    assert torch.equal(found["boxes"], boxes[kept])
    assert torch.equal(found["scores"], scores[kept])

import pytest
import torch
from torch.nn import functional as F

from rasterloom.models.errors import SettingError
from rasterloom.models.networks.pointrend import (
    REFINED_SHARE,
    TRAINING_SHARE,
    PointRend,
    Windows,
    check_dilation,
)
from tests.support.networks import seeded


def _points(outputs: int = 3, fine: int = 2, ignored=()) -> PointRend:
    rend = seeded(lambda: PointRend(fine_channels=fine, outputs=outputs, ignored=ignored))
    with torch.no_grad():
        rend.last.weight.mul_(1000)  # its answers are far from 0
    return rend.eval()


def _maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _value(maps: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """Bilinear value of (C, h, w) maps at a point in 0..1; the outermost values go on beyond the centres."""
    height, width = maps.shape[1:]
    row = min(max(y * height - 0.5, 0), height - 1)
    column = min(max(x * width - 0.5, 0), width - 1)
    top, left = int(row), int(column)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = row - top, column - left
    upper = (1 - across) * maps[:, top, left] + across * maps[:, top, right]
    lower = (1 - across) * maps[:, bottom, left] + across * maps[:, bottom, right]
    return (1 - down) * upper + down * lower


def _score(rend: PointRend, coarse: torch.Tensor, fine: list[torch.Tensor], x: float, y: float):
    guess = _value(coarse[rend.kept], x, y)
    found = torch.cat([_value(each, x, y) for each in fine])
    for layer in rend.hidden:
        found = (layer.weight[:, :, 0] @ torch.cat([found, guess]) + layer.bias).relu()
    return rend.last.weight[:, :, 0] @ torch.cat([found, guess]) + rend.last.bias


def _by_loop(rend: PointRend, coarse: torch.Tensor, fine: list[torch.Tensor], doublings: int):
    """What the paper's section 3.1 says, for one chip and point by point."""
    found = coarse
    for _ in range(doublings):
        found = F.interpolate(found[None], scale_factor=2.0, mode="bilinear")[0]
        height, width = found.shape[1:]
        best = found[rend.kept].sort(dim=0, descending=True).values
        doubt = (best[1] - best[0]).flatten().tolist()
        order = sorted(range(height * width), key=lambda index: (-doubt[index], index))
        for index in order[: height * width // REFINED_SHARE + 1]:
            row, column = divmod(index, width)
            x, y = (column + 0.5) / width, (row + 0.5) / height
            found[:, row, column] = _score(rend, coarse, fine, x, y)
    return found


@torch.no_grad()
@pytest.mark.parametrize("ignored", [(), (1,)])
def test_inference_is_subdivision_point_by_point(ignored):
    rend = _points(4, 5, ignored)
    coarse, fine = _maps(2, 4, 3, 4), [_maps(2, 2, 12, 16, seed=1), _maps(2, 3, 6, 8, seed=2)]
    found = rend(coarse, fine, doublings=2)
    assert found.shape == (2, 4, 12, 16)
    for chip in range(2):
        wanted = _by_loop(rend, coarse[chip], [each[chip] for each in fine], 2)
        torch.testing.assert_close(found[chip], wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_without_doublings_the_coarse_scores_stay():
    coarse = _maps(1, 3, 4, 4)
    assert torch.equal(_points()(coarse, [_maps(1, 2, 8, 8)], doublings=0), coarse)


@torch.no_grad()
def test_where_all_is_equally_in_doubt_the_first_points_are_refined():
    coarse, fine = torch.zeros(1, 3, 4, 4), [torch.ones(1, 2, 8, 8)]
    found = _points()(coarse, fine, doublings=1)
    changed = (found != 0).any(1).flatten()
    count = 64 // REFINED_SHARE + 1
    assert changed[:count].all()
    assert not changed[count:].any()


@torch.no_grad()
def test_scores_of_ignored_outputs_change_nothing_else():
    rend, fine = _points(3, 2, (1,)), [_maps(2, 2, 8, 8, seed=1)]
    coarse = _maps(2, 3, 4, 4)
    loud = coarse.clone()
    loud[:, 1] += 50 * _maps(2, 4, 4, seed=3)
    plain, other = rend(coarse, fine, doublings=1), rend(loud, fine, doublings=1)
    assert torch.equal(plain[:, [0, 2]], other[:, [0, 2]])


@torch.no_grad()
def test_half_precision_stays_half_precision():
    rend = _points().to(torch.bfloat16)
    coarse, fine = _maps(1, 3, 4, 4).bfloat16(), [_maps(1, 2, 8, 8).bfloat16()]
    assert rend(coarse, fine, doublings=1).dtype == torch.bfloat16
    assert rend.training_part(coarse, fine, (8, 8)).logits.dtype == torch.bfloat16


def _drawn(seed: int, coarse: torch.Tensor) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _points().training_part(coarse, [_maps(2, 2, 64, 64)], (64, 64)).at


def test_training_points_lie_in_the_chip_and_mostly_where_classes_meet():
    coarse = torch.full((2, 3, 16, 16), -9.0)
    coarse[:, 0], coarse[:, 1] = torch.linspace(5, -5, 16), torch.linspace(-5, 5, 16)  # equal in the middle
    at = _drawn(0, coarse)
    assert at.shape == (2, 64 * 64 // TRAINING_SHARE, 2)
    assert ((at >= 0) & (at < 1)).all()
    near = ((at[..., 0] - 0.5).abs() < 1 / 8).float().mean()
    assert near > 0.7  # in a quarter of the chip
    assert (at[..., 0] - 0.5).abs().max() > 0.4  # and some are anywhere
    assert (at[..., 1].std() - 12**-0.5).abs() < 0.05  # evenly spread along the edge


def test_training_points_come_from_the_generator_of_torch():
    coarse = _maps(2, 3, 16, 16)
    assert torch.equal(_drawn(0, coarse), _drawn(0, coarse))
    assert not torch.equal(_drawn(0, coarse), _drawn(1, coarse))


def test_training_scores_are_those_of_the_points():
    rend, coarse, fine = _points(), _maps(1, 3, 4, 4), _maps(1, 2, 8, 8)
    with torch.no_grad():
        part = rend.training_part(coarse, [fine], (8, 8))
        for number, (x, y) in enumerate(part.at[0].tolist()):
            wanted = _score(rend, coarse[0], [fine[0]], x, y)
            torch.testing.assert_close(part.logits[0, :, number, 0], wanted, rtol=1e-4, atol=1e-4)


def test_edges_get_sharper_than_interpolation_makes_them():
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    truth = ((rows - 13) ** 2 + (columns - 17) ** 2 < 100).long()[None]
    fine = F.one_hot(truth, 2).movedim(-1, 1).float()
    coarse = F.avg_pool2d(10 * fine - 5, 4)
    rend = seeded(lambda: PointRend(fine_channels=2, outputs=2))
    optimizer = torch.optim.Adam(rend.parameters(), lr=1e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(60):
            part = rend.training_part(coarse, [fine], (32, 32))
            optimizer.zero_grad()
            F.cross_entropy(part.logits, part.target(truth)).backward()
            optimizer.step()
    with torch.no_grad():
        rendered = rend(coarse, [fine], doublings=2).argmax(1)
    plain = F.interpolate(coarse, size=(32, 32), mode="bilinear").argmax(1)
    assert (rendered != truth).sum() < (plain != truth).sum() / 2


def test_dilation_is_kept_with_pointrend_only():
    check_dilation(pointrend=True, keep_dilation=True)
    check_dilation(pointrend=False, keep_dilation=False)
    with pytest.raises(SettingError, match="use it with pointrend=True"):
        check_dilation(pointrend=False, keep_dilation=True)


def test_a_window_is_seen_as_an_image_of_its_own():
    maps = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    # the right upper quarter of the second image
    windows = Windows(maps, torch.tensor([[0.5, 0.0, 1.0, 0.5]]), (0, 1))
    inner = torch.rand(1, 50, 2, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1
    quarter = maps[1:, :, :8, 8:]
    grid = (2 * inner - 1).unsqueeze(2)
    expected = F.grid_sample(quarter, grid, align_corners=False).squeeze(3)
    torch.testing.assert_close(windows.at(inner), expected)


def test_windows_are_as_many_as_their_images_say():
    windows = Windows(torch.randn(3, 2, 4, 4), torch.rand(5, 4), (2, 0, 3))
    assert windows.at(torch.rand(5, 7, 2)).shape == (5, 2, 7)

"""Acquisition functions: equation 1 and the entropy written out as loops, k-center by brute force, and every refusal."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fa_lib.acquisition import choose, discard_hardest, k_center_greedy, nnm, spatial_entropy, unsureness
from fa_lib.heatmaps import decode, draw

F64 = torch.float64
seeds = st.integers(0, 2**32 - 1)


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Numbers of both signs."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# -- NNM --


def literal_nnm(maps: Tensor, window: int, landmarks: Tensor) -> list[float]:
    """Equation 1, cell by cell; what lies outside of the map is left out."""
    result = []
    for face, points in zip(maps.tolist(), landmarks.tolist()):
        total = 0.0
        for cells, (x, y) in zip(face, points):
            for v in range(round(y) - window // 2, round(y) + window // 2 + 1):
                for u in range(round(x) - window // 2, round(x) + window // 2 + 1):
                    if 0 <= v < len(cells) and 0 <= u < len(cells[0]):
                        total += cells[v][u]
        result.append(-total)
    return result


@settings(max_examples=40)
@given(seeds, st.sampled_from([1, 3, 5, 9, 15]), st.tuples(st.integers(5, 12), st.integers(5, 12)))
def test_nnm_is_equation_1(seed: int, window: int, side: tuple[int, int]):
    maps, where = noise(2, 3, *side, seed=seed), 5 + 6 * noise(2, 3, 2, seed=seed + 1)  # some landmarks are outside
    assert nnm(maps, window, where).tolist() == pytest.approx(literal_nnm(maps, window, where), abs=1e-12)
    assert nnm(maps, window).tolist() == pytest.approx(literal_nnm(maps, window, decode(maps, "box_blur")), abs=1e-12)


@settings(max_examples=20)
@given(seeds)
def test_nnm_is_minus_81_times_the_maxima_of_the_blurred_maps(seed: int):
    maps = noise(3, 4, 14, 11, seed=seed)
    padded = np.pad(maps.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
    blurred = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), (2, 3)).mean((-1, -2))
    np.testing.assert_allclose(nnm(maps), -81 * blurred.max((-1, -2)).sum(-1), rtol=1e-12)


def test_convention_x_before_y_in_nnm():
    maps = torch.zeros(1, 1, 4, 7)
    maps[0, 0, 1, 5] = 2.0  # row y, column x
    assert nnm(maps, 1, torch.tensor([[[5.0, 1.0]]])) == -2 and nnm(maps, 3, torch.tensor([[[1.0, 5.0]]])) == 0


def test_nnm_of_a_whole_peak_is_its_mass():
    """A Gaussian of 1.5 cells has 2 pi 1.5^2 within 9 x 9 but for 0.5 %; cut in half by the border, (1 + what is on it) / 2."""
    mass = 2 * math.pi * 1.5**2
    assert nnm(draw(torch.tensor([[[12.0, 14.0]]]), 32, 1.5)).item() == pytest.approx(-mass, rel=0.006)
    on_border = draw(torch.tensor([[[0.0, 14.0]]]), 32, 1.5)
    half = (mass + on_border[0, 0, :, 0].sum().item()) / 2
    assert nnm(on_border, 9, torch.tensor([[[0.0, 14.0]]])).item() == pytest.approx(-half, rel=0.006)


def test_unsure_faces_score_higher():
    sure = draw(torch.tensor([[[12.0, 14.0], [8.0, 20.0]]]), 32, 1.5)
    apart = draw(torch.tensor([[[22.0, 14.0], [24.0, 9.0]]]), 32, 1.5)
    maps = torch.cat([sure, (sure + apart) / 2, 0.3 * sure])  # two places at half height; a low peak
    assert nnm(maps).argsort().tolist() == [0, 1, 2]
    assert spatial_entropy(maps).argmax() == 1
    torch.testing.assert_close(spatial_entropy(maps)[2], spatial_entropy(maps)[0])  # which the entropy does not see


# -- entropy --


def literal_entropy(maps: Tensor) -> list[float]:
    result = []
    for face in maps.flatten(2).tolist():
        each = []
        for cells in face:
            mass = [max(value, 0.0) for value in cells]
            total = sum(mass)
            shares = [value / total if total > 0 else 1 / len(mass) for value in mass]
            each.append(-sum(p * math.log(p) for p in shares if p > 0))
        result.append(sum(each) / len(each))
    return result


@settings(max_examples=30)
@given(seeds)
def test_entropy_is_its_definition(seed: int):
    maps = noise(3, 4, 6, 5, seed=seed)
    maps[0, 1] = maps[0, 1].abs().neg()  # nothing positive
    assert spatial_entropy(maps).tolist() == pytest.approx(literal_entropy(maps), abs=1e-12)
    for scale in (1e-6, 1e6):
        torch.testing.assert_close(spatial_entropy((scale * maps).float()), spatial_entropy(maps).float(), rtol=1e-5, atol=0)


def test_entropy_has_its_ends():
    one, two, flat, none = torch.zeros(4, 1, 6, 5)
    one[..., 2, 3], flat[:] = 7.0, 0.1
    two[..., 0, 0] = two[..., 5, 4] = 7.0
    found = spatial_entropy(torch.stack([one, two, flat, none])).tolist()
    assert found == pytest.approx([0, math.log(2), math.log(30), math.log(30)], abs=1e-6)
    torch.testing.assert_close(
        spatial_entropy(torch.stack([one, two], 1)), torch.tensor([math.log(2) / 2])
    )  # mean over landmarks


@pytest.mark.parametrize("score", [nnm, spatial_entropy])
def test_faces_are_scored_each_for_itself(score):
    maps, before = noise(4, 3, 12, 12), noise(4, 3, 12, 12)
    torch.testing.assert_close(score(maps), torch.cat([score(face[None]) for face in maps]), rtol=1e-13, atol=0)
    assert score(maps[:0]).shape == (0,) and torch.equal(maps, before)


@pytest.mark.parametrize("score", [nnm, spatial_entropy])
def test_half_precision_is_added_up_in_full(score):
    maps = draw(torch.full((1, 2, 2), 31.3), 64, 7.0).half()
    assert torch.equal(score(maps), score(maps.float())) and score(maps).dtype == torch.float32


@pytest.mark.parametrize("score", [nnm, spatial_entropy])
def test_a_broken_map_is_not_a_score(score, refusal):
    maps = noise(2, 3, 12, 12)
    maps[1, 0, 4, 4] = math.nan
    scores = score(maps)
    assert scores.isfinite().tolist() == [True, False]
    refusal("finite", choose, scores, 1)


# -- k-center --


def literal_k_center(features: np.ndarray, chosen: list[int], count: int) -> list[int]:
    """All distances again at every step."""
    found = []
    for _ in range(count):
        taken = [*chosen, *found]
        free = [i for i in range(len(features)) if i not in taken]
        gap = {i: min((sum((features[i] - features[j]) ** 2) for j in taken), default=math.inf) for i in free}
        found.append(min(free, key=lambda i: (-gap[i], i)))
    return found


def radius(features: np.ndarray, centres: list[int]) -> float:
    """How far the worst covered point is from its centre."""
    return max(min(math.dist(point, features[i]) for i in centres) for point in features)


@settings(max_examples=40)
@given(seeds, st.integers(0, 3), st.integers(1, 6))
def test_k_center_by_brute_force_with_ties_and_duplicates(seed: int, known: int, count: int):
    random = np.random.default_rng(seed)
    features = random.integers(0, 4, (12, 2)).astype(float)  # on a grid: many are equal or equally far
    chosen = random.permutation(12)[:known].tolist()
    assert k_center_greedy(torch.tensor(features), chosen, count) == literal_k_center(features, chosen, count)


@settings(max_examples=20)
@given(seeds)
def test_k_center_covers_at_most_twice_as_badly_as_the_best(seed: int):
    features = np.random.default_rng(seed).normal(size=(9, 2))
    best = min(radius(features, [0, *others]) for others in combinations(range(1, 9), 3))
    assert radius(features, [0, *k_center_greedy(torch.tensor(features), [0], 3)]) <= 2 * best + 1e-12


def test_k_center_takes_duplicates_last_and_each_once():
    """Far from the origin, where distances by products of vectors lose a duplicate's 0."""
    apart = 1e4 + noise(5, 30).float()
    pool = apart.repeat(2, 1)
    assert sorted(k_center_greedy(pool, [2], 4)) == [0, 1, 3, 4]
    assert k_center_greedy(pool, [2], 9)[4:] == [5, 6, 7, 8, 9]
    assert k_center_greedy(pool, [], 1) == [0]


def test_k_center_goes_on_where_it_stopped():
    features = noise(40, 5)
    whole = k_center_greedy(features, [3, 1], 12)
    first = k_center_greedy(features, [3, 1], 5)
    assert first + k_center_greedy(features, [3, 1, *first], 7) == whole


def test_k_center_of_a_large_pool_needs_little_memory():
    """All distances of a pool as large as WFLW's eight-fold would be 14 GB."""
    found = k_center_greedy(torch.rand(60_000, 8, generator=torch.Generator().manual_seed(0)), list(range(10)), 20)
    assert len({*found, *range(10)}) == 30


# -- the choice --


@settings(max_examples=60)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.floats(0, 0.99), st.integers(1, 30))
def test_choice_is_the_greatest_without_the_hardest(values: list[int], share: float, count: int):
    scores = torch.tensor(values, dtype=F64)
    kept = discard_hardest(scores, share)
    assert kept == sorted(set(kept)) and len(kept) == len(values) - math.floor(share * len(values) + 1e-9)
    dropped = sorted(set(range(len(values))) - set(kept))
    assert all((values[a], -a) > (values[b], -b) for a in dropped for b in kept)  # of equals the lowest index goes first
    if count <= len(kept):
        expected = sorted(kept, key=lambda i: (-values[i], i))[:count]
        assert choose(scores, count, share) == expected


def test_share_is_of_the_pool_and_exact():
    assert [100 - len(discard_hardest(torch.arange(100.0), hundredths / 100)) for hundredths in range(100)] == list(range(100))
    assert len(discard_hardest(torch.arange(7490.0))) == 7490 - 749 and len(discard_hardest(torch.arange(9.0))) == 9
    assert choose(torch.arange(7490.0), 2, 0.1) == [6740, 6739]
    assert choose(torch.arange(5.0), 5) == [4, 3, 2, 1, 0]


# -- refusals --


@pytest.mark.parametrize("window", [0, -1, 2, 8, 2.5, True])
def test_window_is_odd(window, refusal):
    assert "odd" in refusal(f"window={window}", nnm, torch.zeros(1, 1, 8, 8), window)


@pytest.mark.parametrize("score", [nnm, spatial_entropy])
@pytest.mark.parametrize("shape", [(8, 8), (2, 8, 8), (2, 0, 8, 8), (2, 3, 0, 8), (1, 2, 3, 8, 8)])
def test_heatmaps_have_four_axes_and_a_landmark(score, shape: tuple[int, ...], refusal):
    assert "(B, K, H, W)" in refusal(str(shape), score, torch.zeros(shape))


@pytest.mark.parametrize("landmarks", [torch.zeros(2, 2), torch.zeros(1, 3, 2), torch.full((1, 2, 2), math.nan)])
def test_landmarks_belong_to_the_heatmaps(landmarks: Tensor, refusal):
    assert "(B, K, 2)" in refusal(str(tuple(landmarks.shape)), nnm, torch.zeros(1, 2, 8, 8), 3, landmarks)


@pytest.mark.parametrize("count", [0, -1, 1.0, True])
def test_a_round_annotates_at_least_one(count, refusal):
    for call, arguments in ((choose, (torch.zeros(4), count)), (k_center_greedy, (torch.zeros(4, 2), [], count))):
        assert "at least 1" in refusal(f"count={count}", call, *arguments)


def test_budget_is_no_greater_than_the_pool(refusal):
    assert "only 4 faces" in refusal("count=5", choose, torch.zeros(4), 5)
    assert "only 3 faces" in refusal("count=4", choose, torch.zeros(4), 4, 0.25)
    assert "only 3 faces" in refusal("count=4", k_center_greedy, torch.zeros(4, 2), [1], 4)
    assert "only 0 faces" in refusal("count=1", choose, torch.zeros(0), 1)


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, math.nan])
def test_share_is_a_part(share: float, refusal):
    for call, arguments in ((discard_hardest, ()), (choose, (1,))):
        assert "less than 1" in refusal(f"share={share}", call, torch.zeros(4), *arguments, share)


@pytest.mark.parametrize("scores", [torch.zeros(2, 2), torch.tensor([1.0, math.nan]), torch.tensor([math.inf])])
def test_scores_are_one_a_face_and_finite(scores: Tensor, refusal):
    assert "(N,)" in refusal(str(tuple(scores.shape)), discard_hardest, scores)


@pytest.mark.parametrize("features", [torch.zeros(4), torch.zeros(2, 3, 4), torch.full((4, 2), math.nan)])
def test_features_are_one_vector_a_face(features: Tensor, refusal):
    assert "(N, D)" in refusal(str(tuple(features.shape)), k_center_greedy, features, [], 1)


@pytest.mark.parametrize("chosen", [[4], [-1], [1, 1]])
def test_chosen_faces_are_in_the_pool_once(chosen: list[int], refusal):
    refusal("from 0 to 3", k_center_greedy, torch.zeros(4, 2), chosen, 1)


def test_surer_network_scores_lower():
    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, pictures: Tensor) -> list[Tensor]:
            maps = torch.zeros(len(pictures), 2, 16, 16)
            maps[:, :, 4, 4] = pictures.mean((1, 2, 3))[:, None]  # bright pictures are sure ones
            return [self.scale * (maps + 0.001)]

    crops = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (10, 200, 90)])
    for function in ("nnm", "entropy"):
        assert unsureness(Sure(), crops, function).argsort().tolist() == [1, 2, 0]

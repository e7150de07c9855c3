import numpy as np
import pytest
import torch
from _panels import architecture

from tsmae.nn import Backbone, SeriesEncoder, pool
from tsmae.nn.series import Scaling, average_down, jitter, slope
from tsmae.training.randomness import new_generator


@torch.no_grad()
def test__calibrate__mean_and_deviation_of_each_feature_over_windows():
    backbone = _encoder(("winners",)).backbone
    encoder = SeriesEncoder(backbone, ("winners",), "ends", (1, 2)).eval()
    x = torch.randn(7, 2, 16) * 3 + 1
    encoder.calibrate(encoder.moments(x, complete=True).numpy())
    for i, resolution in enumerate((1, 2)):
        embedded, *_, last = backbone.encode(average_down(x, resolution))[0]
        for j, layer in enumerate((embedded.flatten(0, 1), last.flatten(0, 1))):
            torch.testing.assert_close(encoder.unit_location[i, j], layer.mean(0))
            torch.testing.assert_close(encoder.unit_scale[i, j], layer.std(0, correction=0))


@torch.no_grad()
def test__calibrate__constant_feature__has_unit_scale():
    encoder = _encoder(("winners",))
    moments = np.zeros((5, 1, 1, 2, 8), np.float32)
    moments[..., 0, :] = 3.0
    moments[..., 1, 1] = 0.5
    encoder.calibrate(moments)
    np.testing.assert_allclose(encoder.unit_scale[0, 0], [1, 0.5, 1, 1, 1, 1, 1, 1])


def _encoder(statistics, resolutions=(1,), shifts=1, slopes=()):
    config = architecture(
        n_channels=2, n_positions=4, window_length=4, d_model=8, n_heads=2, n_layers=1, dropout=0.0
    )
    backbone = Backbone(config, new_generator(0))
    return SeriesEncoder(backbone, statistics, "last", resolutions, shifts, slopes).eval()


def test__average_down__gaps_are_bridged_before():
    nan = torch.nan
    x = torch.tensor([[[nan, 3.0, nan, 5.0, nan, nan, 8.0]]])
    # (3), (4 + 5) / 2, nothing observed, (8)
    expected = torch.tensor([[[3.0, 4.5, nan, 8.0]]])
    torch.testing.assert_close(average_down(x, 2), expected, equal_nan=True)
    assert average_down(x, 1) is x


@pytest.mark.parametrize("resolution", [2, 4])
@pytest.mark.parametrize("n_points", [13, 16])
def test__average_down__complete_series__as_with_padding_behind_it(resolution, n_points):
    x = torch.randn(2, 3, n_points)
    alone = average_down(x, resolution, complete=True)
    padded = average_down(torch.nn.functional.pad(x, (0, 7), value=torch.nan), resolution)
    n = alone.shape[-1]
    torch.testing.assert_close(padded[..., :n], alone)
    assert padded[..., n:].isnan().all()
    torch.testing.assert_close(alone[..., 0], x[..., :resolution].mean(-1))


def test__average_down__random_gaps_in_a_line__keep_to_the_line():
    line = torch.arange(40.0).expand(5, 1, 40)
    gaps = torch.rand(5, 1, 40, generator=torch.Generator().manual_seed(0)) < 0.5
    gaps[..., [0, -1]] = gaps[..., 1::4] = False  # in each four, one is seen
    found = average_down(line.masked_fill(gaps, torch.nan), 4)
    torch.testing.assert_close(found, average_down(line, 4, complete=True).expand(5, 1, 10))


@pytest.mark.parametrize("n_points", [1, 2, 3, 16])
def test__slope__central_differences_padded_or_not(n_points):
    x = torch.randn(2, 3, n_points)
    expected = np.gradient(x.numpy(), axis=2) if n_points > 1 else np.zeros(x.shape)
    np.testing.assert_allclose(slope(x, complete=True), expected, rtol=1e-6)
    padded = slope(torch.nn.functional.pad(x, (0, 7), value=torch.nan))
    assert torch.equal(padded[..., :n_points], slope(x, complete=True))
    assert padded[..., n_points:].isnan().all()


def test__slope__gaps_are_bridged_and_stay_gaps():
    nan = torch.nan
    x = torch.tensor([[[nan, 1.0, nan, 5.0, 9.0, nan], [nan, nan, 3.0, nan, nan, nan], [nan] * 6]])
    # 1, 3, 5 and 9 in the first channel; a single value and none in the others
    expected = torch.tensor(
        [[[nan, 2.0, nan, 3.0, 4.0, nan], [nan, nan, 0.0, nan, nan, nan], [nan] * 6]]
    )
    torch.testing.assert_close(slope(x), expected, equal_nan=True)


@torch.no_grad()
def test__slopes__are_the_encodings_of_the_scaled_slopes_of_the_averaged_series():
    x = torch.randn(3, 2, 16)
    encoder = _encoder(("mean", "std"), (1,), slopes=(2, 4))
    encoder.slope_scale.copy_(torch.tensor([[2.0, 4.0], [8.0, 16.0]]))
    alone = _encoder(("mean", "std"))
    parts = [alone(x, complete=True)]
    for r, scale in zip((2, 4), encoder.slope_scale, strict=True):
        rises = np.gradient(average_down(x, r).numpy(), axis=2) / scale[:, None].numpy()
        parts.append(alone(torch.from_numpy(rises), complete=True))
    torch.testing.assert_close(encoder(x, complete=True), torch.cat(parts, 1))


@torch.no_grad()
def test__scale_slopes__their_mean_square_becomes_one():
    encoder = _encoder(("mean",), slopes=(1, 2))
    x = torch.randn(6, 2, 16) * torch.tensor([1e-3, 1e3])[:, None]
    x[1, 0, 5:9] = x[2, :, 11:] = torch.nan
    encoder.scale_slopes(encoder.squared_slopes(x).numpy())
    for reading in list(encoder._readings(x, False))[1:]:
        torch.testing.assert_close(reading.square().nanmean((0, 2)), torch.ones(2))
    flat = torch.ones(3, 2, 16) + 1e-7 * torch.rand(3, 2, 16)
    encoder.scale_slopes(encoder.squared_slopes(flat, True).numpy())
    assert (encoder.slope_scale == 1).all()


@torch.no_grad()
def test__resolutions__are_the_encodings_of_the_averaged_series_side_by_side():
    x = torch.randn(3, 2, 16)
    together = _encoder(("mean", "std"), (1, 2, 4))(x, complete=True)
    alone = _encoder(("mean", "std"))
    parts = [alone(average_down(x, r), complete=True) for r in (1, 2, 4)]
    torch.testing.assert_close(together, torch.cat(parts, 1))


@torch.no_grad()
def test__shifts__statistics_over_the_windows_of_all_grids():
    x = torch.randn(3, 2, 16)
    grids = [_encoder("none").backbone.encode(x[..., o:])[0][-1] for o in (0, 2)]
    windows = torch.cat(grids, 1)
    expected = torch.cat([windows.mean(1), windows.amax(1)], 1)
    torch.testing.assert_close(_encoder(("mean", "max"), shifts=2)(x, complete=True), expected)


@torch.no_grad()
def test__shifts__gap_across_a_grid_s_beginning__is_bridged_from_before_it():
    encoder = _encoder(("none",), shifts=2)
    line = torch.arange(16.0).expand(1, 2, 16).clone()
    line[..., 1:4] = torch.nan  # the second grid begins at 2
    torch.testing.assert_close(
        encoder.backbone.windows(line, offset=2).values[0, :, 0].flatten()[:14],
        torch.arange(2.0, 16.0),
    )
    once = torch.full((1, 2, 16), torch.nan)
    once[0, 0] = torch.randn(16)
    once[0, 1, 0] = 5.0  # seen before the second grid begins, and held
    assert (encoder.backbone.windows(once, offset=2).values[0, :, 1] == 5).all()
    grids = [encoder.backbone.encode(line, offset=o)[0][-1] for o in (0, 2)]
    expected = torch.stack(grids, 2).flatten(1)
    torch.testing.assert_close(encoder(line), expected)


@torch.no_grad()
def test__shifts__quarters_are_in_the_order_of_time():
    x = torch.randn(1, 2, 16)
    first, second = (_encoder("none").backbone.encode(x[..., o:])[0][-1] for o in (0, 2))
    # window i of the second grid begins half a window after window i of the first
    expected = torch.stack([first, second], 2).flatten(1, 2).unflatten(1, (4, 2)).mean(2).flatten(1)
    torch.testing.assert_close(_encoder(("quarters",), shifts=2)(x, complete=True), expected)


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 3, 5, 15])
def test__resolutions_and_shifts__padding_and_other_series_change_nothing(length):
    names = ("max", "std", "quarters", "autocorrelation", "cross_correlation", "winners", "none")
    encoder = _encoder(names, (1, 2, 4), 4, slopes=(1, 2, 4))
    x = torch.randn(3, 2, 16)
    x[1, :, length:] = torch.nan
    together, alone = encoder(x)[1:2], encoder(x[1:2, :, :length])
    assert together.shape == (1, encoder.embedding_dim)
    assert together.isfinite().all()
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test__shifts__series_without_a_window_left__has_something_to_attend_to(monkeypatch):
    # not every module in the encoder's place bears an attention over nothing
    encoder, seen = _encoder(("mean",), shifts=2), []
    forward = encoder.backbone.encoder.forward
    monkeypatch.setattr(
        encoder.backbone.encoder, "forward", lambda x, p, g: seen.append(p) or forward(x, p, g)
    )
    x = torch.randn(2, 2, 16)
    x[1, :, 2:] = torch.nan
    encoder(x)
    assert [present.any(1).tolist() for present in seen] == [[True, True]] * 2


@pytest.mark.parametrize(("smallest", "last"), [(0.0, 1e-3), (0.1, 0.1)])
def test__standardize__mean_zero_deviation_one_and_bounded_scale(smallest, last):
    config = architecture(
        n_channels=2, n_positions=4, window_length=4, d_model=8, n_heads=2, n_layers=1
    )
    encoder = SeriesEncoder(Backbone(config, new_generator(0)), ("mean",), "last")
    rng = np.random.default_rng(0)
    embeddings = rng.normal(3.0, 1.0, (5000, 8))
    embeddings[:, 6] = 7.0  # constant
    embeddings[:, 7] = 1 + 1e-3 * rng.normal(size=5000)
    encoder.standardize(embeddings, smallest)
    standard = (embeddings - encoder.location.numpy()) / encoder.scale.numpy()
    np.testing.assert_allclose(standard.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(standard[:, :6].std(0), 1, atol=1e-5)
    assert np.abs(standard[:, 6]).max() < 1e-5
    assert encoder.scale[7].item() == pytest.approx(last, rel=0.05)


def test__jittered__channels_that_count_as_nothing_stay_nothing():
    scaling = Scaling(3, "channel")
    scaling.set_statistics(np.array([1.0, 2.0, 3.0]), np.array([2.0, np.inf, 1.0]))
    x = torch.randn(5, 3, 8)
    x[0, 1, 3] = torch.nan
    found = scaling.jittered(x, 0.3, new_generator(0))
    expected = jitter(scaling(x), 0.3, new_generator(0))
    torch.testing.assert_close(found[:, [0, 2]], expected[:, [0, 2]])
    assert (expected[:, 1].nan_to_num() != 0).any()
    torch.testing.assert_close(found[:, 1], scaling(x)[:, 1], equal_nan=True)
    assert found[:, 1].nan_to_num().abs().max() == 0
    torch.testing.assert_close(scaling.jittered(x, 0.0, None), scaling(x), equal_nan=True)


def test__jitter__log_normal_factor_and_normal_offset_of_each_channel():
    x = torch.tensor([0.0, 1.0, torch.nan, 2.0]).expand(4000, 2, 4)
    changed = jitter(x, 0.15, new_generator(0))
    offset, factor = changed[..., 0], changed[..., 1] - changed[..., 0]
    torch.testing.assert_close(changed[..., 3], offset + 2 * factor)
    assert changed[..., 2].isnan().all()
    for noise in (offset, factor.log()):
        assert noise.mean().item() == pytest.approx(0, abs=0.01)
        assert noise.std().item() == pytest.approx(0.15, rel=0.05)
    noises = torch.stack([*offset.T, *factor.log().T])
    assert (noises.corrcoef() - torch.eye(4)).abs().max() < 0.1


def test__jitter__size_and_offset__of_the_deviation_each():
    x = torch.tensor([0.0, 1.0]).expand(20_000, 1, 2)
    offset, above = jitter(x, 1.0, new_generator(0)).unbind(-1)
    assert offset.std().item() == pytest.approx(1.0, rel=0.05)
    assert (above - offset).log().std().item() == pytest.approx(1.0, rel=0.05)


@torch.no_grad()
def test__winners__in_the_units_of_their_reading_and_layer():
    backbone, x = _encoder(("winners",)).backbone, torch.randn(5, 2, 16)
    encoder = SeriesEncoder(backbone, ("winners",), "ends", (1, 2), slopes=(1,)).eval()
    encoder.unit_location.normal_()
    encoder.unit_scale.uniform_(0.5, 2.0)
    expected = []
    for i, reading in enumerate(encoder._readings(x, True)):
        for j, layer in enumerate(encoder._encode(reading, True, None)[0]):
            standard = (layer - encoder.unit_location[i, j]) / encoder.unit_scale[i, j]
            expected.append(pool([standard], None, ("winners",), 0))
    torch.testing.assert_close(encoder(x, complete=True), torch.cat(expected, 1))


def test__standardize__small_column_beside_large_ones__is_not_constant():
    encoder, rng = _encoder(("mean",)), np.random.default_rng(0)
    embeddings = rng.normal(0, 0.1, size=(500, 8))
    embeddings[:, 1:] += 1e6
    encoder.standardize(embeddings)
    assert encoder.scale[0].item() == pytest.approx(0.1, rel=0.1)


@torch.no_grad()
def test__calibrate__of_scaled_series():
    encoder = _encoder(("winners",), (1, 2), slopes=(1, 2))
    encoder.backbone.scaling.mode = "channel"
    encoder.backbone.scaling.set_statistics(np.array([5.0, -3.0]), np.array([10.0, 0.1]))
    x = torch.randn(6, 2, 16) * torch.tensor([[10.0], [0.1]]) + torch.tensor([[5.0], [-3.0]])
    encoder.scale_slopes(encoder.squared_slopes(x).numpy())
    encoder.calibrate(encoder.moments(x, complete=True).numpy())
    for i, reading in enumerate(encoder._readings(encoder.backbone.scaling(x), True)):
        layer = encoder._encode(reading, True, None)[0][0].flatten(0, 1)
        torch.testing.assert_close(encoder.unit_location[i, 0], layer.mean(0), atol=1e-4, rtol=0)
        if i >= len(encoder.resolutions):
            torch.testing.assert_close(reading.square().mean((0, 2)), torch.ones(2))


@pytest.mark.parametrize(
    ("other", "rises"),
    [
        ([torch.nan, 1.0, 3.0, torch.nan], [torch.nan, 2.0, 2.0, torch.nan]),
        ([1.0, 3.0, torch.nan, torch.nan], [2.0, 2.0, torch.nan, torch.nan]),
    ],
)
def test__slope__channels_of_other_ends__one_sided_at_their_own(other, rises):
    x = torch.tensor([[[0.0, 1.0, 3.0, 6.0], other]])
    expected = torch.tensor([[[1.0, 1.5, 2.5, 3.0], rises]])
    torch.testing.assert_close(slope(x), expected, equal_nan=True)

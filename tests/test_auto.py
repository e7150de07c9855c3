"""What the defaults adapt to the panel, and only to it."""

import numpy as np
import pytest
import torch
from _panels import TINY, noise, steps_of
from sklearn.linear_model import LogisticRegression

from tsmae import TimeMAEClassifier, TimeMAETransformer, _auto
from tsmae.nn import TimeMAEConfig
from tsmae.panel import Panel
from tsmae.training import augmentation
from tsmae.training.augmentation import crop_and_stretch
from tsmae.training.batches import batch_starts
from tsmae.training.randomness import new_generator


@pytest.mark.parametrize(
    ("n_points", "length"), [(2, 1), (8, 2), (20, 5), (24, 6), (32, 8), (500, 8)]
)
def test__window_length__auto__eight_or_a_quarter(n_points, length):
    fitted = TimeMAETransformer(**TINY, max_epochs=1).fit(noise(4, n_points))
    assert fitted.config_.window_length == length


@pytest.mark.parametrize(
    ("n", "size"), [(5, 32), (512, 32), (800, 50), (2048, 128), (100_000, 128)]
)
def test__batch_size__auto__sixteen_steps_between_bounds(n, size):
    short = Panel(np.zeros((n, 1, 4), np.float32), np.full(n, 4), True)
    assert _auto.batch_size(short, _auto.COURSES["random", False]) == size


@pytest.mark.parametrize(("n_points", "size"), [(1024, 128), (4096, 32), (100_000, 2)])
def test__batch_size__auto__long_series__fit_in_memory(n_points, size):
    panel = Panel(
        np.broadcast_to(np.float32(0), (5000, 1, n_points)), np.full(5000, n_points), True
    )
    assert _auto.batch_size(panel, _auto.COURSES["random", False]) == size
    assert _auto.metrics_batch_size(panel) == size
    assert _auto.fine_tuning_batch_size(panel) == min(size, 64)


@pytest.mark.parametrize(("n_channels", "size"), [(127, 128), (128, 64), (256, 42), (1000, 16)])
def test__batch_size__auto__many_channels__fit_in_memory(n_channels, size):
    values = np.broadcast_to(np.float32(0), (5000, n_channels, 1024))
    panel = Panel(values, np.full(5000, 1024), True)
    assert _auto.batch_size(panel, _auto.COURSES["random", False]) == size


def test__bounds__are_those_of_the_documentation():
    def blank(n, n_channels=1):
        return Panel(np.zeros((n, n_channels, 64), np.float32), np.full(n, 64), True)

    for n, n_channels, length, init, contrastive in (
        (999, 2, 8, "random", True), (1000, 2, 8, "random", False),
        (1999, 1, 8, "synthetic", True), (2000, 1, 8, "synthetic", False),
        (2000, 1, 2, "random", True), (2000, 2, 2, "random", False),
        (2000, 3, 1, "random", True), (1, 1, 8, "random", False),
    ):  # fmt: skip
        chosen = _auto.objective(blank(n, n_channels), length, init)
        assert chosen["contrast_weight"] == contrastive == 1 - chosen["mcc_weight"]
    sizes = [_auto.fine_tuning_batch_size(blank(n)) for n in (256, 1023, 1024, 5000)]
    assert sizes == [16, 63, 64, 64]
    for init, predicts, rates, batches, epochs in (
        ("random", True, [1e-4, 1e-3, 2e-3, 2e-3], [32, 41, 104, 128], [60, 36, 30, 24, 15]),
        ("random", False, [1e-4, 1e-3, 2e-3, 2e-3], [64, 125, 128, 128], 5 * [15]),
        ("synthetic", True, [1e-4, 2e-4, 2e-4, 2e-4], [64, 125, 128, 128], 5 * [15]),
        ("synthetic", False, [1e-4, 5e-4, 5e-4, 5e-4], [64, 125, 128, 128], 5 * [15]),
    ):  # fmt: skip
        course = _auto.COURSES[init, predicts]
        sizes = (50, 500, 1000, 5000)
        assert [_auto.learning_rate(n, course) for n in sizes] == pytest.approx(rates)
        sizes = (512, 1024, 2000, 5000, 7000)
        assert [_auto.batch_size(blank(n), course) for n in sizes] == [32, *batches]
        assert [_auto.n_epochs(n, course) for n in (1, 40, 48, 60, 100)] == epochs
        steps = (84_000 // 128, 89_000 // 128, 10**7 // 128)
        assert [_auto.n_epochs(n, course) for n in steps] == [15, 14, 1]
    assert [_auto.fine_tuned(n) for n in (399, 400)] == ["head", "all"]
    assert [_auto.jitter(*labels) for labels in ((999, 2), (1000, 2), (1000, 1))] == [0, 0.3, 0]
    fine_tuning = TimeMAEClassifier()
    assert (fine_tuning.max_epochs, fine_tuning.lr, fine_tuning.augment) == (16, 5e-4, True)


def test__batch_size__given__stays(monkeypatch):
    seen = steps_of(monkeypatch, "x")
    TimeMAETransformer(**TINY, max_epochs=1, batch_size=5, random_state=0).fit(noise(12))
    assert [len(x) for _, x in seen] == [5, 5, 2]


def test__batches__last_series_alone__joins_the_batch_before(monkeypatch):
    assert batch_starts(33, 32) == [0] and batch_starts(34, 32) == [0, 32]
    assert batch_starts(3, 1) == [0, 1, 2] and batch_starts(1, 32) == [0]
    seen = steps_of(monkeypatch, "x")
    TimeMAETransformer(**TINY, max_epochs=3, random_state=0).fit(noise(65))
    assert [len(x) for _, x in seen] == 3 * [32, 33]


@pytest.mark.parametrize(
    ("n", "most_steps", "n_epochs"), [(8, 15, 15), (8, 14, 14), (70, 15, 5), (70, 7, 2), (70, 0, 1)]
)
def test__max_epochs__auto__fifteen_and_fewer_of_many_steps(monkeypatch, n, most_steps, n_epochs):
    monkeypatch.setattr(_auto, "_MOST_STEPS", most_steps)  # batches of 32
    fitted = TimeMAETransformer(**TINY, random_state=0).fit(noise(n))
    assert fitted.n_epochs_ == n_epochs


@pytest.mark.parametrize(
    ("settings", "n_epochs"),
    [
        ({**TINY, "mcc_weight": 1.0}, 20),
        ({**TINY, "mcc_weight": 1.0, "batch_size": 70}, 60),
        ({**TINY, "mcc_weight": 1.0, "max_epochs": 2}, 2),
        (TINY, 15),
        ({"mcc_weight": 1.0, "n_layers": 1}, 20),
        ({"mcc_weight": 1.0}, 15),  # starts from synthetic series
    ],
)
def test__max_epochs__auto__random_weights_predict_for_more_steps(monkeypatch, settings, n_epochs):
    course = _auto.Course(lr=1e-3, steps=60)
    monkeypatch.setitem(_auto.COURSES, ("random", True), course)
    seen = {}
    monkeypatch.setattr("tsmae.transformer.pretrain", lambda *a, **given: seen.update(given) or [])
    TimeMAETransformer(**settings, standardize=False).fit(noise(70, 32))  # batches of 32
    assert seen["n_epochs"] == n_epochs


def test__max_epochs__auto__steps_are_those_of_the_series_trained_on(monkeypatch):
    monkeypatch.setattr(_auto, "_MOST_STEPS", 6)
    settings = {**TINY, "validation_fraction": 0.5, "random_state": 0}
    assert TimeMAETransformer(**settings).fit(noise(70)).n_epochs_ == 3


@pytest.mark.parametrize(
    ("n_channels", "n_points", "contrast", "n_words"), [(1, 7, 1, 0), (1, 8, 1, 0), (2, 8, 0, 3)]
)
def test__objective__auto__windows_without_shape__are_told_apart(
    monkeypatch, n_channels, n_points, contrast, n_words
):
    monkeypatch.setitem(_auto._SMALL_PANEL, "random", 2)
    X = np.random.default_rng(0).normal(size=(40, n_channels, n_points)).astype(np.float32)
    fitted = TimeMAETransformer(**TINY, max_epochs=1, random_state=0).fit(X)
    assert fitted.config_.contrast_weight == contrast == 1 - fitted.config_.mcc_weight
    assert fitted.history_[0]["distinct_codewords"] >= n_words


def test__codewords__windows_of_one_point__speak_of_its_level():
    X = np.random.default_rng(0).normal(size=(20, 3, 6)).astype(np.float32)
    fitted = TimeMAETransformer(**TINY, window_length=1, max_epochs=0, random_state=0).fit(X)
    assert len(np.unique(fitted.codewords(X))) > 4


@pytest.mark.parametrize(
    ("n", "mcc", "contrast", "dropout"),
    [(1, 1, 0, 0.1), (2, 0, 1, 0), (29, 0, 1, 0), (30, 1, 0, 0.1)],
)
def test__objective__auto__few_series_are_told_apart(monkeypatch, n, mcc, contrast, dropout):
    monkeypatch.setitem(_auto._SMALL_PANEL, "random", 30)
    fitted = TimeMAETransformer(**TINY, max_epochs=1).fit(noise(n))
    config = fitted.config_
    assert (config.mcc_weight, config.contrast_weight, config.dropout) == (mcc, contrast, dropout)
    row = fitted.history_[0]
    assert row["loss"] == pytest.approx(row["mcc"] * mcc + row["contrast"] * contrast)
    assert row["loss"] > 0


def test__objective__auto__by_the_start(monkeypatch):
    monkeypatch.setattr(_auto, "_SMALL_PANEL", {"random": 10, "synthetic": 30})
    for init, contrast in (("random", 0), ("synthetic", 1), ("auto", 1)):
        fitted = TimeMAETransformer(init=init, max_epochs=0, random_state=0).fit(noise(20, 32))
        assert fitted.config_.contrast_weight == contrast == 1 - fitted.config_.mcc_weight


@pytest.mark.parametrize(
    ("objective", "dropout"),
    [
        ({"mcc_weight": 1, "contrast_weight": 0}, 0.1),
        ({"mcc_weight": 1, "contrast_weight": 1}, 0.1),
        ({"mcc_weight": 0, "contrast_weight": 1}, 0),
        *[({f"{w}_weight": 1}, 0.1) for w in ("mrr", "reconstruction", "spectral")],
    ],
)
@pytest.mark.parametrize("small", [2, 50])
def test__dropout__auto__by_what_is_learned(monkeypatch, objective, dropout, small):
    monkeypatch.setitem(_auto._SMALL_PANEL, "random", small)
    fitted = TimeMAETransformer(**TINY, **objective, max_epochs=0).fit(noise(20))
    assert fitted.config_.dropout == dropout
    given = TimeMAETransformer(**TINY, **objective, dropout=0.3, max_epochs=0).fit(noise(20))
    assert given.config_.dropout == 0.3


@pytest.mark.parametrize("n", [1, 5])
def test__objective__given__stays(n):
    given = {"mcc_weight": 0.5, "contrast_weight": 0.25}
    config = TimeMAETransformer(**TINY, **given, max_epochs=1).fit(noise(n)).config_
    assert (config.mcc_weight, config.contrast_weight) == (0.5, 0.25)


def test__contrast__alone_on_a_single_series__error():
    with pytest.raises(ValueError, match=r"contrast_weight=1\.0 needs at least two series in X"):
        TimeMAETransformer(**TINY, mcc_weight=0.0, contrast_weight=1.0).fit(noise(1))


@pytest.mark.parametrize(("n", "fraction"), [(2, 0.5), (3, 0.7), (3, 0.3)])
def test__contrast__alone_on_a_single_held_out_or_left_series__error(n, fraction):
    estimator = TimeMAETransformer(**TINY, max_epochs=1, validation_fraction=fraction)
    with pytest.raises(ValueError, match=rf"validation_fraction={fraction} leaves .* two of each"):
        estimator.fit(noise(n))
    TimeMAETransformer(**TINY, max_epochs=1, validation_fraction=0.5).fit(noise(4))


def test__contrast__resolutions__those_of_the_readout_in_turn(monkeypatch):
    seen = steps_of(monkeypatch, "resolution")
    settings = {"batch_size": 4, "max_epochs": 3, "validation_fraction": 0.5}
    fitted = TimeMAETransformer(**TINY, **settings, pooling_resolutions=(1, 3, 5)).fit(noise(16))
    assert [r for training, r in seen if training] == [1, 3, 3, 5, 5, 1]
    assert [r for training, r in seen if not training] == 3 * [1, 3]
    seen.clear()
    fitted.reconstruction_metrics(noise(16))
    assert {r for _, r in seen} == {1}  # a single batch


def test__contrast__series_of_one_window__learns():
    fitted = TimeMAETransformer(**TINY, window_length=16, max_epochs=1).fit(noise(8))
    assert fitted.history_[0]["contrast"] > 0


def of_sizes(low, high, n=60):
    """Square and triangle waves, (n, 1, 32), of sizes 10^low … 10^high about level 1, and which."""
    rng = np.random.default_rng(0)
    phase = np.arange(32) / 8 + rng.random((n, 1))
    which = np.arange(n) % 2
    waves = np.where(which[:, None], np.sign(phase % 1 - 0.5), 4 * abs(phase % 1 - 0.5) - 1)
    return (1 + waves * 10 ** rng.uniform(low, high, (n, 1)))[:, None], which


@pytest.mark.parametrize(("low", "high", "mode"), [(-1, 0, "channel"), (-4, 3, "instance")])
def test__scaling__auto__by_the_series_where_few_large_ones_hide_the_others(low, high, mode):
    X, _ = of_sizes(low, high)
    gapped = np.where(np.random.default_rng(1).random(X.shape) < 0.3, np.nan, X)
    for values in (X, gapped):
        fitted = TimeMAETransformer(**TINY, max_epochs=0, random_state=0).fit(values)
        assert fitted.config_.scaling == mode


def test__scaling__auto__tells_shapes_of_any_size():
    X, which = of_sizes(-4, 3, n=200)

    def accuracy(scaling):
        settings = {**TINY, "scaling": scaling, "max_epochs": 0, "random_state": 0}
        embedded = TimeMAETransformer(**settings).fit_transform(X)
        head = LogisticRegression().fit(embedded[:100], which[:100])
        return head.score(embedded[100:], which[100:])

    assert accuracy("auto") > 0.95
    assert accuracy("channel") < 0.8


def test__scaling__auto__needs_most_channels_and_series_that_vary():
    few_large, alike = of_sizes(-4, 3)[0], of_sizes(-1, 0)[0]
    levels = np.broadcast_to(np.arange(60.0)[:, None, None], (60, 1, 32))  # each constant

    def mode(*channels, **settings):
        X = np.concatenate(channels, 1)
        return TimeMAETransformer(**TINY, **settings, max_epochs=0).fit(X).config_.scaling

    assert mode(few_large, few_large, alike) == "instance"
    assert mode(few_large, alike, alike) == mode(few_large, alike) == "channel"
    assert mode(levels) == mode(few_large[:1]) == "channel"
    constant = np.ones_like(alike)
    assert mode(few_large, constant, constant) == "instance"  # what is constant does not count
    assert mode(few_large, alike, constant) == "channel"
    assert mode(few_large, scaling="channel") == "channel"
    assert mode(alike, scaling="instance") == "instance"


@pytest.mark.parametrize(
    ("n", "settings", "used"),
    [
        (5, TINY, 1e-5),
        (800, TINY, 1.6e-3),
        (2000, TINY, 2e-3),
        (5, {**TINY, "lr": 1}, 1),
        (5, {}, 1e-5),  # starts from synthetic series
        (300, {}, 5e-4),
        (300, {"mcc_weight": 1.0}, 2e-4),
        (300, {"init": "random"}, 6e-4),
    ],
)
def test__lr__auto__in_proportion_to_few_series__and_by_the_start(monkeypatch, n, settings, used):
    seen = {}
    monkeypatch.setattr("tsmae.transformer.pretrain", lambda *a, **given: seen.update(given) or [])
    TimeMAETransformer(**settings, max_epochs=1, standardize=False).fit(noise(n, 32))
    assert seen["lr"] == pytest.approx(used)


@pytest.mark.parametrize("trained", [True, False])
def test__train_stem__only_then_the_feature_encoder_changes(trained):
    settings = {**TINY, "random_state": 0}
    start = TimeMAETransformer(**settings, max_epochs=0).fit(noise(20)).model_
    fitted = TimeMAETransformer(**settings, max_epochs=3, train_stem=trained).fit(noise(20)).model_
    before, after = (m.backbone.feature_encoder.state_dict() for m in (start, fitted))
    same = [torch.equal(before[name], after[name]) for name in before]
    assert all(same) == (not trained)
    assert all(p.requires_grad for p in fitted.backbone.feature_encoder.parameters())


def test__augment__changes_the_prediction_of_windows_only_where_asked():
    settings = {**TINY, "random_state": 0, "max_epochs": 1, "mcc_weight": 1.0}
    on, off, default = (
        TimeMAETransformer(**settings, **given).fit(noise(20)).history_[0]["loss"]
        for given in ({"augment": True}, {"augment": False}, {})
    )
    assert on != off == default


def test__jitter__in_pretraining__only_where_asked_and_only_of_training(monkeypatch):
    seen = steps_of(monkeypatch, "jitter_deviation")
    settings = {**TINY, "max_epochs": 1, "mcc_weight": 1.0, "random_state": 0}
    losses = {}
    for given in ({}, {"jitter": 0}, {"jitter": 0.3}):
        seen.clear()
        fitted = TimeMAETransformer(**settings, **given, validation_fraction=0.2).fit(noise(20))
        fitted.reconstruction_metrics(noise(20))
        used = given.get("jitter", 0.0)
        assert set(seen) == {(True, used), (False, 0.0)}
        losses[len(given), used] = fitted.history_[0]["loss"]
    assert losses[0, 0.0] == losses[1, 0] != losses[1, 0.3]


def test__crop_and_stretch__keeps_ends_lengths_gaps_and_level():
    x = torch.linspace(1000, 1100, 60).expand(50, 2, 60).clone()
    x[0, :, 40:] = torch.nan
    x[1, 0, 20:25] = torch.nan
    views = crop_and_stretch(x, new_generator(0))
    assert views.shape == x.shape
    assert views[0, :, 40:].isnan().all() and not views[0, :, :40].isnan().any()
    assert views[1, 0].isnan().any() and not views[1, 1].isnan().any()
    assert not views[2:].isnan().any()
    assert (views[2:].diff(dim=-1) > 0).all()  # still rising
    span = views[2:, 0, -1] - views[2:, 0, 0]
    assert span.min() > 0.6 * 100 * np.exp(-1) and span.std() > 5
    level = views[2:].mean(-1)
    assert level.min() > 1010 and level.max() < 1090  # scaled about its own mean
    again = crop_and_stretch(x, new_generator(0))
    assert torch.equal(views[2:], again[2:])


def test__crop_and_stretch__as_much_stays_missing_and_values_stay_close(monkeypatch):
    monkeypatch.setattr(augmentation, "_LOG_SCALE_STD", 0.0)  # values stay those of the line
    whole = torch.linspace(0, 1, 200).expand(100, 1, 200)
    gone = torch.rand(whole.shape, generator=new_generator(0)) < 0.5
    gone[..., [0, -1]] = False
    views = crop_and_stretch(whole.masked_fill(gone, torch.nan), new_generator(1))
    assert abs(views.isnan().float().mean() - 0.5) < 0.02
    off = (views - crop_and_stretch(whole, new_generator(1)))[~views.isnan()].abs() * 199
    assert off.max() < 0.501  # half a point: the nearer one, and no other


@pytest.mark.parametrize("size", [9e35, 1e-30])
def test__crop_and_stretch__values_of_any_size__as_of_ordinary_ones(size):
    x = 0.9 + 0.02 * torch.randn(20, 1, 1000, generator=new_generator(0))
    x[:, :, 100:110] = torch.nan
    views = crop_and_stretch(x * size, new_generator(1)) / size
    torch.testing.assert_close(
        views, crop_and_stretch(x, new_generator(1)), rtol=1e-5, atol=0, equal_nan=True
    )


def test__crop_and_stretch__sparse_series__never_empty():
    x = torch.full((500, 2, 32), torch.nan)
    x[:, 0, :4] = torch.randn(500, 4)
    x[:, 1, -1] = 1.0
    views = crop_and_stretch(x, new_generator(0))
    assert not views.isnan().flatten(1).all(1).any()
    assert (views[:, 0].isnan().sum(1) != 28).any()  # most are crops


def test__architecture__every_field_comes_from_a_parameter_or_the_panel():
    fields = set(TimeMAEConfig.__dataclass_fields__) - {"n_channels", "n_positions"}
    assert fields <= set(TimeMAETransformer.get_param_names())


def test__batches__of_training__in_another_order_each_epoch(monkeypatch):
    seen = steps_of(monkeypatch, "x")
    X = noise(12)
    TimeMAETransformer(**TINY, max_epochs=2, batch_size=4, random_state=0).fit(X)
    drawn = torch.cat([x for _, x in seen])[:, 0, 0].tolist()
    first, second, given = drawn[:12], drawn[12:], X[:, 0, 0].tolist()
    assert sorted(first) == sorted(second) == sorted(given)
    assert first != second and given not in (first, second)


def test__contrast__two_crops_of_each_series__not_one_twice(monkeypatch):
    seen = steps_of(monkeypatch, "views")
    TimeMAETransformer(**TINY, max_epochs=1, random_state=0).fit(noise(12))
    for _, (first, second) in seen:
        assert ((first - second).abs().amax((1, 2)) > 1e-3).all()


def test__scaling__auto__vanishing_is_a_hundredth_of_the_panel_s_deviation():
    wave = np.tile([1.0, -1.0], 8)
    for deviation, mode in ((0.0099, "instance"), (0.0101, "channel")):
        series = Panel.from_array(deviation * np.tile(wave, (5, 1, 1)))
        assert _auto.scaling(series, np.ones(1)) == mode


def test__crop_and_stretch__lengths_and_beginnings_and_sizes__spread_evenly(monkeypatch):
    line = torch.linspace(0, 1, 50).expand(4000, 1, 50)
    with monkeypatch.context() as patch:
        patch.setattr(augmentation, "_LOG_SCALE_STD", 0.0)
        views = crop_and_stretch(line, new_generator(0))[:, 0].double()
    start, span = views[:, 0], views[:, -1] - views[:, 0]
    where = start / (1 - span)
    for share in ((span - 0.6) / 0.4, where):
        for level in (0.1, 0.5, 0.9):
            assert (share < level).double().mean().item() == pytest.approx(level, abs=0.03)
    monkeypatch.setattr(augmentation, "_SHORTEST_CROP", 1.0)
    views = crop_and_stretch(line, new_generator(0))[:, 0]
    sizes = (views[:, -1] - views[:, 0]).log()
    assert sizes.mean().item() == pytest.approx(0, abs=0.01)
    assert sizes.std().item() == pytest.approx(0.2, rel=0.05)


def test__n_epochs__nearest_to_the_steps():
    assert _auto.n_epochs(50, _auto.COURSES["random", True]) == 29  # of 28.8


def test__crop_and_stretch__each_channel_scaled_about_its_own_mean():
    x = torch.randn(200, 2, 60) + torch.tensor([[0.0], [1000.0]])
    levels = crop_and_stretch(x, new_generator(0)).mean(-1)
    torch.testing.assert_close(levels, x.mean(-1), atol=1.5, rtol=0)


def test__random_state__decides_the_order_of_the_series(monkeypatch):
    seen = steps_of(monkeypatch, "x")
    orders = []
    for random_state in (0, 1, 0):
        seen.clear()
        settings = {"max_epochs": 1, "batch_size": 4, "random_state": random_state}
        TimeMAETransformer(**TINY, **settings).fit(noise(12))
        orders.append(torch.cat([x for _, x in seen])[:, 0, 0].tolist())
    assert orders[0] == orders[2] != orders[1]


def test__random_state__decides_masks_and_crops(monkeypatch):
    seen = steps_of(monkeypatch, "generator")
    for random_state in (0, 1):
        TimeMAETransformer(**TINY, max_epochs=1, random_state=random_state).fit(noise(12))
    assert len({generator.initial_seed() for _, generator in seen}) == 2


def test__scaling__auto__channels_that_count_as_constant__have_no_say():
    panel = Panel.from_array(np.random.default_rng(0).normal(size=(6, 3, 20)))
    assert _auto.scaling(panel, np.array([np.inf, np.inf, 1.0])) == "channel"
    assert _auto.scaling(panel, np.array([1e3, 1e3, 1.0])) == "instance"

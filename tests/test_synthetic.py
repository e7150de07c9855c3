"""The start from synthetic series: which panels get it, and how its weights come about."""

import numpy as np
import pytest
import torch
from _panels import embed, steps_of
from safetensors.torch import load_file

from tsmae import TimeMAEClassifier, TimeMAETransformer, presets
from tsmae.synthetic import __main__ as synthetic_main
from tsmae.synthetic import start_from_synthetic, weights
from tsmae.synthetic.__main__ import main, train
from tsmae.synthetic.series import Steps, Variation, draw_pairs


@pytest.fixture(scope="module")
def univariate():
    return np.random.default_rng(0).normal(size=(12, 1, 40)).cumsum(-1)


def start(X, **settings):
    return TimeMAETransformer(**{"max_epochs": 0, "random_state": 0, **settings}).fit(X)


def test__univariate_panel__starts_from_the_stored_weights(univariate):
    fitted = start(univariate)
    assert fitted.init_ == "synthetic"
    stored, own = load_file(weights.FILE), fitted.model_.backbone.state_dict()
    assert {name.split(".")[0] for name in stored} == {"feature_encoder", "encoder"}
    for name, weight in stored.items():
        assert torch.equal(own[name], weight.float())
        assert own[name].dtype == torch.float32
    missing = {n for n in own if n.startswith(("feature_encoder", "encoder"))} - set(stored)
    assert not missing


def test__start__momentum_encoder_starts_there_too(univariate):
    model = start(univariate, mrr_weight=1.0).model_
    pairs = zip(model.target_encoder.parameters(), model.backbone.encoder.parameters(), strict=True)
    for target, source in pairs:
        assert torch.equal(target, source)
        assert target.data_ptr() != source.data_ptr()
        assert not target.requires_grad


def test__start__is_another_encoder_than_the_random_one(univariate):
    synthetic, random = (embed(start(univariate, init=i), univariate) for i in ("auto", "random"))
    assert np.abs(synthetic - random).max() > 0.1


def test__init_random__as_seeded(univariate):
    one, other = (start(univariate, init="random", random_state=seed) for seed in (0, 1))
    weight, theirs = (t.model_.backbone.feature_encoder.project.weight for t in (one, other))
    assert one.init_ == "random"
    assert not torch.equal(weight, theirs)


def test__training__begins_there(univariate):
    settings = {"max_epochs": 1, "lr": 1e-9, "weight_decay": 0.0, "precision": "float32"}
    trained = start(univariate, **settings).model_.backbone.feature_encoder.project.weight
    initial = start(univariate).model_.backbone.feature_encoder.project.weight
    assert not torch.equal(trained, initial)
    torch.testing.assert_close(trained, initial, atol=1e-7, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"d_model": 64},
        {"n_heads": 8},
        {"n_layers": 3},
        {"window_length": 4},
        {"block": "timemae"},
        {"stem": "linear"},
        {"window_statistics": False},
        {"encoder": torch.nn.Identity},
    ],
)
def test__other_architecture__auto_is_random_and_synthetic_an_error(univariate, settings):
    assert start(univariate, **settings).init_ == "random"
    (name,) = settings
    with pytest.raises(ValueError, match=rf"init='synthetic' has weights for .* Got {name}="):
        start(univariate, init="synthetic", **settings)


def test__several_channels__auto_is_random_and_synthetic_an_error(univariate):
    X = np.concatenate([univariate, univariate], 1)
    assert start(X).init_ == "random"
    with pytest.raises(ValueError, match=r"n_channels=1.* Got n_channels=2"):
        start(X, init="synthetic")


def test__unscaled_series__random_unless_asked_for(univariate):
    assert start(univariate, scaling=None).init_ == "random"
    assert start(univariate, scaling=None, init="synthetic").init_ == "synthetic"
    assert start(univariate, scaling="instance").init_ == "synthetic"


def test__paper__random(univariate):
    assert presets.PAPER["init"] == "random"
    assert start(univariate, **presets.PAPER | {"max_epochs": 0}).init_ == "random"


def test__saved_and_loaded__the_same_embeddings(univariate, tmp_path):
    fitted = start(univariate, max_epochs=1, precision="float32")
    fitted.save(tmp_path / "encoder")
    loaded = TimeMAETransformer.load(tmp_path / "encoder")
    assert loaded.init_ == "synthetic"
    assert np.array_equal(embed(loaded, univariate), embed(fitted, univariate))


def test__classifier_without_pretraining__random(univariate):
    y = np.arange(12) % 2
    fitted = TimeMAEClassifier(fine_tune="random", max_epochs=1, random_state=0).fit(univariate, y)
    assert fitted.transformer_.init_ == "random"


def test__draw_pairs__float32_of_bounded_size():
    pairs = draw_pairs(64, 96, np.random.default_rng(0))
    assert pairs.shape == (2, 64, 1, 96)
    assert pairs.dtype == np.float32
    assert np.isfinite(pairs).all()
    assert np.abs(pairs).max() <= 20
    assert np.array_equal(pairs, draw_pairs(64, 96, np.random.default_rng(0)))


def test__draw_pairs__partners_are_alike():
    first, second = draw_pairs(200, 128, np.random.default_rng(1))[:, :, 0]
    spectra = [np.log(np.abs(np.fft.rfft(x)) + 1e-2) for x in (first, second)]
    distances = np.linalg.norm(spectra[0][:, None] - spectra[1][None], axis=-1)
    rank = (distances < np.diag(distances)[:, None]).sum(1)
    assert np.median(rank) < 20  # of 200; 100 by chance


@pytest.mark.parametrize(
    "arguments", [["--file", "no/where.safetensors"], ["--steps", "-1"]], ids=["file", "steps"]
)
def test__command__bad_argument__before_any_training(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["synthetic", *arguments])
    monkeypatch.setattr("tsmae.synthetic.__main__.train", None)
    with pytest.raises(SystemExit):
        main()
    assert arguments[0] in capsys.readouterr().err


def test__train_and_store__what_a_backbone_then_starts_from(tmp_path):
    reports = []
    model = train(100, seed=0, report=lambda text, flush: reports.append(text), batch_points=512)
    assert len(reports) == 1
    assert reports[0].startswith("step 100 of 100: loss ")
    file = tmp_path / "weights.safetensors"
    weights.store(model.backbone, file)
    other = train(1, seed=1, batch_points=512).backbone
    start_from_synthetic(other, file)
    for part in ("feature_encoder", "encoder"):
        pairs = zip(
            getattr(model.backbone, part).parameters(),
            getattr(other, part).parameters(),
            strict=True,
        )
        for stored, read in pairs:
            torch.testing.assert_close(stored, read, atol=1e-6, rtol=1e-3)


def test__draw_pairs__partners_are_two_draws():
    first, second = draw_pairs(100, 96, np.random.default_rng(0))
    assert (np.abs(first - second).mean(-1) > 1e-3).all()


def test__draw_pairs__half_of_them_scaled_by_series():
    pairs = draw_pairs(200, 96, np.random.default_rng(0))[:, :, 0]
    own = (np.abs(pairs.mean(-1)) < 1e-2).all(0)
    own &= (np.abs(pairs.std(-1) - 1) < 0.1).all(0)
    assert 70 < own.sum() < 130
    together = pairs[:, ~own].std((0, 2))
    assert together.min() < 0.7 and together.max() > 1.4


def test__steps__levels_in_the_order_of_their_places():
    time = np.linspace(0, 1, 200)
    still = Variation(noise=0, size=0, shift=0, warp=0, place=0, trend=0)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        steps = Steps(rng, 200)
        passed = (time[:, None] > steps.places).sum(1)
        np.testing.assert_array_equal(steps.values(rng, time, still), steps.levels[passed])


def test__train__resolutions_in_turn(monkeypatch):
    seen = steps_of(monkeypatch, "resolution")
    train(4, seed=0, batch_points=512)
    assert seen == [(True, 1), (True, 2), (True, 4), (True, 1)]


def test__train__gradients_of_each_batch_alone(monkeypatch):
    norms, clip = [], torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda *given: norms.append(float(clip(*given)))
    )
    pairs = draw_pairs(8, 64, np.random.default_rng(0))
    changed = {"_LR": 1e-9, "_RESOLUTIONS": (1,), "_LARGEST_GRADIENT": 1e9}
    for name, value in {**changed, "draw_pairs": lambda *given: pairs}.items():
        monkeypatch.setattr(synthetic_main, name, value)
    monkeypatch.setattr(synthetic_main, "crop_and_stretch", lambda x, generator: x)
    train(3, seed=0)
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-2)

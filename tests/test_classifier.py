import pickle
import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, ShuffleSplit, cross_val_predict
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from skorch.callbacks import Callback, Freezer
from sktime.pipeline import make_pipeline as make_sktime_pipeline
from sktime.transformations.series.exponent import ExponentTransformer

from tsmae import TimeMAEClassifier, TimeMAETransformer
from tsmae._reading import check_order
from tsmae.nn import SeriesClassifier
from tsmae.probe import LinearProbe
from tsmae.training.inference import embed, standardize
from tsmae.training.nets import FineTuningNet

PLAIN = {"lr_schedule": None, "label_smoothing": 0.0, "precision": "float32"}


def weights_of(transformer):
    return [p.detach().clone() for p in transformer.model_.parameters()]


def build(small, **settings):
    defaults = {"fine_tune": "all", "random_state": 0}
    return TimeMAEClassifier(TimeMAETransformer(**small), **(defaults | settings))


def test__fine_tune_head__equals_the_linear_probe(panel, small):
    X, y = panel
    classifier = build(small, fine_tune="head").fit(X, y)
    transformer = TimeMAETransformer(**small).fit(X)
    standard = StandardScaler().fit_transform(transformer.transform(X))
    probe = LinearProbe().fit(standard, y)
    expected = probe.predict_proba(standard)
    # rounding of the embedding decides where the solver, in float32, stops
    np.testing.assert_allclose(classifier.predict_proba(X), expected, atol=2e-3)
    assert classifier.history_ == []


def test__fine_tune_head__three_classes__equals_the_linear_probe(panel, small):
    X, y = panel
    y = np.arange(24) % 3
    classifier = build(small, fine_tune="head").fit(X, y)
    transformer = TimeMAETransformer(**small).fit(X)
    standard = StandardScaler().fit_transform(transformer.transform(X))
    probe = LinearProbe().fit(standard, y)
    expected = probe.predict_proba(standard)
    # rounding of the embedding decides where the solver, in float32, stops
    np.testing.assert_allclose(classifier.predict_proba(X), expected, atol=2e-3)


def test__fine_tune_all__frozen_transformer__is_never_modified(panel, small):
    X, y = panel
    transformer = TimeMAETransformer(**small).fit(X)
    before, embedding = weights_of(transformer), transformer.transform(X)
    classifier = build(small).set_params(
        transformer=FrozenEstimator(transformer), max_epochs=3, lr=1e-2
    )
    classifier.fit(X, y)
    assert all(map(torch.equal, before, weights_of(transformer)))
    np.testing.assert_array_equal(embedding, transformer.transform(X))
    tuned = classifier.model_.encoder.backbone.state_dict()
    given = transformer.model_.backbone.state_dict()
    assert not all(torch.equal(tuned[name], given[name]) for name in given)
    assert clone(classifier).transformer.estimator is transformer
    assert classifier.clone().fit(X, y).transformer_ is transformer


def test__fine_tune_all__loss__falls(panel, small):
    X, y = panel
    classifier = build(small, max_epochs=30, lr=3e-3, batch_size=8, augment=False, **PLAIN).fit(
        X, y
    )
    losses = [row["loss"] for row in classifier.history_]
    assert classifier.n_epochs_ == len(losses) == 30
    assert losses[-1] < 0.5 * losses[0]
    assert classifier.score(X, y) == 1.0


def test__score__weighs_series_as_in_sklearn(panel, small):
    X, y = panel
    classifier = build(small, fine_tune="head").fit(X, y)
    expected = classifier.predict(X)
    expected[0] = 1 - expected[0]  # one wrong, of weight 3
    weights = np.array([3.0] + 23 * [1.0])
    assert classifier.score(X, expected) == 23 / 24
    assert classifier.score(X, expected, sample_weight=weights) == 23 / 26


@pytest.mark.parametrize("fine_tune", ["all", "random"])
def test__average_probe__mean_of_the_logits_of_both(panel, small, fine_tune):
    X, y = panel
    y = np.arange(24) % 3
    settings = {"max_epochs": 2, "fine_tune": fine_tune, "lr": 3e-3}
    both = build(small, **settings).fit(X, y)
    network = build(small, **settings, average_probe=False).fit(X, y)
    epochs = {} if fine_tune == "all" else {"max_epochs": 0}
    probe = build({**small, **epochs}, fine_tune="head").fit(X, y)
    logs = [np.log(c.predict_proba(X)) for c in (network, probe)]
    expected = np.exp(np.mean(logs, axis=0))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(both.predict_proba(X), expected, rtol=1e-4)
    assert np.abs(logs[0] - logs[1]).max() > 1e-2
    np.testing.assert_array_equal(both.transform(X), network.transform(X))
    assert not hasattr(network, "probe_") and not hasattr(probe, "probe_")


def test__jitter__only_of_training_and_auto_only_with_many_labels_and_channels(
    panel, small, monkeypatch
):
    X, y = panel
    settings = {**PLAIN, "max_epochs": 1, "lr": 3e-3, "average_probe": False}
    few, none, some, given = (
        build(small, **settings, jitter=jitter).fit(X, y).predict_proba(X)
        for jitter in ("auto", 0.0, 0.3, 0.5)
    )
    np.testing.assert_array_equal(few, none)
    assert np.abs(some - none).max() > 1e-4
    assert np.abs(given - some).max() > 1e-4
    monkeypatch.setattr("tsmae._auto._MANY_LABELS", len(X))
    many = build(small, **settings).fit(X, y)
    np.testing.assert_array_equal(many.predict_proba(X), some)
    np.testing.assert_array_equal(many.predict_proba(X), many.predict_proba(X))
    single = X[:, :1]
    of_one, none = (
        build(small, **settings, jitter=jitter).fit(single, y).predict_proba(single)
        for jitter in ("auto", 0.0)
    )
    np.testing.assert_array_equal(of_one, none)


def test__augment__trains_on_random_crops_of_about_half_of_the_series(panel, small, monkeypatch):
    X, y = panel
    settings = {**PLAIN, "max_epochs": 2, "lr": 3e-3, "average_probe": False}
    plain = build(small, **settings, augment=False).fit(X, y).predict_proba(X)
    classifier = build(small, **settings).fit(X, y)
    cropped = classifier.predict_proba(X)
    assert np.abs(cropped - plain).max() > 1e-4
    np.testing.assert_array_equal(classifier.predict_proba(X), cropped)  # nothing is drawn

    seen, forward = [], SeriesClassifier.forward

    def spy(self, x, *args):
        if self.training:
            seen.extend((x == 0).all(-1).all(-1).tolist())
        return forward(self, x, *args)

    monkeypatch.setattr("tsmae.training.nets.crop_and_stretch", lambda x, noise: x * 0)
    monkeypatch.setattr(SeriesClassifier, "forward", spy)
    build(small, **{**settings, "max_epochs": 8}).fit(X, y)
    assert len(seen) == 8 * len(X) and 0.35 < np.mean(seen) < 0.65


def test__fine_tune_random__no_pretraining(panel, small):
    X, y = panel
    classifier = build(small, fine_tune="random", max_epochs=1).fit(X, y)
    assert classifier.transformer_.n_epochs_ == 0
    assert classifier.transformer.max_epochs == 1  # the parameter is untouched


def test__transformer_unfitted__is_cloned_and_pretrained(panel, small):
    X, y = panel
    transformer = TimeMAETransformer(**small)
    classifier = TimeMAEClassifier(transformer, fine_tune="head").fit(X, y)
    assert not transformer.is_fitted
    assert classifier.transformer_.n_epochs_ == 1


def test__unlabeled__take_part_in_pretraining__mark_does_not_matter(panel, small):
    X, y = panel
    marked = y.copy()
    marked[::3] = -1
    classifier = build(small, unlabeled=-1, fine_tune="head").fit(X, marked)
    assert classifier.classes_.tolist() == [0, 1]
    assert set(classifier.predict(X)) <= {0, 1}
    assert classifier.predict_proba(X).shape == (24, 2)
    # pre-trained as on the whole panel, unlike on the labelled part alone
    on_all = build(small, fine_tune="head").fit(X, y).transformer_
    on_part = build(small, fine_tune="head").fit(X[marked >= 0], y[marked >= 0]).transformer_
    assert all(map(torch.equal, weights_of(on_all), weights_of(classifier.transformer_)))
    assert not all(map(torch.equal, weights_of(on_part), weights_of(classifier.transformer_)))
    other = build(small, unlabeled=-7, fine_tune="head").fit(X, np.where(marked < 0, -7, marked))
    np.testing.assert_array_equal(other.predict_proba(X), classifier.predict_proba(X))


@pytest.mark.parametrize(
    "settings",
    [
        {"fine_tune": "head"},
        {"fine_tune": "all", "max_epochs": 1},
        {"fine_tune": "random", "max_epochs": 1},
        {"fine_tune": "head", "self_training": 0.6},
        {"fine_tune": "head", "standardize": False},
        {"fine_tune": "all", "max_epochs": 1, "validation_fraction": 0.3},
    ],
)
def test__fit__embeds_no_series_again__as_if_it_had(panel, small, monkeypatch, settings):
    X, y = panel
    marked = np.where(np.arange(24) % 3 == 1, -1, y)
    transformer = {"standardize": settings.get("standardize", True), "random_state": 0, **small}
    own = {k: v for k, v in settings.items() if k != "standardize"}

    def fitted(known):
        classifier = TimeMAEClassifier(
            TimeMAETransformer(**transformer), unlabeled=-1, random_state=0, **own
        )
        with monkeypatch.context() as patch:
            if known:
                patch.setattr("tsmae.classifier.embed", None)
            else:  # as of panels of which fitting embeds a sample only
                patch.setattr(
                    TimeMAETransformer, "_fit_and_embed", lambda self, X: self.fit(X) and None
                )
                patch.setattr("tsmae.classifier.standardize", without_result)
            return classifier.fit(X, marked)

    def without_result(*args):
        standardize(*args)

    given, made = fitted(known=True), fitted(known=False)
    np.testing.assert_allclose(given.predict_proba(X), made.predict_proba(X), atol=1e-3)
    assert given.n_self_trained_ == made.n_self_trained_
    for one, other in zip(
        weights_of(given.transformer_), weights_of(made.transformer_), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("standardize", [True, False])
def test__frozen_transformer__a_parameter_changed_since_its_fit__changes_nothing(
    panel, small, standardize
):
    X, y = panel
    marked = np.where(np.arange(24) % 3 == 1, -1, y)
    transformer = TimeMAETransformer(**{**small, "standardize": standardize}).fit(X)

    def fitted():
        return TimeMAEClassifier(
            FrozenEstimator(transformer), "head", unlabeled=-1, self_training=0.6, random_state=0
        ).fit(X, marked)

    before = fitted()
    transformer.standardize = not standardize
    after = fitted()
    np.testing.assert_array_equal(after.transform(X), before.transform(X))
    np.testing.assert_array_equal(after.predict_proba(X), before.predict_proba(X))
    entering = before.transform(X)
    np.testing.assert_allclose(entering.mean(), 0, atol=1e-3)
    np.testing.assert_allclose(entering.std(ddof=0), 1, atol=1e-3)


def few(panel, small):
    """A panel with a third of its labels, and a fitted transformer to be used as it is."""
    X, y = panel
    marked = np.where(np.arange(24) % 3 == 0, y, -1)
    return X, marked, FrozenEstimator(TimeMAETransformer(**small).fit(X))


def test__self_training__of_head__equals_that_of_sklearn(panel, small, tmp_path):
    X, marked, frozen = few(panel, small)
    head = {"fine_tune": "head", "unlabeled": -1, "self_training": 0.6, "random_state": 0}
    classifier = TimeMAEClassifier(frozen, **head).fit(X, marked)
    embedding = frozen.estimator.transform(X)
    expected = SelfTrainingClassifier(LogisticRegression(max_iter=1000), threshold=0.6)
    transduced = expected.fit(embedding, marked).transduction_
    assert classifier.n_self_trained_ == (transduced >= 0).sum() - (marked >= 0).sum() > 0
    sure = TimeMAEClassifier(frozen, fine_tune="head", random_state=0)
    sure.fit(X[transduced >= 0], transduced[transduced >= 0])
    # other order of the series, other rounding
    np.testing.assert_allclose(classifier.predict_proba(X), sure.predict_proba(X), atol=2e-3)
    classifier.save(tmp_path / "model")
    for copy in (
        pickle.loads(pickle.dumps(classifier)),
        TimeMAEClassifier.load(tmp_path / "model"),
    ):
        np.testing.assert_array_equal(copy.predict_proba(X), classifier.predict_proba(X))
        assert copy.n_self_trained_ == classifier.n_self_trained_
        assert copy.self_training == 0.6


@pytest.fixture
def asked(monkeypatch):
    """Fills with the embeddings and marks that self-training gets."""
    seen = []

    class Asked(SelfTrainingClassifier):
        def fit(self, X, y):
            seen.append((X, y))
            return super().fit(X, y)

    monkeypatch.setattr("tsmae.classifier.SelfTrainingClassifier", Asked)
    return seen


def n_asked(asked):
    """Series with and without a label at the last time."""
    marks = asked[-1][1]
    return (marks >= 0).sum(), (marks == -1).sum()


def test__self_training__columns_of_rounding__stay_as_small(asked):
    X = np.random.default_rng(0).normal(size=(60, 1, 8))  # windows of two points
    y = np.where(np.arange(60) % 3 == 0, np.arange(60) % 2, -1)
    transformer = TimeMAETransformer(max_epochs=0, random_state=0).fit(X)
    own = transformer.transform(X).to_numpy().std(0)
    assert ((own > 0) & (own < 1e-5)).any()
    head = {"fine_tune": "head", "unlabeled": -1, "self_training": 0.6}
    TimeMAEClassifier(FrozenEstimator(transformer), **head).fit(X, y)
    np.testing.assert_allclose(asked[0][0].std(0), own, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("fine_tune", ["head", "all"])
def test__self_training__none__learns_from_given_labels_alone(panel, small, fine_tune):
    X, marked, frozen = few(panel, small)
    settings = {"fine_tune": fine_tune, "max_epochs": 2, "random_state": 0}
    given = marked >= 0
    alone = TimeMAEClassifier(frozen, **settings, unlabeled=-1, self_training=None)
    alone.fit(X, marked)
    assert alone.n_self_trained_ == 0
    with_sure = TimeMAEClassifier(frozen, **settings, unlabeled=-1, self_training=0.55)
    with_sure.fit(X, marked)
    assert 0 < with_sure.n_self_trained_ <= (~given).sum()
    assert not np.array_equal(alone.predict_proba(X), with_sure.predict_proba(X))
    if fine_tune == "head":  # the readout of "all" is standardised on the whole panel
        part = TimeMAEClassifier(frozen, **settings).fit(X[given], marked[given])
        np.testing.assert_array_equal(part.predict_proba(X), alone.predict_proba(X))


def test__self_training__spares_held_out_series_and_asks_a_sample(panel, small, asked, monkeypatch):
    X, marked, frozen = few(panel, small)
    settings = {"unlabeled": -1, "self_training": 0.55, "max_epochs": 1, "random_state": 0}
    classifier = TimeMAEClassifier(frozen, "all", validation_fraction=0.5, **settings)
    classifier.fit(X, marked)
    assert n_asked(asked) == (4, 16)
    monkeypatch.setattr("tsmae.classifier._SELF_TRAINED_ON", 5)
    classifier.set_params(validation_fraction=None).fit(X, marked)
    assert n_asked(asked) == (8, 5)
    assert classifier.n_self_trained_ <= 5
    monkeypatch.setattr("tsmae.classifier._PROBED_ON", 3)  # of the given ones, too; all are learned
    fewer = clone(classifier).fit(X, marked)
    assert n_asked(asked) in ((3, 5), (4, 5))
    learned = []
    monkeypatch.setattr(
        "tsmae.classifier.fine_tune",
        lambda model, panel, targets, *_, **__: learned.append(targets) or [],
    )
    fewer.fit(X, marked)
    assert len(learned[0]) == 8 + fewer.n_self_trained_
    np.testing.assert_array_equal(learned[0][:8], marked[marked >= 0])


@pytest.mark.filterwarnings("ignore:unlabeled=-1 marks no series")
def test__self_training__without_a_mark__says_so(panel, small):
    X, y = panel
    with pytest.raises(ValueError, match=r"'self_training'.*'unlabeled'.*Got self_training=0.75"):
        build(small, self_training=0.75).fit(X, y)
    everything = build(small, self_training=0.75, unlabeled=-1, max_epochs=1).fit(X, y)
    assert everything.n_self_trained_ == 0


def test__unlabeled__all_or_one_class_left(panel, small):
    X, _ = panel
    with pytest.raises(ValueError, match="Every label in y is -1"):
        build(small, unlabeled=-1).fit(X, np.full(24, -1))
    one = np.full(24, -1)
    one[:5] = 3
    with pytest.warns(UserWarning, match="only class in y beside unlabeled=-1 is 3"):
        classifier = build(small, unlabeled=-1).fit(X, one)
    assert set(classifier.predict(X)) == {3}


@pytest.mark.filterwarnings("ignore:only single label")
def test__one_class__predicted_without_training(panel, small):
    X, _ = panel
    classifier = build(small).fit(X, np.full(24, "a"))
    assert set(classifier.predict(X)) == {"a"}
    probabilities = classifier.predict_proba(X)
    assert probabilities.dtype == np.float64 and (probabilities == 1).all()
    with pytest.raises(ValueError, match="single class"):
        classifier.transform(X)


def test__class_weight__moves_predictions(panel, small):
    X, y = panel
    noisy = np.random.default_rng(0).permutation(y)
    few, many = (
        build(small, fine_tune="head", class_weight={0: 1.0, 1: w})
        .fit(X, noisy)
        .predict_proba(X)[:, 1]
        .mean()
        for w in (0.05, 20.0)
    )
    assert few < many - 0.05
    rare = np.array([0] * 20 + [1] * 4)
    plain = build(small, max_epochs=1, lr=1e-9).fit(X, rare)
    balanced = build(small, max_epochs=1, lr=1e-9, class_weight="balanced").fit(X, rare)
    assert balanced.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean()


def test__validation_fraction__stops_early_and_restores_the_best(panel, small):
    X, y = panel
    noise = np.random.default_rng(1).permutation(y)  # nothing to learn: validation gets worse
    settings = {"max_epochs": 40, "lr": 0.02, "batch_size": 4, "patience": 3, **PLAIN}
    classifier = build(small, validation_fraction=0.5, **settings).fit(X, noise)
    valid = [row["valid_loss"] for row in classifier.history_]
    best = int(np.argmin(valid))
    assert len(valid) == best + 3 < 40 or len(valid) == best + 4 < 40
    again = build(small, validation_fraction=0.5, **{**settings, "max_epochs": best + 1})
    np.testing.assert_allclose(
        again.fit(X, noise).predict_proba(X), classifier.predict_proba(X), atol=1e-6
    )


def test__labels__strings_and_booleans__come_back(panel, small):
    X, y = panel
    for labels in (np.array(["sitting", "walking"])[y], y.astype(bool), y.astype(float)):
        predicted = build(small, fine_tune="head").fit(X, labels).predict(X)
        assert predicted.dtype == labels.dtype
        assert (predicted == labels).mean() > 0.6


def test__set_params__nested_on_default_transformer__builds_one():
    classifier = TimeMAEClassifier().set_params(transformer__d_model=32)
    assert classifier.transformer.d_model == 32


def test__predict_proba__rows_sum_to_one_and_match_predict(panel, small):
    X, _y = panel
    classifier = build(small, max_epochs=1).fit(X, np.arange(24) % 3)
    probabilities = classifier.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-12)
    np.testing.assert_array_equal(probabilities.argmax(1), classifier.predict(X))
    assert (
        classifier.score(X, np.arange(24) % 3)
        == (classifier.predict(X) == np.arange(24) % 3).mean()
    )


@pytest.mark.parametrize(("few", "trained"), [(20, "all"), (21, "head")])
def test__fine_tune_auto__head_for_few_labels(panel, small, monkeypatch, tmp_path, few, trained):
    X, y = panel
    monkeypatch.setattr("tsmae._auto._FEW_LABELS", few)
    marked = np.where(np.arange(len(y)) < 20, y, -1)
    auto = build(small, fine_tune="auto", unlabeled=-1, max_epochs=1).fit(X, marked)
    assert auto.fine_tune_ == trained
    given = build(small, fine_tune=trained, unlabeled=-1, max_epochs=1).fit(X, marked)
    expected = given.predict_proba(X)
    np.testing.assert_array_equal(auto.predict_proba(X), expected)
    auto.save(tmp_path / "auto")
    loaded = TimeMAEClassifier.load(tmp_path / "auto")
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)


def test__fine_tune_random__frozen_transformer__gives_its_settings_and_not_its_weights(
    panel, small
):
    X, y = panel
    trained = TimeMAETransformer(**{**small, "max_epochs": 3, "lr": 0.05}).fit(X)
    frozen, settings = FrozenEstimator(trained), {"max_epochs": 1, "random_state": 0}
    random = TimeMAEClassifier(frozen, fine_tune="random", **settings).fit(X, y)
    unfitted = TimeMAEClassifier(clone(trained), fine_tune="random", **settings).fit(X, y)
    tuned = TimeMAEClassifier(frozen, fine_tune="all", **settings).fit(X, y)
    assert random.transformer_.n_epochs_ == 0 and trained.n_epochs_ == 3
    np.testing.assert_array_equal(random.predict_proba(X), unfitted.predict_proba(X))
    assert not np.array_equal(random.predict_proba(X), tuned.predict_proba(X))
    other = TimeMAEClassifier(frozen, fine_tune="random", **settings).fit(X[:, :1], y)
    assert other.predict(X[:, :1]).shape == y.shape  # of other channels: nothing but settings


def test__default_transformer__takes_the_settings_of_the_machine(panel):
    X, y = panel
    own = {"precision": "float32", "device": "cpu"}
    classifier = TimeMAEClassifier(fine_tune="random", max_epochs=0, **own).fit(X, y)
    nested = TimeMAEClassifier(device="cpu").set_params(
        transformer__d_model=16, precision="float32"
    )
    for transformer in (classifier.transformer_, nested.transformer):
        assert {name: getattr(transformer, name) for name in own} == own
    assert nested.transformer.d_model == 16


@pytest.mark.parametrize(
    "unlabeled, words", [(-1, ["a", "b"]), ("-1", [0, 1]), (False, [0, 1]), (0, [False, True])]
)
def test__unlabeled__of_another_type_than_y__says_so(panel, small, unlabeled, words):
    X, y = panel
    got = re.escape(repr(unlabeled))
    with pytest.raises(TypeError, match=rf"'unlabeled'.*of the labels in y.*Got {got} instead"):
        build(small, unlabeled=unlabeled).fit(X, np.array(words)[y])


@pytest.mark.parametrize("fine_tune", ["head", "all"])
def test__readout__is_that_of_the_encoder(panel, small, fine_tune):
    classifier = build(small, fine_tune=fine_tune, max_epochs=0, pooling="max").fit(*panel)
    pooled = classifier.readout_["statistics"], classifier.model_.encoder.statistics
    expected = classifier.transformer_.readout_["statistics"] if fine_tune == "head" else ["max"]
    assert [list(statistics) for statistics in pooled] == 2 * [list(expected)]
    assert list(classifier.transformer_.readout_["statistics"]) != ["max"]


def test__validation_fraction__a_class_without_training_series__says_so(panel, small):
    X, y = panel
    X, y = np.concatenate([X, X, X[:12]]), np.repeat([0, 1, 2], [29, 29, 2])
    with pytest.raises(ValueError, match=r"validation_fraction=0.8 of 60.*no series left"):
        build(small, validation_fraction=0.8).fit(X, y)


def test__class_weight__batches_of_weight_zero_only__train_on(panel, small):
    X, y = panel
    classifier = build(small, class_weight={0: 0, 1: 1}, batch_size=1, max_epochs=2).fit(X, y)
    assert all(row["loss"] < 1 for row in classifier.history_)
    assert (classifier.predict(X) == 1).all()


def test__class_weight__zero__the_class_adds_no_loss(panel, small):
    X, y = panel
    settings = {"lr": 1e-12, "weight_decay": 0.0, "max_epochs": 1, "augment": False, **PLAIN}
    settings |= {"class_weight": {0: 1.0, 1: 0.0}, "label_smoothing": 0.3, "batch_size": 24}
    still = TimeMAETransformer(**{**small, "dropout": 0.0})
    classifier = TimeMAEClassifier(still, fine_tune="all", average_probe=False, **settings)
    classifier.fit(X, y)
    logits = torch.log(torch.from_numpy(classifier.predict_proba(X[y == 0])))
    expected = torch.nn.functional.cross_entropy(
        logits, torch.zeros(12, dtype=torch.int64), torch.tensor([1.0, 0.0]).double(),
        label_smoothing=0.3,
    )  # fmt: skip
    assert classifier.history_[0]["loss"] == pytest.approx(float(expected), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test__loss__weighted_mean_as_in_torch(panel, small, label_smoothing):
    X, y = panel
    weights = {0: 1.0, 1: 3.0}
    settings = {"lr": 1e-12, "weight_decay": 0.0, "max_epochs": 1, "augment": False, **PLAIN}
    settings |= {"label_smoothing": label_smoothing, "class_weight": weights, "batch_size": 24}
    still = TimeMAETransformer(**{**small, "dropout": 0.0})
    classifier = TimeMAEClassifier(still, fine_tune="all", average_probe=False, **settings)
    classifier.fit(X, y)
    logits = torch.log(torch.from_numpy(classifier.predict_proba(X)))
    expected = torch.nn.functional.cross_entropy(
        logits, torch.from_numpy(y), torch.tensor([1.0, 3.0]).double(),
        label_smoothing=label_smoothing,
    )  # fmt: skip
    assert classifier.history_[0]["loss"] == pytest.approx(float(expected), rel=1e-3)


def test__validation__a_loss_that_falls_by_little__does_not_stop(panel):
    (X, y), small = panel, TimeMAETransformer.get_test_params()[1] | {"random_state": 0}
    settings = {**PLAIN, "lr": 1e-8, "weight_decay": 0.0, "max_epochs": 6, "patience": 1}
    still = TimeMAETransformer(**{**small, "dropout": 0.0})
    classifier = TimeMAEClassifier(
        still, fine_tune="all", validation_fraction=0.5, augment=False, random_state=0, **settings
    ).fit(X, y)
    losses = np.array([row["valid_loss"] for row in classifier.history_])
    gains = -np.diff(losses) / losses[:-1]
    assert len(losses) == 6 and (gains > 0).all() and gains.max() < 1e-4


def test__transformer_pretrained_here__knows_the_names_of_the_channels(panel, small):
    X, y = panel
    frames = [pd.DataFrame(series.T, columns=["a", "b", "c"]) for series in X]
    named = pd.concat(frames, keys=range(len(X)), names=["i", "t"])
    classifier = build(small, fine_tune="head").fit(named, y)
    assert classifier.transformer_.channel_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="same names in the same order"):
        classifier.transformer_.transform(named[["b", "a", "c"]])
    given = TimeMAETransformer(**small).fit(X)
    build(small).set_params(transformer=FrozenEstimator(given), fine_tune="head").fit(named, y)
    assert not hasattr(given, "channel_names_in_")


def test__self_training__encoder_on_another_device__embeds_there(panel, small, monkeypatch):
    X, y = panel
    given = TimeMAETransformer(**small, device="cpu:0").fit(X)
    used = []

    def spy(encoder, panel, device):
        used.append((encoder is given.series_encoder_, device))
        return embed(encoder, panel, device)

    monkeypatch.setattr("tsmae.classifier.embed", spy)
    marked = np.where(np.arange(24) < 12, y, -1)
    settings = {"unlabeled": -1, "self_training": 0.6, "device": "cpu", "fine_tune": "head"}
    build(small).set_params(transformer=FrozenEstimator(given), **settings).fit(X, marked)
    devices = {True: torch.device("cpu:0"), False: torch.device("cpu")}
    assert used and all(device == devices[of_given] for of_given, device in used)
    assert any(of_given for of_given, _ in used)


def test__set_params__default_transformer__reached_through_sktime_and_kept_if_unchanged(panel):
    classifier = TimeMAEClassifier(precision="float32")
    assert classifier.get_params()["transformer__precision"] == "float32"
    assert classifier.set_params(**classifier.get_params()).transformer is None
    with pytest.raises(ValueError, match="transfomer__d_model"):
        classifier.set_params(transfomer__d_model=8)
    with pytest.raises(ValueError, match="Invalid parameter"):
        classifier.set_params(transformer__no_such=8)
    assert classifier.transformer is None
    pipeline = make_sktime_pipeline(ExponentTransformer(), classifier)  # which clones it
    pipeline.set_params(classifier__transformer__d_model=8, classifier__transformer__max_epochs=0)
    transformer = pipeline.fit(*panel).classifier_.transformer_
    assert (transformer.d_model, transformer.n_epochs_) == (8, 0)
    assert transformer.precision == "float32"


def test__score__several_outputs__leaves_out_series_with_a_mark(panel, small):
    X, y = panel
    Y = np.column_stack([y, 1 - y])
    Y[:6, 0] = Y[4:9, 1] = -1
    classifier = TimeMAEClassifier(TimeMAETransformer(**small), fine_tune="head", unlabeled=-1)
    classifier.fit(X, Y)
    hits = (np.asarray(classifier.predict(X)) == np.column_stack([y, 1 - y])).all(1)[9:]
    assert 0 < hits.mean() <= 1
    assert classifier.score(X, Y) == classifier.score(X, pd.DataFrame(Y)) == hits.mean()
    weights = np.arange(24.0)
    assert classifier.score(X, Y, weights) == pytest.approx(np.average(hits, weights=weights[9:]))
    Y[:, 1] = np.where(Y[:, 0] < 0, Y[:, 1], -1)
    Y[0, 1] = 0
    with pytest.raises(ValueError, match="Every series has -1"):
        classifier.score(X, Y)


def test__score__several_outputs_of_several_classes_or_words__all_must_be_right(panel, small):
    X, y = panel
    Y = pd.DataFrame({"a": np.arange(24) % 3, "b": np.where(y, "yes", "no")})
    classifier = TimeMAEClassifier(TimeMAETransformer(**small), fine_tune="head").fit(X, Y)
    predicted = pd.DataFrame(classifier.predict(X), columns=["a", "b"])
    hits = ((predicted["a"] == Y["a"]) & (predicted["b"] == Y["b"])).to_numpy()
    assert classifier.score(X, Y) == hits.mean()
    wrong = Y.assign(b=Y["b"].map({"yes": "no", "no": "yes"}))
    assert classifier.score(X, wrong) < hits.mean()


def test__score__other_outputs_than_in_fit__says_so(panel, small):
    X, y = panel
    Y = pd.DataFrame({"a": np.arange(24) % 3, "b": y})
    of_two = TimeMAEClassifier(TimeMAETransformer(**small), fine_tune="head").fit(X, Y)
    of_one = clone(of_two).fit(X, y)
    for classifier, labels, words in (
        (
            of_two,
            Y[["b", "a"]],
            r"columns of y are \['b', 'a'\], but in fit they were \['a', 'b'\]",
        ),
        (of_two, y, r"y has 1 output\(s\), but in fit it had 2"),
        (of_one, Y, r"y has 2 output\(s\), but in fit it had 1"),
    ):
        with pytest.raises(ValueError, match=words):
            classifier.score(X, labels)
    unnamed = clone(of_two).fit(X, Y.to_numpy())
    assert of_two.score(X, Y) == of_two.score(X, Y.to_numpy()) == unnamed.score(X, Y)


@pytest.mark.parametrize("weighted", [False, True])
def test__score__leaves_out_series_without_a_label(panel, small, weighted):
    X, y = panel
    classifier = build(small, unlabeled=-1, fine_tune="head", max_epochs=1)
    marked = np.where(np.arange(24) % 3 == 0, -1, y)
    given = marked >= 0
    weights = np.arange(24.0) if weighted else np.ones(24)
    hits = classifier.fit(X, marked).predict(X) == y
    expected = np.average(hits[given], weights=weights[given])
    found = classifier.score(X, marked, weights if weighted else None)
    assert found == pytest.approx(expected)


def test__unlabeled__marks_nothing__warns(panel, small):
    X, y = panel
    voting = VotingClassifier([("mae", build(small, unlabeled=-1, fine_tune="head"))])
    with pytest.warns(UserWarning, match="unlabeled=-1 marks no series of y"):
        voting.fit(X, np.where(np.arange(24) < 8, -1, y))


def test__transformer__fitted_but_not_frozen__warns_that_it_is_trained_anew(panel, small):
    X, y = panel
    fitted = TimeMAETransformer(**small).fit(X)
    with pytest.warns(UserWarning, match=r"pre-trained anew.*FrozenEstimator"):
        TimeMAEClassifier(fitted, fine_tune="head").fit(X, y)


def test__several_outputs__frame_of_polars__as_of_pandas(panel, small):
    polars = pytest.importorskip("polars")
    X, y = panel
    outputs = pd.DataFrame({"a": y, "b": y[::-1].copy()})
    given = polars.DataFrame(outputs.to_dict("list"))
    expected = build(small, fine_tune="head").fit(X, outputs)
    classifier = build(small, fine_tune="head").fit(X, given)
    pd.testing.assert_frame_equal(classifier.predict(X), expected.predict(X))
    assert classifier.score(X, given) == expected.score(X, outputs)
    with pytest.raises(ValueError, match="several outputs, which `cv`"):
        classifier.fit_predict(X, given, cv=2)
    assert classifier.fit(X, given[["a"]]).classes_.tolist() == np.unique(y).tolist()


def test__several_outputs__frame_with_any_index(panel, small):
    X, y = panel
    frame = pd.DataFrame({"a": y, "b": 1 - y}, index=[f"s{i}" for i in reversed(range(24))])
    classifier = build(small, fine_tune="head").fit(X, frame)
    plain = build(small, fine_tune="head").fit(X, frame.to_numpy())
    np.testing.assert_array_equal(classifier.predict(X), plain.predict(X))


def test__callback_that_freezes__only_the_training_it_belongs_to(panel, small):
    X, y = panel
    freezer = Freezer("backbone.encoder*")
    transformer = TimeMAETransformer(**small, callbacks=[freezer]).fit(X)
    untrained = TimeMAETransformer(**{**small, "max_epochs": 0}).fit(X)

    def encoder(estimator):
        return [p.detach().numpy() for p in estimator.series_encoder_.backbone.encoder.parameters()]

    for mine, initial in zip(encoder(transformer), encoder(untrained), strict=True):
        np.testing.assert_array_equal(mine, initial)
    assert all(p.requires_grad for p in transformer.model_.backbone.parameters())
    tuned = TimeMAEClassifier(FrozenEstimator(transformer), "all", 2, lr=1e-2, random_state=0)
    weights = tuned.fit(X, y).model_.encoder.backbone.encoder.parameters()
    pairs = zip(weights, encoder(transformer), strict=True)
    assert any(not np.array_equal(new.detach(), frozen) for new, frozen in pairs)


def test__winners__trained_encoder__has_units_measured_before_training(panel, small):
    X, y = panel
    readout = {
        "pooling_layers": "last",
        "pooling_resolutions": (1,),
        "pooling_slopes": (),
        "pooling_shifts": 1,
    }
    transformer = TimeMAETransformer(**{**small, **readout, "pooling": "winners"})
    classifier = TimeMAEClassifier(
        transformer, fine_tune="all", max_epochs=1, random_state=0, pooling="winners", **readout
    ).fit(X, y)
    units = classifier.model_.encoder.unit_scale
    assert torch.equal(units, classifier.transformer_.series_encoder_.unit_scale)
    assert (units - 1).abs().min() > 1e-3


def test__probe__more_labels_than_its_limit__sample_with_all_classes(panel, small, monkeypatch):
    X, _ = panel
    y = np.array(["rare", *["a", "b"] * 11, "a"])
    seen = []
    monkeypatch.setattr("tsmae.classifier._PROBED_ON", 6)
    fit = LinearProbe.fit
    monkeypatch.setattr(
        LinearProbe, "fit", lambda self, X, y: seen.append(np.array(y)) or fit(self, X, y)
    )
    classifier = build(small, fine_tune="head").fit(X, y)
    assert len(seen[0]) in (6, 7) and set(seen[0]) == {0, 1, 2}
    assert classifier.predict_proba(X).shape == (24, 3)


@pytest.mark.parametrize("container", ["array", "list", "frame"])
@pytest.mark.parametrize("text", [False, True])
def test__fit_predict__folds__as_scikit_learn(panel, small, container, text):
    X, y = panel
    labels = np.array(["no", "yes"])[y] if text else y
    index = pd.MultiIndex.from_product([range(24), range(40)])
    frame = pd.DataFrame(np.moveaxis(X, 1, 2).reshape(-1, 3), index=index)
    given = {"array": X, "list": list(X), "frame": frame}[container]
    classifier = TimeMAEClassifier(
        TimeMAETransformer(**{**small, "max_epochs": 1}), "head", random_state=0
    )
    folds = KFold(3, shuffle=True, random_state=1)
    found = classifier.fit_predict(given, labels, cv=folds, change_state=False)
    assert not classifier.is_fitted
    expected = cross_val_predict(classifier, X, labels, cv=folds)
    assert found.dtype == labels.dtype and (found == expected).all()
    found = classifier.fit_predict_proba(given, labels, cv=folds)
    assert (classifier.predict(X) == classifier.fit_predict(given, labels)).all()
    expected = cross_val_predict(classifier, X, labels, cv=folds, method="predict_proba")
    np.testing.assert_array_equal(found, expected)
    splits = list(folds.split(X))
    np.testing.assert_array_equal(
        classifier.fit_predict_proba(given, labels, cv=splits, change_state=False), expected
    )


def test__fit_predict__so_many_folds__shuffled_by_the_seed(panel, small, monkeypatch):
    X, y = panel
    seen = []
    monkeypatch.setattr(
        "tsmae.classifier.KFold", lambda *args, **settings: seen.append(settings) or KFold(args[0])
    )
    transformer = TimeMAETransformer(**{**small, "max_epochs": 0})
    for seed in (0, 0, 1):
        classifier = TimeMAEClassifier(transformer, "head", random_state=seed)
        classifier.fit_predict(X, y, cv=2, change_state=False)
    assert all(settings["shuffle"] for settings in seen)
    first, again, other = (settings["random_state"] for settings in seen)
    assert first == again != other
    classifier = TimeMAEClassifier(transformer, "head", random_state=np.random.RandomState(0))
    classifier.fit_predict(X, y, cv=2, change_state=False)
    assert classifier.random_state.randint(100) == np.random.RandomState(0).randint(100)


def test__fit_predict__folds__marks_and_classes_that_a_fold_lacks(panel, small):
    X, y = panel
    y = np.where(np.arange(24) % 4 == 0, -1, y)
    y[-1] = 7
    transformer = TimeMAETransformer(**{**small, "max_epochs": 0})
    classifier = TimeMAEClassifier(transformer, "head", unlabeled=-1, random_state=0)
    found = classifier.fit_predict_proba(X, y, cv=KFold(4), change_state=False)
    assert found.shape == (24, 3)
    np.testing.assert_allclose(found.sum(1), 1)
    assert (found[18:, 2] == 0).all() and (found[:18, 2] > 0).all()
    assert set(classifier.fit_predict(X, y, cv=2, change_state=False)) <= {0, 1, 7}


def test__fit_predict__a_fold_that_holds_out_all_marks__no_warning_that_there_are_none(
    panel, small, recwarn
):
    X, y = panel
    y = np.where(np.arange(24) < 3, -1, y)
    transformer = TimeMAETransformer(**{**small, "max_epochs": 0})
    classifier = TimeMAEClassifier(
        transformer, "head", unlabeled=-1, self_training=0.9, random_state=0
    )
    found = classifier.fit_predict(X, y, cv=KFold(3), change_state=False)
    assert set(found) == {0, 1} and not [w for w in recwarn if "unlabeled" in str(w.message)]
    with pytest.warns(UserWarning, match="marks no series of y"):
        classifier.fit_predict(X[3:], y[3:], cv=KFold(3), change_state=False)


def test__fit_predict__folds_that_leave_series_out__refused(panel, small):
    X, y = panel
    classifier = TimeMAEClassifier(TimeMAETransformer(**small), "head", random_state=0)
    for cv, words in ((1, "n_splits=1"), ("x", "Expected .?cv.? as an integer")):
        with pytest.raises(ValueError, match=words):
            classifier.fit_predict(X, y, cv=cv)
    names = [f"s{i}" for i in range(24)]
    index = pd.MultiIndex.from_product([names, range(40)])
    frame = pd.DataFrame(np.moveaxis(X, 1, 2).reshape(-1, 3), index=index)
    with pytest.raises(ValueError, match="y has the names of the series in X in another order"):
        classifier.fit_predict(frame, pd.Series(y, names)[::-1], cv=3, change_state=False)
    with pytest.raises(ValueError, match=r"must hold each series out once; .* is in 0 test parts"):
        classifier.fit_predict(X, y, cv=ShuffleSplit(1, test_size=0.5, random_state=0))
    with pytest.raises(ValueError, match=r"cv=\[\] must hold each series out once"):
        classifier.fit_predict(X, y, cv=[])
    with pytest.raises(ValueError, match="y has several outputs, which `cv`"):
        classifier.fit_predict(X, np.stack([y, 1 - y], 1), cv=3)
    assert not classifier.is_fitted


def test__labels_named_as_the_series_in_another_order__refused(panel, small):
    X, y = panel
    names = [f"s{i}" for i in range(24)]
    index = pd.MultiIndex.from_product([names, range(40)])
    frame = pd.DataFrame(np.moveaxis(X, 1, 2).reshape(-1, 3), index=index)
    labels = pd.Series(y, index=names)
    classifier = build(small, max_epochs=1).fit(frame, labels)
    for call in (classifier.score, classifier.fit, classifier.transformer.fit):
        with pytest.raises(ValueError, match="y has the names of the series in X in another order"):
            call(frame, labels.sort_index())
    classifier.fit(frame, labels.sort_index().to_numpy())  # by position
    classifier.fit(X, labels[::-1])  # of series without names nothing is known


def test__held_out_loss__without_label_smoothing(panel, small):
    X, y = panel
    settings = {**PLAIN, "lr": 1e-12, "weight_decay": 0.0, "max_epochs": 1, "augment": False}
    settings |= {"validation_fraction": 0.5, "average_probe": False}
    still = {**small, "dropout": 0.0}
    smooth, plain = (
        build(still, **settings | {"label_smoothing": share}).fit(X, y).history_[0]
        for share in (0.3, 0.0)
    )
    assert smooth["valid_loss"] == pytest.approx(plain["valid_loss"], rel=1e-5)
    assert smooth["loss"] > plain["loss"] + 1e-2


def test__history__accuracy__share_of_right_predictions(panel, small):
    X, y = panel
    noisy = np.random.default_rng(0).permutation(y)
    settings = {**PLAIN, "lr": 1e-12, "weight_decay": 0.0, "max_epochs": 1, "augment": False}
    still = TimeMAETransformer(**{**small, "dropout": 0.0, "max_epochs": 0})
    classifier = TimeMAEClassifier(
        still, "all", average_probe=False, batch_size=5, class_weight={0: 1, 1: 9}, **settings
    ).fit(X, noisy)
    hits = classifier.predict(X) == noisy
    assert classifier.history_[0]["accuracy"] == pytest.approx(hits.mean())
    assert hits.mean() != 0.5


def learned(monkeypatch):
    """Fills with what `fine_tune` is given: positions of the panel's series, and settings."""
    seen = []
    monkeypatch.setattr(
        "tsmae.classifier.fine_tune",
        lambda model, *data, **settings: seen.append((*data, settings)) or [],
    )
    return seen


def test__validation_fraction__held_out_in_the_proportions_of_the_classes(
    panel, small, monkeypatch
):
    X, y = panel
    y, seen = np.where(np.arange(24) % 3, "often", "rare"), learned(monkeypatch)
    for seed in (0, 1):
        build({**small, "max_epochs": 0}, validation_fraction=0.5, random_state=seed).fit(X, y)
        _, targets, (_, held_out), _ = seen[-1]
        assert np.bincount(targets).tolist() == np.bincount(held_out).tolist() == [8, 4]


def test__batch_size_and_jitter__auto__of_series_trained_on_and_of_labels_given(small, monkeypatch):
    seen = learned(monkeypatch)
    monkeypatch.setattr("tsmae._auto._MANY_LABELS", 640)
    X = np.random.default_rng(0).normal(size=(800, 2, 8))
    y = np.where(np.arange(800) < 640, np.arange(800) % 2, -1)
    settings = {"unlabeled": -1, "validation_fraction": 0.5, "average_probe": False}
    build({**small, "max_epochs": 0}, **settings).fit(X, y)
    assert len(seen[-1][1]) == 320
    assert seen[-1][-1]["batch_size"] == 20
    assert seen[-1][-1]["jitter"] == 0.3


def test__self_training__embeddings_not_standardised__are_for_it(panel, small, asked):
    X, marked, frozen = few(panel, {**small, "standardize": False})
    head = {"fine_tune": "head", "unlabeled": -1, "self_training": 0.6, "random_state": 0}
    TimeMAEClassifier(frozen, **head).fit(X, marked)
    embedded = asked[0][0]
    np.testing.assert_allclose(embedded.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(embedded.std(0), 10 / embedded.shape[1] ** 0.5, rtol=1e-3)


def test__labels__names_that_occur_twice__say_nothing_of_the_order():
    labels = pd.Series([0, 1, 1], index=["a", "b", "b"])
    check_order(labels, pd.Index(["b", "a", "b"]))
    check_order(labels, pd.Index(["a", "b", "c"]))
    check_order(pd.Series([0, 1], ["a", "b"]), pd.Index(["c", "d"]))  # names of something else
    with pytest.raises(ValueError, match="another order"):
        check_order(pd.Series([0, 1], index=["a", "b"]), pd.Index(["b", "a"]))
    for names in (pd.Index([0, 1]), pd.Index(["a", "b"])):  # in other words, which tell nothing
        check_order(pd.Series([0, 1], pd.MultiIndex.from_product([["g"], names])), names)
        check_order(pd.Series([0, 1], names), pd.MultiIndex.from_product([["g"], names]))


def test__readout_of_a_trained_encoder__no_feature_is_blown_up(panel, monkeypatch):
    monkeypatch.setattr("tsmae.classifier._SMALLEST_TRAINED_SCALE", 0.9)
    X, y = panel
    small = {**TimeMAETransformer.get_test_params()[1], "random_state": 0, "max_epochs": 0}
    classifier = build(small, max_epochs=0).fit(X, y)
    scale = classifier.model_.encoder.scale
    assert (scale / scale.median()).min().item() == pytest.approx(0.9, abs=0.02)
    assert classifier.probe_.encoder.scale.min() < 0.8 * classifier.probe_.encoder.scale.median()


def test__fine_tuning__begins_at_a_head_that_fits(panel):
    X, y = panel
    tiny = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1, "window_length": 4}
    classifier = build({**tiny, "max_epochs": 0}, max_epochs=0, average_probe=False).fit(X, y)
    entering = classifier.transform(X)
    expected = LinearProbe().fit(entering, y).predict_proba(entering)
    np.testing.assert_allclose(classifier.predict_proba(X), expected, atol=2e-3)
    assert np.abs(expected - 0.5).min() > 0.05


def test__self_training__class_weight__as_in_sklearn(panel, monkeypatch):
    small = TimeMAETransformer.get_test_params()[0] | {"random_state": 0}
    X, marked, frozen = few(panel, small)
    embedding, seen, targets = frozen.estimator.transform(X), learned(monkeypatch), []
    settings = {"fine_tune": "all", "unlabeled": -1, "self_training": 0.9, "random_state": 0}
    for weights in (None, {0: 0.01, 1: 10.0}):
        TimeMAEClassifier(frozen, class_weight=weights, **settings).fit(X, marked)
        probe = LogisticRegression(max_iter=1000, class_weight=weights)
        found = SelfTrainingClassifier(probe, threshold=0.9).fit(embedding, marked).transduction_
        order = np.r_[np.flatnonzero(marked >= 0), np.flatnonzero(marked < 0)]
        targets.append(found[order][found[order] >= 0])
        np.testing.assert_array_equal(seen[-1][1], targets[-1])
    assert not np.array_equal(*targets)


def test__fine_tune_head__columns_that_are_0__equals_the_linear_probe(panel, small):
    X, y = panel
    X = X[:, :, :16]  # of four windows, the autocorrelation at a lag of four is 0
    small = {**small, "pooling": ("mean", "autocorrelation")}
    fitted = build(small, fine_tune="head").fit(X, y)
    standard = StandardScaler().fit_transform(TimeMAETransformer(**small).fit_transform(X))
    expected = LinearProbe().fit(standard, y).predict_proba(standard)
    np.testing.assert_allclose(fitted.predict_proba(X), expected, atol=2e-3)


def test__fine_tune_head__validation_fraction__holds_nothing_out(panel, small):
    X, y = panel
    plain, held = (
        build(small, fine_tune="head", validation_fraction=share).fit(X, y).predict_proba(X)
        for share in (None, 0.5)
    )
    np.testing.assert_array_equal(held, plain)


def test__fit__loss_of_what_is_held_out_diverges__says_so(panel, small, monkeypatch):
    X, y = panel
    step = FineTuningNet.validation_step

    def diverged(self, batch, **kwargs):
        found = step(self, batch, **kwargs)
        return {**found, "loss": found["loss"] * torch.nan}

    monkeypatch.setattr(FineTuningNet, "validation_step", diverged)
    with pytest.raises(ValueError, match="diverged: the loss of epoch 1 is nan"):
        build(small, validation_fraction=0.25).fit(X, y)


def test__self_training__asks_a_sample_at_random(panel, small, asked, monkeypatch):
    X, marked, frozen = few(panel, small)
    monkeypatch.setattr("tsmae.classifier._SELF_TRAINED_ON", 5)
    settings = {"unlabeled": -1, "self_training": 0.55, "random_state": 0}
    TimeMAEClassifier(frozen, "head", **settings).fit(X, marked)
    embedding = frozen.estimator.transform(X).to_numpy()
    found = [int(np.square(embedding - row).sum(1).argmin()) for row in asked[-1][0][8:]]
    unlabeled = np.flatnonzero(marked == -1).tolist()
    assert set(found) < set(unlabeled) and found != unlabeled[:5]


def test__self_training__many_sorted_labels__of_all_classes(panel, small, asked, monkeypatch):
    X, marked, frozen = few(panel, small)
    order = np.argsort(marked)
    monkeypatch.setattr("tsmae.classifier._PROBED_ON", 3)
    settings = {"unlabeled": -1, "self_training": 0.55, "random_state": 0}
    TimeMAEClassifier(frozen, "head", **settings).fit(X[order], marked[order])
    assert set(asked[-1][1]) == {-1, 0, 1}


def test__fit_predict__without_folds__can_leave_it_as_it_is(panel, small):
    X, y = panel
    classifier = build(small, fine_tune="head")
    found = classifier.fit_predict(X, y, change_state=False)
    assert not classifier.is_fitted
    np.testing.assert_array_equal(found, classifier.fit(X, y).predict(X))


def test__augment__some_of_each_batch(panel, small, monkeypatch):
    cropped, forward = [], SeriesClassifier.forward

    def spy(self, x, *args):
        if self.training:
            cropped.append((x == 0).all(-1).all(-1).float().mean().item())
        return forward(self, x, *args)

    monkeypatch.setattr("tsmae.training.nets.crop_and_stretch", lambda x, noise: x * 0)
    monkeypatch.setattr(SeriesClassifier, "forward", spy)
    build(small, max_epochs=2, average_probe=False).fit(*panel)
    assert all(0 < share < 1 for share in cropped)


def test__validation__best_by_little__its_weights_stay(panel, small):
    weights = []

    class Note(Callback):
        def on_epoch_end(self, net, **kwargs):
            weights[:] = [w.detach().clone() for w in net.module_.parameters()]

    settings = {**PLAIN, "lr": 1e-8, "weight_decay": 0.0, "max_epochs": 6, "callbacks": [Note()]}
    still = build({**small, "dropout": 0.0}, **settings, validation_fraction=0.5, augment=False)
    losses = [row["valid_loss"] for row in still.fit(*panel).history_]
    assert losses[-1] == min(losses) > 0.999 * losses[0]
    assert all(map(torch.equal, weights, still.model_.parameters()))

"""The estimators in other people's machinery."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV, cross_val_score
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sktime.benchmarking.classification import ClassificationBenchmark
from sktime.classification.model_selection import TSCGridSearchCV
from sktime.datatypes import convert
from sktime.pipeline import make_pipeline as make_sktime_pipeline
from sktime.transformations.rocket import MiniRocketMultivariate
from sktime.transformations.series.exponent import ExponentTransformer

from tsmae import TimeMAEClassifier, TimeMAETransformer


def containers(X):
    yield "numpy3D", X
    yield "list", list(X)
    for mtype in ("pd-multiindex", "nested_univ", "df-list"):
        yield mtype, convert(X, "numpy3D", mtype, as_scitype="Panel")


@pytest.mark.parametrize("mtype", ["numpy3D", "list", "pd-multiindex", "nested_univ", "df-list"])
def test__pipeline__every_container__same_predictions(panel, small, mtype):
    X, y = panel
    pipeline = Pipeline([("mae", TimeMAETransformer(**small)), ("lr", LogisticRegression())])
    expected = clone(pipeline).fit(X, y).predict_proba(X)
    given = dict(containers(X))[mtype]
    np.testing.assert_array_equal(pipeline.fit(given, y).predict_proba(given), expected)
    assert pipeline.score(given, y) > 0.6


def test__pipeline__numpy_2d__univariate_series(panel, small):
    X, y = panel
    pipeline = Pipeline([("mae", TimeMAETransformer(**small)), ("lr", LogisticRegression())])
    flat = clone(pipeline).fit(X[:, 0], y)
    deep = clone(pipeline).fit(X[:, :1], y)
    np.testing.assert_array_equal(flat.predict_proba(X[:, 0]), deep.predict_proba(X[:, :1]))
    assert flat[0].n_channels_in_ == 1
    assert flat[0].series_length_ == 40


def test__pipeline__default_parameters__as_written_in_the_readme(panel):
    X, y = panel
    pipeline = Pipeline([("mae", TimeMAETransformer()), ("lr", LogisticRegression())])
    pipeline.set_params(mae__max_epochs=1)
    assert pipeline.fit(X, y).predict(X).shape == (24,)


def test__pipeline__self_training_on_embeddings__as_written_in_the_readme(panel, small):
    X, y = panel
    marked = np.where(np.arange(24) % 3 == 0, y, -1)
    steps = [
        ("mae", TimeMAETransformer(**small)),
        ("st", SelfTrainingClassifier(LogisticRegression(), threshold=0.55)),
    ]
    pipeline = Pipeline(steps).fit(X, marked)
    assert pipeline["st"].termination_condition_ != "max_iter"
    assert (pipeline["st"].transduction_ >= 0).sum() > (marked >= 0).sum()
    assert set(pipeline.predict(X)) == {0, 1}
    assert pipeline.score(X, y) > 0.6


def test__feature_union__beside_mini_rocket__as_written_in_the_readme(panel, small):
    X, y = panel
    both = FeatureUnion(
        [("mae", TimeMAETransformer(**small)), ("rocket", MiniRocketMultivariate(random_state=0))]
    )
    ridge = RidgeClassifierCV(alphas=np.logspace(-3, 3, 10))
    pipeline = make_pipeline(both, StandardScaler(), ridge)
    assert set(clone(pipeline).fit(X, y).predict(X)) == {0, 1}
    features = pipeline.fit(X, y)[0].transform(X)
    embedding = TimeMAETransformer(**small).fit(X).transform(X)
    np.testing.assert_array_equal(features[:, : embedding.shape[1]], embedding)
    assert features.shape[1] > embedding.shape[1] + 9000
    few = clone(pipeline).set_params(featureunion__mae=FrozenEstimator(both.fit(X)["mae"]))
    np.testing.assert_array_equal(
        few.fit(X[:8], y[:8])[0].transform(X)[:, : embedding.shape[1]], embedding
    )
    union = TimeMAETransformer(**small) + MiniRocketMultivariate(random_state=0)  # sktime's
    np.testing.assert_array_equal(union.fit_transform(X), features)


def test__column_transformer__some_columns_are_the_series(panel, small):
    X, y = panel
    table = np.hstack([X[:, 0], y[:, None]])
    mixed = ColumnTransformer(
        [("mae", TimeMAETransformer(**small), slice(0, 40)), ("rest", StandardScaler(), [40])]
    ).set_output(transform="pandas")
    frame = mixed.fit_transform(table)
    alone = TimeMAETransformer(**small).fit_transform(X[:, 0])
    np.testing.assert_array_equal(frame.filter(like="mae__"), alone)
    assert frame.columns[-1] == "rest__x40"


def test__transform__index_and_columns__follow_the_input(panel, small):
    X, _ = panel
    frame = convert(X, "numpy3D", "pd-multiindex", as_scitype="Panel")
    names = [f"patient {i}" for i in range(24)]
    frame.index = frame.index.set_levels(names, level=0)
    transformer = TimeMAETransformer(**small).fit(frame)
    embedding = transformer.transform(frame)
    assert embedding.index.tolist() == names
    assert embedding.columns.tolist() == transformer.get_feature_names_out().tolist()
    assert embedding.shape == (24, transformer.embedding_dim_)
    assert (embedding.dtypes == np.float32).all()


def test__transform__hierarchical_frame__one_encoder_for_all_series(panel, small):
    X, _ = panel
    frame = convert(X, "numpy3D", "pd-multiindex", as_scitype="Panel")
    flat = TimeMAETransformer(**small).fit_transform(frame)
    ward = np.where(frame.index.get_level_values(0) < 12, "a", "b")
    frame.index = pd.MultiIndex.from_arrays(
        [ward, frame.index.get_level_values(0), frame.index.get_level_values(1)],
        names=["ward", "patient", "time"],
    )
    deep = TimeMAETransformer(**small).fit_transform(frame)
    np.testing.assert_array_equal(flat, deep)
    assert deep.index.names == ["ward", "patient"]


def test__set_output__default_and_pandas__frames_with_names(panel, small):
    X, _ = panel
    transformer = TimeMAETransformer(**small).set_output(transform="pandas").fit(X)
    assert list(transformer.transform(X).columns) == list(transformer.get_feature_names_out())
    scaled = make_pipeline(TimeMAETransformer(**small), StandardScaler())
    scaled.set_output(transform="pandas")
    assert list(scaled.fit_transform(X).columns) == list(transformer.get_feature_names_out())


def test__grid_search__two_processes__nested_parameters(panel, small):
    X, y = panel
    pipeline = Pipeline([("mae", TimeMAETransformer(**small)), ("lr", LogisticRegression())])
    grid = {"mae__mask_ratio": [0.3, 0.6], "lr__C": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ > 0.5
    alone = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )


def test__grid_search__classifier__nested_transformer(panel, small):
    X, y = panel
    classifier = TimeMAEClassifier(TimeMAETransformer(**small), fine_tune="head", random_state=0)
    grid = {"transformer__mask_ratio": [0.3, 0.6], "class_weight": [None, "balanced"]}
    search = GridSearchCV(classifier, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_estimator_.transformer_.mask_ratio in (0.3, 0.6)


def test__grid_search__frozen_transformer__pretrained_once(panel, small, monkeypatch):
    X, y = panel
    pretrained = TimeMAETransformer(**small).fit(X)
    monkeypatch.setattr(TimeMAETransformer, "fit", None)  # any pre-training would fail
    classifier = TimeMAEClassifier(
        FrozenEstimator(pretrained), fine_tune="all", max_epochs=1, random_state=0
    )
    search = GridSearchCV(classifier, {"lr": [1e-3, 1e-2]}, cv=2, error_score="raise").fit(X, y)
    assert search.best_estimator_.transformer_ is pretrained


def test__cross_val_score__both__scores_of_two_folds(panel, small):
    X, y = panel
    pipeline = Pipeline([("mae", TimeMAETransformer(**small)), ("lr", LogisticRegression())])
    classifier = TimeMAEClassifier(
        TimeMAETransformer(**small), fine_tune="all", max_epochs=1, random_state=0
    )
    for estimator in (pipeline, classifier):
        scores = cross_val_score(estimator, X, y, cv=2, error_score="raise")
        assert ((scores >= 0.5) & (scores <= 1)).all()


AROUND = {  # what scikit-learn puts around a classifier, and whether it hands series of channels on
    "calibrated": (lambda one: CalibratedClassifierCV(one, cv=2), True),
    "calibrated frozen": (lambda one: CalibratedClassifierCV(FrozenEstimator(one)), True),
    "voting": (lambda one: VotingClassifier([("a", one), ("b", one)], voting="soft"), True),
    "stacking": (lambda one: StackingClassifier([("a", one), ("b", one)], cv=2), True),
    "threshold": (lambda one: TunedThresholdClassifierCV(one, cv=2), True),
    "one against the rest": (OneVsRestClassifier, True),
    "one against one": (OneVsOneClassifier, False),
    "bagging": (lambda one: BaggingClassifier(one, n_estimators=2, random_state=0), False),
    "self-training": (SelfTrainingClassifier, False),
}


@pytest.mark.filterwarnings("ignore:y contains no unlabeled samples")
@pytest.mark.parametrize("kind", ["pipeline", "classifier"])
@pytest.mark.parametrize(("around", "of_channels"), AROUND.values(), ids=AROUND)
def test__meta_estimators__around_both__learn(panel, kind, around, of_channels):
    X, y = panel
    X = X if of_channels else X[:, 0]
    small = TimeMAETransformer.get_test_params()[1]
    transformer = TimeMAETransformer(**small, random_state=0)
    if kind == "pipeline":
        one = make_pipeline(transformer, LogisticRegression())
    else:
        one = TimeMAEClassifier(transformer, fine_tune="head", random_state=0)
    meta = around(one.fit(X, y))  # fitted, for the frozen one
    assert meta.fit(X, y).score(X, y) > 0.8
    if not of_channels:
        with pytest.raises(ValueError, match="dim 3"):  # as the README says
            meta.fit(panel[0], y)


@pytest.mark.parametrize(
    ("around", "of_channels"), [(MultiOutputClassifier, True), (ClassifierChain, False)]
)
def test__meta_estimators__several_outputs__as_one_by_one(panel, around, of_channels):
    X, y = panel
    X = X if of_channels else X[:, 0]
    small = TimeMAETransformer.get_test_params()[1]
    transformer = TimeMAETransformer(**small, random_state=0)
    pipeline = make_pipeline(transformer, LogisticRegression())
    predicted = around(pipeline).fit(X, np.column_stack([y, 1 - y])).predict(X)
    np.testing.assert_array_equal(predicted[:, 0], pipeline.fit(X, y).predict(X))
    assert (predicted[:, 1] == 1 - y).mean() > 0.8


def test__pipeline_memory__grid_over_the_head__pretrained_once_a_fold(panel, small, tmp_path):
    X, y = panel
    steps = [("mae", TimeMAETransformer(**small)), ("lr", LogisticRegression())]
    search = GridSearchCV(
        Pipeline(steps, memory=str(tmp_path)), {"lr__C": [0.1, 1, 10]}, cv=2, error_score="raise"
    ).fit(X, y)
    cached = list(tmp_path.rglob("output.pkl"))
    assert len(cached) == 3  # two folds and the refit
    assert search.best_score_ > 0.5


def test__pipeline_memory__frozen_encoder_from_elsewhere__embeds_once(
    panel, small, tmp_path, monkeypatch
):
    X, y = panel
    pretrained = TimeMAETransformer(**small).fit(X)
    transform, embedded = TimeMAETransformer.transform, []

    def counted(self, X, y=None):
        embedded.append(len(X))
        return transform(self, X, y)

    monkeypatch.setattr(TimeMAETransformer, "transform", counted)
    for _ in range(3):  # as in the workers of a search, and in later processes
        frozen = FrozenEstimator(pickle.loads(pickle.dumps(pretrained)))
        steps = [("mae", frozen), ("lr", LogisticRegression())]
        Pipeline(steps, memory=str(tmp_path)).fit(X, y)
    assert embedded == [24]


def test__sktime__pipelines__fit_and_predict(panel, small):
    X, y = panel
    classifier = TimeMAEClassifier(TimeMAETransformer(**small), fine_tune="head", random_state=0)
    for pipeline in (
        make_sktime_pipeline(ExponentTransformer(), classifier),
        ExponentTransformer() * classifier,
        ExponentTransformer() * TimeMAETransformer(**small) * LogisticRegression(),
    ):
        assert pipeline.fit(X, y).predict(X).shape == (24,)


def test__sktime__grid_search_on_multiindex__works(panel, small):
    X, y = panel
    frame = convert(X, "numpy3D", "pd-multiindex", as_scitype="Panel")
    classifier = TimeMAEClassifier(TimeMAETransformer(**small), fine_tune="head", random_state=0)
    search = TSCGridSearchCV(classifier, {"transformer__mask_ratio": [0.3, 0.6]}, cv=2)
    assert search.fit(frame, y).predict(frame).shape == (24,)


def test__sktime__classification_benchmark__runs(panel, small, tmp_path):
    from sklearn.metrics import accuracy_score
    from sklearn.model_selection import KFold

    benchmark = ClassificationBenchmark()
    classifier = TimeMAEClassifier(TimeMAETransformer(**small), fine_tune="head", random_state=0)
    benchmark.add_estimator(classifier)
    benchmark.add_task(lambda: panel, KFold(2), [accuracy_score])
    results = benchmark.run(str(tmp_path / "results.csv"))
    assert 0.5 <= float(results["accuracy_score_mean"].iloc[0]) <= 1


def test__clone__fitted__unfitted_with_same_parameters(panel, small):
    X, _ = panel
    fitted = TimeMAETransformer(**small).fit(X)
    for copy in (clone(fitted), fitted.clone()):
        assert not copy.is_fitted
        assert copy.get_params() == fitted.get_params()


def test__metadata_request__survives_what_resets_the_estimator(panel, small):
    X, y = panel
    with sklearn.config_context(enable_metadata_routing=True):
        asking = TimeMAEClassifier(TimeMAETransformer(**small), "head")
        asking.set_score_request(sample_weight=True).set_params(max_epochs=1).fit(X, y)
        assert asking.get_metadata_routing().score.requests["sample_weight"] is True


def test__set_output__before_fit__stays(panel, small):
    X, _ = panel
    asked = TimeMAETransformer(**small).set_output(transform="pandas").fit(X)
    assert asked._sklearn_output_config == {"transform": "pandas"}


def test__transform__of_a_classifier__index_follows_the_input(panel, small):
    X, y = panel
    frame = convert(X, "numpy3D", "pd-multiindex", as_scitype="Panel")
    names = [f"patient {i}" for i in range(24)]
    frame.index = frame.index.set_levels(names, level=0)
    classifier = TimeMAEClassifier(TimeMAETransformer(**small), "head", random_state=0)
    assert classifier.fit(frame, y).transform(frame).index.tolist() == names

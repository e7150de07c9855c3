"""Bad input of every kind: the right class of error, in the user's words, before any work."""

import json
import os
import pickle
import re
import zipfile
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from _panels import classifier, containers, embed, transformer
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import BatchScoring, Callback, EpochScoring

from tsmae import TimeMAEClassifier, TimeMAETransformer

N, C, T = 8, 3, 20
X = np.random.default_rng(0).normal(size=(N, C, T))
Y = np.arange(N) % 2
FRAMES = containers(list(X.astype(np.float32)))
LONG, NESTED, LIST = FRAMES["pd-multiindex"], FRAMES["nested"], FRAMES["df-list"]
TIME = pd.MultiIndex.from_product([range(2), range(3)])


@pytest.fixture(scope="module")
def fitted():
    return transformer().fit(X), classifier().fit(X, Y)


@pytest.fixture(scope="module")
def fitted_on_names():
    return transformer().fit(LONG), classifier().fit(LONG, Y)


def where(position, value):
    changed = X.copy()
    changed[position] = value
    return changed


def column(values, index=TIME):
    return pd.DataFrame({"a": values}, index=index)


class Bad(NamedTuple):
    """Something wrong, the class of its error, and a pattern for what the message says."""

    value: object
    error: type
    words: str


BAD_PANELS = {
    "None": Bad(None, TypeError, r"X is None; expected a numpy array \(n_series"),
    "number": Bad(3, TypeError, "X is a int; expected a numpy array"),
    "text": Bad("panel.csv", TypeError, "X is a str; expected"),
    "dict": Bad({"a": [1.0, 2.0]}, TypeError, "X is a dict; expected"),
    "set": Bad({1.0}, TypeError, "X is a set; expected"),
    "generator": Bad((x for x in X), TypeError, "X is a generator; expected"),
    "estimator": Bad(transformer(), TypeError, "X is a TimeMAETransformer; expected"),
    "sparse matrix": Bad(sparse.csr_matrix(X[0]), TypeError, r"csr_matrix; .*X\.toarray\(\)"),
    "sparse array": Bad(sparse.coo_array(X[0]), TypeError, r"coo_array; .*X\.toarray\(\)"),
    "tensor with gradient": Bad(
        torch.zeros(2, 3, 20, requires_grad=True), TypeError, "X is a Tensor.*detach"
    ),
    "0D array": Bad(np.float64(1), ValueError, r"X is an array of 0 dimensions.*expected 2D"),
    "1D array": Bad(X[0, 0], ValueError, r"1 dimensions and shape \(20,\).*expected 2D.*reshape"),
    "4D array": Bad(
        X[None], ValueError, r"X is an array of 4 dimensions and shape \(1, 8, 3, 20\)"
    ),
    "no series": Bad(X[:0], ValueError, r"X has 0 series \(shape=\(0, 3, 20\)\).*minimum"),
    "no channels": Bad(X[:, :0], ValueError, r"\(shape=\(8, 0, 20\)\).*at least one channel"),
    "no points": Bad(X[:, :, :0], ValueError, r"\(shape=\(8, 3, 0\)\).*one time point"),
    "infinity": Bad(where((2, 1, 3), np.inf), ValueError, "X contains inf.*series 2, channel 1"),
    "minus infinity": Bad(
        where((2, 1, 3), -np.inf), ValueError, "X contains inf.*allowed are numbers up to 1e.36"
    ),
    "beyond float32": Bad(
        where((5, 0, 3), 1e39), ValueError, "too large to compute with.*series 5"
    ),
    "too large": Bad(where((5, 0, 3), -2e36), ValueError, "too large to compute.*series 5"),
    "all NaN": Bad(
        where(4, np.nan), ValueError, "X has 1 series without any obs.*position 4.*needs"
    ),
    "all masked": Bad(
        np.ma.array(X, mask=np.ones(X.shape, bool)), ValueError, "X has 8 series without any obs"
    ),
    "complex": Bad(X + 1j, ValueError, "Complex data not supported: X has dtype complex128"),
    "datetime": Bad(X.astype("M8[s]"), TypeError, r"X has dtype datetime64\[s\]; expected real"),
    "timedelta": Bad(X.astype("m8[s]"), TypeError, r"X has dtype timedelta64\[s\]; expected real"),
    "records": Bad(np.zeros((2, 3), [("a", "f4")]), TypeError, "X has dtype .*; expected real"),
    "words": Bad(np.full((2, 9), "warm"), ValueError, r"X has dtype <U4 and holds 'warm' \(str_\)"),
    "bytes": Bad(np.full((2, 9), b"warm"), ValueError, r"X has dtype .S4 and holds .*\(bytes_\)"),
    "object word": Bad(
        np.array([[1.0, "warm"]], object), ValueError, r"X has dtype object.*'warm' \(str\)"
    ),
    "object NA": Bad(np.array([[pd.NA, pd.NA]], object), ValueError, "without any observation"),
    "object list": Bad(np.array([[1.0, {}]], object), TypeError, r"holds '\{\}' \(dict\)"),
    "empty list": Bad([], ValueError, "X is an empty list.*expected a numpy array"),
    "empty tuple": Bad((), ValueError, "X is an empty list"),
    "list of numbers": Bad(
        [1.0, 2.0], ValueError, "X is a list of 2 scalars: a 1D array; expected"
    ),
    "list of words": Bad(["a", "b"], ValueError, "X is a list of 2 scalars"),
    "list of 3D": Bad([X, X], ValueError, r"X\[0\] has the shape \(8, 3, 20\); expected \(n_chan"),
    "list with None": Bad([X[0], None], ValueError, r"X\[1\] has the shape \(\); expected"),
    "list with empty": Bad([X[0], X[0, :, :0]], ValueError, r"X\[1\] has the shape \(3, 0\)"),
    "list with words": Bad([X[0], X[0].astype("M8[s]")], TypeError, r"X\[1\] has dtype datetime"),
    "list, other channels": Bad(
        [X[0], X[1, :2]], ValueError, r"X\[1\] has 2 channels, but X\[0\] has 3; all"
    ),
    "list, ragged channels": Bad(
        [[[1.0, 2.0], [1.0]]], ValueError, "X is a list whose items are no"
    ),
    "frames and arrays": Bad([LIST[0], X[1]], TypeError, "X mixes 1 DataFrames.*allowed are only"),
    "frames, other columns": Bad(
        [LIST[0], LIST[1][["dim_1", "dim_0", "dim_2"]]],
        ValueError,
        r"X\[1\] has the columns \['dim_1', 'dim_0', 'dim_2'\], but X\[0\] has \['dim_0'",
    ),
    "frames, text": Bad(
        [LIST[0].astype(str) + "x"], TypeError, r"Column 'dim_0' of X\[0\] is not num"
    ),
    "frames, unsorted": Bad(
        [LIST[0][::-1]], ValueError, r"time index of X\[0\] must be increasing"
    ),
    "frames, same name": Bad(
        [LIST[0].set_axis(["a", "a", "b"], axis=1)],
        ValueError,
        r"X\[0\] has several columns.*\['a'\]",
    ),
    "frames, same name but for its type": Bad(
        [LIST[0].set_axis([0, "0", 1], axis=1)],
        ValueError,
        r"X\[0\] has several columns.*\['0'\]",
    ),
    "empty frame": Bad(pd.DataFrame(), ValueError, r"X is an empty DataFrame \(shape=\(0, 0\)\)"),
    "no rows": Bad(LONG[:0], ValueError, r"X is an empty DataFrame \(shape=\(0, 3\)\)"),
    "no columns": Bad(LONG[[]], ValueError, r"X is an empty DataFrame"),
    "categories": Bad(
        LONG.astype({"dim_1": "category"}), TypeError, "Column 'dim_1' of X is not num"
    ),
    "text column": Bad(LONG.assign(dim_1="x"), TypeError, "Column 'dim_1' of X.*text.* not supp"),
    "time column": Bad(
        LONG.assign(dim_2=pd.Timestamp("2020")), TypeError, "Column 'dim_2' of X.*datetime"
    ),
    "complex column": Bad(LONG.assign(dim_2=1j), TypeError, "Column 'dim_2' of X.*complex"),
    "columns of one name": Bad(
        LONG.set_axis(["a", "b", "b"], axis=1), ValueError, r"X has several columns.*\['b'\]"
    ),
    "infinite cell": Bad(LONG.assign(dim_0=np.inf), ValueError, "X contains infinity.*series 0"),
    "duplicate rows": Bad(
        pd.concat([LONG, LONG]), ValueError, r"MultiIndex of X has duplicate.*\(.*0"
    ),
    "times unsorted": Bad(LONG[::-1], ValueError, r"time index of X is not sorted.*sort_index\(\)"),
    "series interleaved": Bad(
        LONG.sort_index(level=1),
        ValueError,
        r"rows of X are not sorted.*stand together.*sort_index",
    ),
    "index of one level": Bad(
        column([1.0, 2.0], pd.MultiIndex.from_arrays([[0, 1]])),
        ValueError,
        "MultiIndex of X has one",
    ),
    "missing instance": Bad(
        column([1.0, 2.0], pd.MultiIndex.from_arrays([[0, np.nan], [0, 1]])),
        ValueError,
        "MultiIndex of X has missing instance names",
    ),
    "missing instance of a level": Bad(
        column([1.0, 2.0], pd.MultiIndex.from_arrays([[0, np.nan], [0, 0], [0, 1]])),
        ValueError,
        "MultiIndex of X has missing instance names",
    ),
    "missing time": Bad(
        column([1.0, 2.0], pd.MultiIndex.from_arrays([[0, 0], [0, np.nan]])),
        ValueError,
        "time level of the MultiIndex of X has missing",
    ),
    "series lost": Bad(
        column([1.0, 1.0, 1.0, None, None, None]), ValueError, "X has 1 series without.*position 1"
    ),
    "nested, a number": Bad(
        pd.DataFrame({"a": [pd.Series([1.0, 2.0]), 3.0]}),
        TypeError,
        "row 1 of the nested DataFrame X",
    ),
    "nested, None": Bad(
        pd.DataFrame({"a": [pd.Series([1.0, 2.0]), None]}), TypeError, "row 1 .*each must be"
    ),
    "nested, text": Bad(
        pd.DataFrame({"a": [pd.Series([1.0]), pd.Series(["x"])]}), TypeError, "row 1 of the nested"
    ),
    "nested, lists": Bad(
        pd.DataFrame({"a": X[:, 0].tolist()}), TypeError, "row 0 .*a list; each must be a 1D"
    ),
    "nested, no first cell": Bad(
        pd.DataFrame({"a": [None, *X[1:, 0]]}), TypeError, "row 0 .*a NoneType; each must be a 1D"
    ),
    "nested, 2D": Bad(pd.DataFrame({"a": [X[0], X[1]]}), TypeError, "row 0 .*no 1D series"),
    "nested, empty cells": Bad(
        pd.DataFrame({"a": [pd.Series([1.0]), pd.Series([], dtype=float)]}),
        ValueError,
        "position 1",
    ),
    "nested, unsorted": Bad(
        pd.DataFrame({"a": [pd.Series([1.0, 2.0], index=[1, 0])]}),
        ValueError,
        "row 0.*increasing.*first.$",
    ),
}

OTHER_PANELS = {
    "fewer channels": Bad(X[:, :2], ValueError, "X has 2 channels, but TimeMAE.* was fitted on 3"),
    "more channels": Bad(np.concatenate([X, X], 1), ValueError, "X has 6 channels, but .* on 3"),
    "two dimensions": Bad(X[:, 0], ValueError, "X has 1 channels, but TimeMAE.* was fitted on 3"),
}

NAMES = r"\['dim_0', 'dim_1', 'dim_2'\]; same names in the same order"
OTHER_NAMES = {
    "multiindex renamed": Bad(
        LONG.rename(columns={"dim_0": "a"}), ValueError, rf"X are \['a', 'dim_1'.*{NAMES}"
    ),
    "multiindex reordered": Bad(LONG[["dim_1", "dim_0", "dim_2"]], ValueError, NAMES),
    "nested reordered": Bad(NESTED[["dim_2", "dim_1", "dim_0"]], ValueError, NAMES),
    "frames renamed": Bad([f.add_suffix("!") for f in LIST], ValueError, rf"'dim_0!'.*{NAMES}"),
    "one fewer": Bad(LONG[["dim_0"]], ValueError, "X has 1 channels"),
}

BAD_LABELS = {
    "None": Bad(None, ValueError, "y is None: labels are needed"),
    "too few": Bad(Y[:-1], ValueError, "y has 7 labels, but X has 8 series"),
    "too many": Bad([*Y, 0], ValueError, "y has 9 labels, but X has 8 series"),
    "empty": Bad([], ValueError, "y has 0 labels"),
    "number": Bad(1, ValueError, r"y should be a 1d array, got an array of shape \(\)"),
    "text": Bad("ab", ValueError, "y should be a 1d array"),
    "dict": Bad({0: 1}, ValueError, "y should be a 1d array"),
    "sparse": Bad(sparse.csr_matrix(Y), ValueError, "y should be a 1d array"),
    "3D": Bad(np.zeros((N, 1, 1)), ValueError, "dim 3"),
    "pairs": Bad(
        [(0, 1)] * N, ValueError, r"y should be a 1d array, got an array of shape \(8, 2\)"
    ),
    "NaN": Bad([0, 1, np.nan, *Y[3:]], ValueError, "y contains NaN.*position 2.*unlabeled"),
    "None among": Bad([None, *Y[1:]], ValueError, "y contains NaN or None.*position 0"),
    "NaN among words": Bad(["a", np.nan, *"abcabc"], ValueError, "y contains NaN.*position 1"),
    "NA": Bad(
        pd.Series([1, None, *Y[2:]], dtype="Int64"), ValueError, "y contains NaN.*position 1"
    ),
    "NaT": Bad([pd.NaT] * N, ValueError, "y contains NaN.*position 0"),
    "missing category": Bad(
        pd.Series(["a", None, *"abcabc"], dtype="category"),
        ValueError,
        "y contains NaN.*position 1",
    ),
    "masked": Bad(
        np.ma.array(Y, mask=[0, 0, 1, *[0] * 5]), ValueError, "y contains NaN.*position 2"
    ),
    "infinity": Bad([np.inf, *Y[1:]], ValueError, "y contains infinity"),
    "mixed": Bad(["a", 1, *"abcabc"], TypeError, r"y mixes labels of the types \['number', 'text'"),
    "booleans beside numbers": Bad(
        [True, 2] * 4, TypeError, r"y mixes labels of the types \['boolean', 'number'\]"
    ),
    "mixed objects": Bad(np.array(["a", 1, *"abcabc"], object), TypeError, "y mixes labels"),
    "mixed bytes": Bad(["a", b"a", *"abcabc"], TypeError, r"y mixes labels.*\['bytes', 'text'\]"),
    "continuous": Bad(
        Y + 0.5 * np.arange(N) / N, ValueError, "y holds no class labels.*continuous"
    ),
    "complex": Bad(Y + 1j, ValueError, "Complex data not supported: y"),
    "bytes": Bad(
        np.array([b"a", b"b"] * 4), TypeError, "y holds labels like.*allowed are integers"
    ),
    "dates": Bad(
        np.array(["2020", "2021"] * 4, "M8[Y]"), TypeError, r"y holds labels like.*datetime64"
    ),
    "nanoseconds": Bad(
        pd.Series(np.array(["2020", "2021"] * 4, "M8[ns]")), TypeError, "y holds labels.*datetime"
    ),
    "tuples": Bad(
        pd.Series([(0, 1), (1, 0)] * 4), TypeError, r"y holds labels like \(0, 1\) \(tuple"
    ),
    "sets": Bad([{1}, {2}] * 4, TypeError, r"y holds labels like \{1\} \(set\)"),
    "huge integers": Bad([2**70, 1] * 4, ValueError, f"y holds integers from 1 to {2**70}"),
    "integers of no type": Bad([2**63, -5] * 4, ValueError, f"y holds integers from -5 to {2**63}"),
}


def cases(table):
    return pytest.mark.parametrize("bad", table.values(), ids=table.keys())


def assert_refused(call, bad):
    with pytest.raises(bad.error, match=f"(?s){bad.words}"):
        call()


@cases(BAD_PANELS)
def test__fit__bad_panel__says_what_and_stays_unfitted(bad):
    for estimator in (transformer(), classifier()):
        assert_refused(lambda estimator=estimator: estimator.fit(bad.value, Y), bad)
        assert_like_new(estimator)
    if not hasattr(bad.value, "send"):  # a generator is used up
        assert_refused(lambda: transformer().fit_transform(bad.value), bad)


def test__flat_frame__shuffled_or_for_the_classifier__clear_error():
    frame = pd.DataFrame(X[:, 0])
    with pytest.raises(ValueError, match=r"time index of X must be increasing.*X\.to_numpy\(\)"):
        transformer().fit(frame[::-1])
    with pytest.raises(TypeError, match=r"X is a flat DataFrame.*X\.to_numpy\(\)"):
        classifier().fit(frame, Y)


@cases({**BAD_PANELS, **OTHER_PANELS})
def test__every_method__bad_panel__says_what(fitted, bad):
    fitted_transformer, fitted_classifier = fitted
    for call in (
        fitted_transformer.transform,
        fitted_transformer.codewords,
        fitted_transformer.reconstruction_metrics,
        fitted_classifier.transform,
        fitted_classifier.predict,
        fitted_classifier.predict_proba,
        lambda panel: fitted_classifier.score(panel, Y),
    ):
        assert_refused(lambda call=call: call(bad.value), bad)
    assert fitted_transformer.is_fitted  # reading changes nothing
    assert fitted_classifier.is_fitted


@cases(OTHER_NAMES)
def test__every_method__other_channel_names__says_both(fitted_on_names, bad):
    fitted_transformer, fitted_classifier = fitted_on_names
    for call in (
        fitted_transformer.transform,
        fitted_transformer.codewords,
        fitted_classifier.transform,
        fitted_classifier.predict,
        fitted_classifier.predict_proba,
    ):
        assert_refused(lambda call=call: call(bad.value), bad)
    frozen = TimeMAEClassifier(FrozenEstimator(fitted_transformer), fine_tune="head")
    assert_refused(lambda: frozen.fit(bad.value, Y), bad)


def test__transform__same_names_in_another_container__accepted(fitted_on_names):
    expected = embed(fitted_on_names[0], LONG)
    for container in (NESTED, LIST, X):
        assert np.array_equal(embed(fitted_on_names[0], container), expected)


@cases(BAD_LABELS)
def test__fit_classifier__bad_labels__says_what_and_stays_unfitted(bad):
    estimator = classifier()
    assert_refused(lambda: estimator.fit(X, bad.value), bad)
    assert_like_new(estimator)


class FailingCallback(Callback):
    def on_batch_end(self, net, **kwargs):
        raise RuntimeError("failed in training")


# Every parameter has an entry: values out of range, values of a wrong type.
OUT_OF_RANGE = {
    "at least 1": [0, -1, 1.5, "1", None, np.nan],
    "at least 0": [-1, 1.5, "1", None, np.nan],
    "positive": [0, -1.0, np.inf, np.nan, "1", None],
    "not negative": [-0.1, np.inf, np.nan, "1", None],
    "below 1": [-0.1, 1.0, 1.5, np.nan, "0.5", None],
    "between 0 and 1": [0.0, 1.0, -0.5, np.nan, "0.5", None],
    "boolean": [2, 0.5, "yes", None],
    "name": ["unknown", 1, [], True],
}
BAD_TRAINING = {
    "max_epochs": OUT_OF_RANGE["at least 0"],
    "batch_size": OUT_OF_RANGE["at least 1"],
    "lr": OUT_OF_RANGE["positive"],
    "weight_decay": OUT_OF_RANGE["not negative"],
    "lr_schedule": OUT_OF_RANGE["name"],
    "validation_fraction": [*OUT_OF_RANGE["between 0 and 1"][:-1], 2, 0.01, 0.99],
    "patience": OUT_OF_RANGE["at least 1"][:-2],
    "precision": [*OUT_OF_RANGE["name"], "float16", None],
    "callbacks": [
        3,
        "early",
        [3],
        [Callback],
        [("name",)],
        [("name", 3)],
        [None],
        [EpochScoring("accuracy")],
        [("a", Callback()), ("a", Callback())],
        [("epoch_timer", Callback())],
        [("tsmae_lr_schedule", Callback())],
    ],
    "compile": OUT_OF_RANGE["boolean"],
    "device": ["gpu", "cuda:99", "meta", 0, None, "", torch.device("cuda:99")],
    "random_state": [-1, -(2**40), 1.5, "0", np.random.default_rng(0)],
    "verbose": [-1, 0.5, "yes", None],
    "label_smoothing": OUT_OF_RANGE["below 1"],
}
BAD_READOUT = {
    "pooling": [*OUT_OF_RANGE["name"], None, (), ("mean", "unknown"), ("mean", 3), {"mean"}],
    "pooling_layers": [*OUT_OF_RANGE["name"], None],
    "pooling_resolutions": [None, 2, (), (1, 0), (1, 2.0), ("1",), [[2]]],
    "pooling_slopes": [None, 2, (0,), (2, 2.0), ("1",), [[2]]],
    "pooling_shifts": [None, 0, -1, 1.5, "2"],
}
BAD_PARAMETERS = {
    TimeMAETransformer: {
        **BAD_TRAINING,
        "init": [*OUT_OF_RANGE["name"], None, "synthetic"],  # the small settings have other weights
        "train_stem": OUT_OF_RANGE["boolean"],
        "augment": OUT_OF_RANGE["boolean"],
        "jitter": OUT_OF_RANGE["not negative"],
        "window_length": [*OUT_OF_RANGE["at least 1"], T, 10**6],
        "d_model": [*OUT_OF_RANGE["at least 1"], 7],
        "n_heads": [*OUT_OF_RANGE["at least 1"], 3, 1000],
        "n_layers": OUT_OF_RANGE["at least 1"],
        "n_decoupled_layers": OUT_OF_RANGE["at least 1"],
        "dropout": OUT_OF_RANGE["below 1"],
        "decoupled_dropout": OUT_OF_RANGE["below 1"][:-1],
        "mask_ratio": OUT_OF_RANGE["between 0 and 1"],
        "mask_per": [*OUT_OF_RANGE["name"], None],
        "n_codewords": [*OUT_OF_RANGE["at least 1"], 1],
        "n_codebooks": OUT_OF_RANGE["at least 1"],
        "temperature": OUT_OF_RANGE["positive"],
        "momentum": [-0.1, 1.1, np.nan, "0.5", None],
        "mrr_weight": OUT_OF_RANGE["not negative"],
        "mcc_weight": OUT_OF_RANGE["not negative"],
        "reconstruction_weight": OUT_OF_RANGE["not negative"],
        "spectral_weight": OUT_OF_RANGE["not negative"],
        "contrast_weight": OUT_OF_RANGE["not negative"],
        "contrast_temperature": OUT_OF_RANGE["positive"],
        "mrr_target": [*OUT_OF_RANGE["name"], None],
        "codeword_gradient": OUT_OF_RANGE["boolean"],
        "window_statistics": OUT_OF_RANGE["boolean"],
        "decoupled": OUT_OF_RANGE["boolean"],
        "standardize": OUT_OF_RANGE["boolean"],
        **BAD_READOUT,
        "scaling": OUT_OF_RANGE["name"],
        "block": [*OUT_OF_RANGE["name"], None],
        "stem": [*OUT_OF_RANGE["name"], None],
        "tokenizer": [*OUT_OF_RANGE["name"], None],
        "encoder": [3, "bert", torch.nn.Linear(8, 8), int, dict, lambda: 3, lambda d_model: None],
    },
    TimeMAEClassifier: {
        **BAD_TRAINING,
        **BAD_READOUT,
        "transformer": [
            3,
            "mae",
            TimeMAETransformer,
            FrozenEstimator(3),
            FrozenEstimator(Callback()),
        ],
        "fine_tune": [*OUT_OF_RANGE["name"], None],
        "average_probe": OUT_OF_RANGE["boolean"],
        "augment": OUT_OF_RANGE["boolean"],
        "jitter": OUT_OF_RANGE["not negative"],
        "class_weight": [
            3,
            "unknown",
            [1, 2],
            {0: "a", 1: 1},
            {0: -1, 1: 1},
            {0: np.nan, 1: 1},
            {0: np.inf, 1: 1},
            {0: 0, 1: 0},
            {0: None, 1: 1},
            {0: 1e-300, 1: 1e-300},
            {0: 1e39, 1: 1},
        ],
        "unlabeled": [[0], {}, (0, 1), np.array([0, 1]), np.nan],
        "self_training": [0, 1, 0.0, 1.0, -0.5, np.nan, "0.75"],
    },
}


def build(kind, **parameters):
    if kind is TimeMAETransformer:
        return transformer(**parameters)
    return classifier().set_params(**parameters)


@pytest.mark.parametrize("kind", BAD_PARAMETERS)
def test__bad_parameters__table__has_every_parameter(kind):
    assert set(BAD_PARAMETERS[kind]) == set(kind.get_param_names())
    assert set(kind._parameter_constraints) == set(kind.get_param_names())
    assert all(len(values) > 2 for values in BAD_PARAMETERS[kind].values())


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, table in BAD_PARAMETERS.items() for name in table],
    ids=lambda value: getattr(value, "__name__", value),
)
def test__fit__bad_parameter__names_it_and_its_value_before_training(kind, name, monkeypatch):
    def trained(*args, **kwargs):
        raise AssertionError("trained with a bad parameter")

    monkeypatch.setattr("tsmae.transformer.pretrain", trained)
    monkeypatch.setattr("tsmae.classifier.fine_tune", trained)
    for value in BAD_PARAMETERS[kind][name]:
        estimator = build(kind, **{name: value})
        with pytest.raises((ValueError, TypeError)) as caught:
            estimator.fit(X, Y)
        message = str(caught.value)
        assert name in message
        assert str(value) in message or repr(value) in message, (value, message)
        assert any(word in message for word in ("must", "allowed", "cannot", "leaves")), message
        assert_like_new(estimator)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"mcc_weight": 0.0, "mrr_weight": 0.0}, "mcc_weight.*must be positive"),
        ({"d_model": 10, "n_heads": 4}, "d_model=10 and n_heads=4"),
        ({"encoder": lambda: torch.nn.Linear(8, 9)}, r"encoder=Linear must map.*\(\d+, \d+, 9\)"),
    ],
)
def test__fit__parameters_at_odds__says_which(parameters, words):
    estimator = transformer(**parameters)
    with pytest.raises(ValueError, match=words):
        estimator.fit(X)
    assert_like_new(estimator)


def test__fit__encoder_without_padding_mask__ragged_panel_is_a_clear_error():
    series = [X[0], X[1, :, :9]]
    with pytest.raises(ValueError, match=r"encoder=Linear cannot take.*padding_mask"):
        transformer(encoder=lambda: torch.nn.Linear(8, 8)).fit(series)


def test__fit_classifier__frozen_transformer__must_be_fitted_and_match():
    frozen = TimeMAEClassifier(FrozenEstimator(transformer()))
    with pytest.raises(NotFittedError, match=r"TimeMAETransformer .* not been fitted"):
        frozen.fit(X, Y)
    fitted = transformer().fit(X[:, :2])
    with pytest.raises(
        ValueError, match="X has 3 channels, but TimeMAETransformer was fitted on 2"
    ):
        TimeMAEClassifier(FrozenEstimator(fitted)).fit(X, Y)
    assert fitted.is_fitted


def test__fit_classifier__every_label_unlabeled__says_which():
    with pytest.raises(ValueError, match=r"Every label in y is -1.*`unlabeled`"):
        classifier().set_params(unlabeled=-1).fit(X, np.full(N, -1))


# ------------------------------------------------------------------ after a failing fit


def assert_like_new(estimator):
    """No trace of a fit, neither of this one nor of one before."""
    assert vars(estimator).keys() == vars(clone(estimator)).keys()
    assert not estimator.is_fitted
    for method in ("transform", "predict", "predict_proba", "codewords"):
        if hasattr(estimator, method):
            with pytest.raises(NotFittedError):
                getattr(estimator, method)(X)


def test__transform__flat_frame_after_an_array__says_to_pass_numbers(fitted):
    univariate = transformer().fit(X[:, 0])
    with pytest.raises(ValueError, match=r"20 channels, .* on 1 channels\. .*X\.to_numpy\(\)"):
        univariate.transform(pd.DataFrame(X[:, 0]))


@pytest.mark.parametrize("build", [transformer, classifier])
def test__fit_again__bad_input__first_fit_is_forgotten(build):
    estimator = build().fit(X, Y)
    with pytest.raises(ValueError, match="infinity"):
        estimator.fit(where((0, 0, 0), np.inf), Y)
    assert_like_new(estimator)
    assert estimator.fit(X, Y).is_fitted


@pytest.mark.parametrize("build", [transformer, classifier])
def test__fit_again__bad_parameter__first_fit_is_forgotten(build):
    estimator = build().fit(X, Y).set_params(lr=-1)
    with pytest.raises(ValueError, match="lr"):
        estimator.fit(X, Y)
    assert_like_new(estimator)


@pytest.mark.parametrize(
    ("build", "wrong"),
    [
        (transformer, {"bogus": 1}),
        (transformer, {"lr__bogus": 1}),
        (classifier, {"bogus": 1}),
        (classifier, {"transformer__bogus": 1}),
        (classifier, {"transformer": None, "transformer__bogus": 1}),
        (classifier, {"transformer": transformer(), "transformer__bogus": 1}),
        (classifier, {"transformer": 3, "transformer__lr": 1.0}),
        (classifier, {"dropout": 0.5, "bogus": 1}),
    ],
)
def test__set_params__unknown_name__nothing_is_set(build, wrong):
    estimator = build().fit(X, Y)
    before = estimator.get_params()
    with pytest.raises(ValueError, match=r"Invalid parameter .*(bogus|lr)"):
        estimator.set_params(device="meta", **wrong)
    assert estimator.is_fitted
    assert estimator.get_params() == before


@pytest.mark.parametrize("fine_tune", ["transformer", "all", "random"])
def test__fit__failure_in_training__nothing_half_fitted(fine_tune):
    if fine_tune == "transformer":
        estimator = transformer().fit(X)
    else:
        estimator = classifier(fine_tune=fine_tune).fit(X, Y)
    estimator.set_params(callbacks=[FailingCallback()])
    with pytest.raises(RuntimeError, match="failed in training"):
        estimator.fit(X, Y)
    assert_like_new(estimator)


def test__fit_classifier__bad_labels__frozen_transformer_is_left_alone():
    fitted = transformer().fit(X)
    before = embed(fitted, X)
    with pytest.raises(TypeError, match="y mixes"):
        TimeMAEClassifier(FrozenEstimator(fitted)).fit(X, ["a", 1] * 4)
    assert np.array_equal(embed(fitted, X), before)


@pytest.mark.parametrize("build", [transformer, classifier])
def test__every_method__before_fit__not_fitted(build):
    assert_like_new(build())
    with pytest.raises(NotFittedError):
        build().save("anywhere")


# ------------------------------------------------------------------ codewords, save, load


@pytest.mark.parametrize("codebook", [1, -1, 0.0, "0", None, [0], False])
def test__codewords__bad_codebook__says_range(fitted, codebook):
    with pytest.raises(ValueError, match=r"codebook=.* must be an int in 0 … 0"):
        fitted[0].codewords(X, codebook=codebook)


@pytest.mark.parametrize("path", [3, b"model", ["model"], object()])
def test__save_and_load__path_of_wrong_type__names_it(fitted, path):
    for call in (fitted[0].save, TimeMAETransformer.load):
        with pytest.raises(TypeError, match=r"path=.* must be a str or a path"):
            call(path)


def test__save_and_load__path_without_name_or_directory__names_it(fitted, tmp_path):
    with pytest.raises(ValueError, match=r"path='\.' has no file name"):
        fitted[0].save("")
    with pytest.raises(FileNotFoundError, match=r"path=.*nowhere.*does not exist"):
        fitted[0].save(tmp_path / "nowhere" / "model")
    with pytest.raises(FileNotFoundError, match="absent"):
        TimeMAETransformer.load(tmp_path / "absent")


def test__save__parameter_with_code__names_it_and_writes_nothing(tmp_path):
    estimator = transformer(callbacks=[Callback()]).fit(X)
    with pytest.raises(TypeError, match=r"callbacks=.*pickle"):
        estimator.save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("build", [transformer, classifier])
def test__save__fitted_with_an_encoder__says_to_pickle_whatever_the_parameter_is_now(
    build, tmp_path
):
    estimator = build(encoder=lambda d_model: torch.nn.Identity()).fit(X, Y)
    for given in vars(estimator).get("transformer"), vars(estimator).get("transformer_"), estimator:
        if given is not None:
            given.encoder = None
    with pytest.raises(TypeError, match=r"encoder is a Identity of your own. Use pickle"):
        estimator.save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


def rewritten(source, target, change):
    """Copy a saved estimator, `change` mapping the bytes of each file in it, None dropping it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)


DAMAGE = {
    "not a zip": lambda saved, path: path.write_bytes(b"no zip"),
    "empty": lambda saved, path: path.write_bytes(b""),
    "cut": lambda saved, path: path.write_bytes(saved.read_bytes()[:-200]),
    "pickle": lambda saved, path: path.write_bytes(pickle.dumps(3)),
    "other zip": lambda saved, path: zipfile.ZipFile(path, "w").writestr("a", "b"),
    "no weights": lambda saved, path: rewritten(
        saved, path, lambda name, content: None if "weights" in name else content
    ),
    "cut weights": lambda saved, path: rewritten(
        saved, path, lambda name, content: content[:50] if "weights" in name else content
    ),
    "bad JSON": lambda saved, path: rewritten(
        saved, path, lambda name, content: content[:50] if "json" in name else content
    ),
    "other JSON": lambda saved, path: rewritten(
        saved, path, lambda name, content: b"{}" if "json" in name else content
    ),
    "JSON list": lambda saved, path: rewritten(
        saved, path, lambda name, content: b"[]" if "json" in name else content
    ),
    "format in words": lambda saved, path: rewritten(
        saved, path, lambda _, content: content.replace(b'"format": 1', b'"format": "one"')
    ),
    "unknown parameter": lambda saved, path: rewritten(
        saved, path, lambda _, content: content.replace(b'"mask_ratio"', b'"mask_rate"')
    ),
    "no scaling": lambda saved, path: rewritten(
        saved, path, lambda name, content: unscaled(content) if "json" in name else content
    ),
    "infinite format": lambda saved, path: rewritten(
        saved, path, lambda _, content: content.replace(b'"format": 1', b'"format": Infinity')
    ),
    "no resolution": lambda saved, path: rewritten(
        saved,
        path,
        lambda _, content: re.sub(
            rb'("resolutions",\s+\{\s+"tuple": \[\s+)\d+', rb"\g<1>0", content
        ),
    ),
    "unknown device": lambda saved, path: rewritten(
        saved, path, lambda _, content: content.replace(b'"device": "cpu"', b'"device": "gpu"')
    ),
    "weights of none": lambda saved, path: rewritten(
        saved, path, lambda name, content: save_tensors({}) if "weights" in name else content
    ),
    "weights of another shape": lambda saved, path: rewritten(
        saved,
        path,
        lambda name, content: reshaped(content) if "weights" in name else content,
    ),
    "a weight too many": lambda saved, path: rewritten(
        saved,
        path,
        lambda name, content: (
            save_tensors({**load_tensors(content), "model_.more": torch.zeros(1)})
            if "weights" in name
            else content
        ),
    ),
    "encrypted": lambda saved, path: path.write_bytes(flipped(saved.read_bytes(), 6, 1)),
    "version of zip": lambda saved, path: path.write_bytes(flipped(saved.read_bytes(), 4, 128)),
}


def unscaled(content):
    """A description without one field of the architecture."""
    description = json.loads(content)
    del description["estimator"]["fitted"]["config_"]["config"]["scaling"]
    return json.dumps(description).encode()


def reshaped(content):
    """Weights that could be broadcast to what they replace."""
    weights = load_tensors(content)
    name = "series_encoder_.scale"
    return save_tensors({**weights, name: weights[name][:1].clone()})


def flipped(archive, offset, bits):
    """The archive with bits of the entries in its directory flipped."""
    place = archive.find(b"PK\x01\x02")
    content = bytearray(archive)
    while place >= 0:
        content[place + offset + 2] ^= bits  # two bytes more than in an entry's own header
        place = archive.find(b"PK\x01\x02", place + 1)
    return bytes(content)


@pytest.mark.parametrize("damage", DAMAGE)
def test__load__damaged_file__clear_error(fitted, tmp_path, damage):
    fitted[0].save(tmp_path / "good")
    path = tmp_path / "bad.zip"
    DAMAGE[damage](tmp_path / "good.zip", path)
    with pytest.raises(ValueError, match=r"bad\.zip' is damaged, or was not written by"):
        TimeMAETransformer.load(path)


def test__load__two_files_of_a_name__the_one_that_save_writes(tmp_path):
    first, second = (transformer(random_state=seed).fit(X) for seed in (0, 1))
    first.save(tmp_path / "model")
    os.replace(tmp_path / "model.zip", tmp_path / "model")
    np.testing.assert_array_equal(
        TimeMAETransformer.load(tmp_path / "model").transform(X), first.transform(X)
    )
    second.save(tmp_path / "model")
    np.testing.assert_array_equal(
        TimeMAETransformer.load(tmp_path / "model").transform(X), second.transform(X)
    )


def test__load__other_class_or_newer_format__says_so(fitted, tmp_path):
    fitted[0].save(tmp_path / "model")
    with pytest.raises(ValueError, match="holds a TimeMAETransformer, not a TimeMAEClassifier"):
        TimeMAEClassifier.load(tmp_path / "model")
    newer = tmp_path / "newer.zip"
    rewritten(
        tmp_path / "model.zip", newer, lambda _, content: content.replace(b'mat": 1', b'mat": 99')
    )
    with pytest.raises(ValueError, match=r"has format 99.*reads up to"):
        TimeMAETransformer.load(newer)


@pytest.mark.parametrize("label", [list, np.array, pd.Series])
def test__fit__table_with_a_label_for_each_row__is_no_single_series(label):
    table = pd.DataFrame(np.arange(80.0).reshape(8, 10))
    with pytest.raises(TypeError, match=r"flat DataFrame.*\(8, 10\).*X.to_numpy\(\)"):
        transformer().fit(table, label(Y))
    with pytest.raises(TypeError, match="flat DataFrame"):
        transformer().fit_transform(table, label(Y))
    assert transformer().fit_transform(table).shape[0] == 1  # as in sktime
    assert transformer().fit_transform(table.to_numpy(), label(Y)).shape[0] == 8


def test__score__wrong_number_of_labels_or_weights__says_so():
    marked = np.where(np.arange(N) < 2, -1, Y)
    for estimator in (classifier(), classifier().set_params(unlabeled=-1)):
        estimator.fit(X, marked)
        with pytest.raises(ValueError, match="y has 6 labels, but X has 8 series"):
            estimator.score(X, marked[:6])
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            estimator.score(X, marked, np.ones(6))


def test__fit__outputs_of_one_name__error_names_it():
    outputs = pd.DataFrame(np.column_stack([Y, Y]), columns=["a", "a"])
    with pytest.raises(ValueError, match=r"y has several columns of the same name: \['a'\]"):
        classifier().fit(X, outputs)


def test__fit__bad_label_of_the_last_output__before_training(monkeypatch):
    def trained(*_):
        raise AssertionError("trained")

    monkeypatch.setattr(TimeMAETransformer, "fit", trained)
    outputs = np.column_stack([Y, Y]).astype(float)
    outputs[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"y contains NaN.*position 3"):
        classifier().fit(X, outputs)
    with pytest.raises(ValueError, match="'class_weight'"):
        classifier().set_params(class_weight={0: 1, 1: 1}).fit(X, np.column_stack([Y, Y + 1]))


def test__fit__frame_with_one_label_or_numbers_beside_it__is_a_series():
    frame = pd.DataFrame(np.arange(80.0).reshape(8, 10))
    assert transformer(max_epochs=0).fit(frame[:1], [1]).series_length_ == 1
    assert transformer(max_epochs=0).fit(frame, np.arange(8.0)).series_length_ == 8


@pytest.mark.parametrize(
    ("name", "value"), [("momentum", 1.0), ("momentum", 0.0), ("decoupled_dropout", 0.0)]
)
def test__fit__parameter_at_its_bound__is_taken(name, value):
    fitted = transformer(mrr_weight=1.0, **{name: value}).fit(X)
    assert np.isfinite(fitted.history_[-1]["loss"])


@pytest.mark.parametrize("scoring", [EpochScoring, BatchScoring])
def test__fit__callback_that_scores_predictions__refused(scoring):
    estimator = transformer(callbacks=[scoring("accuracy")])
    with pytest.raises(TypeError, match="no callback that scores predictions"):
        estimator.fit(X)
    assert_like_new(estimator)


def test__transform__other_number_of_channels__rows_of_a_flat_frame_alone_are_hinted_at(fitted):
    for given, hinted in ((pd.DataFrame(X[0, :2].T), True), (LONG[["dim_0"]], False)):
        with pytest.raises(ValueError, match="channels") as caught:
            fitted[0].transform(given)
        assert ("X.to_numpy()" in str(caught.value)) is hinted

"""Numbers of any size and type, in memory of any layout, which nobody writes to."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from _panels import classifier, containers, embed, ragged, transformer
from numpy.testing import assert_allclose, assert_array_equal

from tsmae import TimeMAETransformer
from tsmae.nn.series import Scaling

N, C, T = 8, 2, 22
LABELS = np.arange(N) % 2


def values():
    """Whole numbers, which every dtype holds exactly."""
    return np.random.default_rng(0).integers(0, 100, (N, C, T)).astype(np.float32)


def strided(X, step):
    wide = np.zeros((N, C, 2 * T), X.dtype)[:, :, ::step][:, :, :T]
    wide[:] = X
    return wide


def mapped(X, path):
    array = np.memmap(path, X.dtype, "w+", shape=X.shape)
    array[:] = X
    array.flush()
    return np.memmap(path, X.dtype, "r", shape=X.shape)


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64])
def test__parameters__numpy_integers_of_any_size__as_plain_ones(kind):
    settings = {"window_length": 20, "d_model": 120, "n_heads": 2, "pooling_shifts": 10}
    small = {name: kind(value) for name, value in settings.items()}
    expected = embed(transformer(max_epochs=0, **settings).fit(values()), values())
    assert_array_equal(embed(transformer(max_epochs=0, **small).fit(values()), values()), expected)


def test__fit__shape_lost_beside_its_level__warns_which_channel():
    X = values()
    X[:, 1] += 1e9
    with pytest.warns(UserWarning, match=r"The channels \[1\] of X vary by less than a millionth"):
        transformer(max_epochs=0).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X[:, 1] = 1e9
        transformer(max_epochs=0).fit(X)


def test__straight_lines__alone__rounding_is_not_standardised():
    rng = np.random.default_rng(1)
    line = np.linspace(-1, 1, 32)
    X = rng.normal(size=(20, 1, 1)) * line + rng.normal(size=(20, 1, 1))
    estimator = TimeMAETransformer(max_epochs=0, random_state=0).fit(X)
    together = embed(estimator, X)
    deviation = together.std(0).max()
    alone = np.concatenate([embed(estimator, x[None]) for x in X])
    assert np.abs(alone - together).max() < 0.1 * deviation


DTYPES = ("int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")
DTYPES += ("float16", "float32", "float64", "longdouble")
LAYOUTS = {
    **{dtype: lambda X, dtype=dtype: X.astype(dtype) for dtype in DTYPES},
    **{f">{kind}": lambda X, kind=kind: X.astype(f">{kind}") for kind in ("i2", "f4", "f8")},
    "object": lambda X: X.astype(object),
    "text": lambda X: X.astype(str),
    "Fortran order": np.asfortranarray,
    "every other point": lambda X: strided(X, 2),
    "backwards": lambda X: strided(X, -1),
    "transposed": lambda X: X.transpose(2, 1, 0).copy().transpose(2, 1, 0),
    "read-only": read_only,
    "nested lists": lambda X: X.tolist(),
    "arrays of int": lambda X: [series.astype(int) for series in X],
}


@pytest.fixture(scope="module")
def reference():
    X = values()
    estimators = transformer().fit(X), classifier().fit(X, LABELS)
    return estimators, (embed(estimators[0], X), estimators[1].predict_proba(X))


@pytest.mark.parametrize("layout", LAYOUTS)
def test__any_dtype_and_layout__same_as_float32_copy(reference, layout):
    (fitted, fitted_classifier), (embedding, probabilities) = reference
    X = LAYOUTS[layout](values())
    assert_array_equal(embed(fitted, X), embedding)
    assert_array_equal(embed(transformer().fit(X), X), embedding)
    assert_array_equal(fitted_classifier.predict_proba(X), probabilities)
    assert_array_equal(classifier().fit(X, LABELS).predict_proba(X), probabilities)


def test__memory_map__same_as_array(reference, tmp_path):
    X = mapped(values(), tmp_path / "panel")
    assert_array_equal(embed(transformer().fit(X), X), reference[1][0])


def test__bool__same_as_zeros_and_ones():
    X = values() > 50
    expected = embed(transformer().fit(X.astype(np.float32)), X.astype(np.float32))
    assert_array_equal(embed(transformer().fit(X), X), expected)


def test__two_dimensions__same_as_one_channel():
    X = values()[:, :1]
    expected = embed(transformer().fit(X), X)
    assert_array_equal(embed(transformer().fit(X[:, 0]), X[:, 0]), expected)


@pytest.mark.parametrize("dtype", ["Int64", "Float32", "float16", "bool", "object", "boolean"])
def test__frame_of_any_dtype__same_as_array(dtype):
    X = values()
    if dtype in ("bool", "boolean"):
        X = (X > 50).astype(np.float32)
    expected = embed(transformer().fit(X), X)
    frame = containers(list(X))["pd-multiindex"].astype(dtype)
    assert_array_equal(embed(transformer().fit(frame), frame), expected)


@pytest.mark.parametrize("which", [0, 1], ids=["paper", "defaults"])
@pytest.mark.parametrize("scaling", ["channel", "instance"])
@pytest.mark.parametrize("exponent", [-90, -40, 40, 90])
def test__scaled_channels__same_answer(scaling, exponent, which):
    # a power of two loses no digit: 2**40 is 1e12, 2**90 is 1e27
    X, larger = values(), values()
    larger[:, 1] *= np.float32(2.0**exponent)
    settings = {"scaling": scaling}
    expected = embed(transformer(which, **settings).fit(X), X)
    assert_array_equal(embed(transformer(which, **settings).fit(larger), larger), expected)
    estimator = classifier(which, **settings)
    probabilities = estimator.fit(X, LABELS).predict_proba(X)
    assert_array_equal(estimator.fit(larger, LABELS).predict_proba(larger), probabilities)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test__scaled_series_of_float64__same_answer_but_for_rounding(scale):
    X = values()
    expected = embed(transformer(1).fit(X), X)
    scaled = X.astype(np.float64) * scale
    assert_allclose(embed(transformer(1).fit(scaled), scaled), expected, atol=1e-3)


@pytest.mark.parametrize("which", [0, 1], ids=["paper", "defaults"])
@pytest.mark.parametrize("scaling", ["channel", "instance", None])
@pytest.mark.parametrize("constant", [0.0, -1.0, 1e-30, 1e-12, 1e12, 1 / 3])
def test__constant_channel__finite_also_for_other_values(scaling, constant, which):
    X = values().astype(np.float64)
    X[:, 0] = constant
    estimator = transformer(which, scaling=scaling).fit(X)
    assert np.isfinite(embed(estimator, X)).all()
    changed = X.copy()
    changed[:, 0] = 2 * constant + 1e-3
    assert np.isfinite(embed(estimator, changed)).all()
    everything = np.full((N, C, T), constant)
    if scaling == "channel":  # nothing was learned of that channel
        assert_array_equal(embed(estimator, changed), embed(estimator, X))
    assert np.isfinite(embed(transformer(which, scaling=scaling).fit(everything), X)).all()


def test__channel_of_a_deviation_below_float32__counts_as_constant():
    X = values()
    X[:, 0] = 0
    expected = embed(transformer(1).fit(X), X)
    X[0, 0, 0] = 1.4e-45
    assert_array_equal(embed(transformer(1).fit(X), X), expected)


@pytest.mark.parametrize("scale", [1e19, 1e20, 1e30, 1e36])
def test__transform__beyond_reach_of_float32__clear_error(reference, scale):
    X = values()
    X[3] *= np.float32(scale / 100)
    for call in (reference[0][0].transform, reference[0][1].predict):
        with pytest.raises(ValueError, match=r"1 series of X.*position 3.*not finite"):
            call(X)


@pytest.mark.parametrize("settings", [{"scaling": None}, {"lr": 1e18, "max_epochs": 30}])
def test__fit__diverging__clear_error_and_no_estimator(settings):
    estimator = transformer(**settings)
    with pytest.raises(ValueError, match=r"diverged.*lr="):
        estimator.fit(values() * np.float32(1e30))
    assert not estimator.is_fitted


def contents(X):
    """All bytes that a container holds."""
    if isinstance(X, np.ma.MaskedArray):
        return X.data.tobytes(), X.mask.tobytes()
    is_objects = isinstance(X, np.ndarray) and X.dtype.kind == "O"
    if isinstance(X, (list, tuple)) or is_objects:
        return [contents(item) for item in X]
    if isinstance(X, pd.DataFrame):
        columns = [contents(X[c].to_numpy()) for c in X.columns]
        return columns, X.index.tolist(), X.columns.tolist(), X.dtypes.tolist()
    return np.asarray(X).tobytes()


@pytest.mark.parametrize("which", [0, 1], ids=["paper", "defaults"])
def test__every_method__input_is_left_as_it_was(which):
    series, labels = ragged(6)
    panels = {**containers(series), "complete": values()[:6], "two": values()[:6, 0]}
    panels["complete, float64"] = values()[:6].astype(np.float64)
    for name, X in panels.items():
        before, labels_before = contents(X), labels.tobytes()
        for scaling in ("instance", None):
            fitted = transformer(which, scaling=scaling).fit(X)
            for call in (fitted.transform, fitted.codewords, fitted.reconstruction_metrics):
                call(X)
        fitted = classifier(which).fit(X, labels)
        for call in (fitted.transform, fitted.predict, fitted.predict_proba):
            call(X)
        fitted.score(X, labels)
        assert contents(X) == before, name
        assert labels.tobytes() == labels_before


def test__channel_never_observed_in_fit__counts_as_nothing_later():
    X = values()
    X[:, 1] = np.nan
    estimator = transformer(1, scaling="channel").fit(X)
    seen, larger = X.copy(), X.copy()
    seen[:, 1], larger[:, 1] = 500.0, 5e5
    assert_array_equal(embed(estimator, seen), embed(estimator, larger))
    assert abs(embed(estimator, seen)).max() < 100 * abs(embed(estimator, X)).max()


def test__instance_scaling__rounding_is_no_shape():
    x = torch.full((1, 1, 64), 1e5)
    x[..., ::2] = torch.nextafter(x[..., ::2], torch.tensor(torch.inf))
    assert (Scaling(1, "instance")(x) == 0).all()
    x[..., ::2] = 1.1e5  # a shape
    assert Scaling(1, "instance")(x).std().item() == pytest.approx(1, rel=0.02)

"""Properties that must hold for any panel, on panels that hypothesis draws."""

import numpy as np
import pytest
from _panels import classifier, embed, pad, transformer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

CHANNELS = 2
FEW = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def numbers(rng, dtype, shape):
    """Numbers that fill the range of small dtypes."""
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)


@st.composite
def panels(draw, max_series=7, max_points=40, n_channels=CHANNELS):
    """A list of (C, T_i) arrays of one dtype, floats with gaps."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    lengths = draw(st.lists(st.integers(1, max_points), min_size=1, max_size=max_series))
    dtype = draw(st.sampled_from(["float64", "float32", "float16", ">f4", "int16", "bool"]))
    lost = draw(st.sampled_from([0.0, 0.0, 0.2, 0.7]))
    series = [numbers(rng, dtype, (n_channels, length)) for length in lengths]
    if np.dtype(dtype).kind == "f":
        for s in series:
            gaps = rng.random(s.shape) < lost
            gaps[0, -1] = False  # the last point stands, so the length is known
            s[gaps] = np.nan
    return series


@pytest.fixture(scope="module", params=[0, 1], ids=["paper", "defaults"])
def estimators(request):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(CHANNELS, n)).cumsum(1) for n in (9, 14, 20, 21, 25, 26, 28, 30)]
    X[2][:, 3:10] = np.nan
    pooling = ("mean", "max", "min", "std", "autocorrelation", "winners", "last")
    y = np.arange(8) % 2
    fitted_classifier = classifier(request.param, pooling=pooling).fit(X, y)
    outputs = fitted_classifier.predict_proba, lambda panel: embed(fitted_classifier, panel)
    fitted = transformer(request.param, pooling=pooling).fit(X)
    return [lambda panel: embed(fitted, panel), *outputs]


def assert_equal_but_for_rounding(found, expected):
    """Float32 rounds by the size of an embedding, not by that of each of its numbers."""
    size = max(1.0, np.abs(expected).max())
    assert_allclose(found / size, expected / size, atol=1e-5, rtol=0)


@FEW
@given(panel=panels())
def test__output__any_panel__finite_and_one_row_a_series(estimators, panel):
    for output in estimators:
        values = output(panel)
        assert len(values) == len(panel)
        assert values.ndim == 2
        assert np.isfinite(values).all()


@FEW
@given(panel=panels(), seed=st.integers(0, 1000))
def test__output__order_of_series__does_not_matter(estimators, panel, seed):
    order = np.random.default_rng(seed).permutation(len(panel))
    for output in estimators:
        shuffled = output([panel[i] for i in order])
        assert_equal_but_for_rounding(shuffled, output(panel)[order])


@FEW
@given(panel=panels(), other=panels())
def test__output__company_of_other_series__does_not_matter(estimators, panel, other):
    for output in estimators:
        together = output([*panel, *other])
        assert_equal_but_for_rounding(together[: len(panel)], output(panel))
        assert_equal_but_for_rounding(output(panel[:1])[0], together[0])


@FEW
@given(panel=panels(), extra=st.integers(0, 60))
def test__output__padding__does_not_matter(estimators, panel, extra):
    longest = max(series.shape[1] for series in panel)
    for output in estimators:
        padded = output(pad(panel, longest + extra))
        assert_equal_but_for_rounding(padded, output(panel))


@settings(FEW, max_examples=10)
@given(
    n_channels=st.integers(1, 5),
    window_length=st.integers(1, 12),
    which=st.sampled_from([0, 1]),
    data=st.data(),
)
def test__fit__any_shape__finite_or_clear_error(n_channels, window_length, which, data):
    panel = data.draw(panels(n_channels=n_channels))
    estimator = transformer(which, window_length=window_length)
    blocks = [np.isfinite(s.astype(float)).any(0) for s in panel]
    windows = [
        sum(b[i : i + window_length].any() for i in range(0, len(b), window_length)) for b in blocks
    ]
    if max(windows) < 2:
        with pytest.raises(ValueError, match="window_length"):
            estimator.fit(panel)
        return
    embedded = embed(estimator.fit(panel), panel)
    assert embedded.shape == (len(panel), estimator.embedding_dim_)
    assert np.isfinite(embedded).all()
    assert np.isfinite([row["loss"] for row in estimator.history_]).all()

"""The door: what each container becomes, and what it says about its series and channels."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from _panels import containers, pad, ragged
from numpy.testing import assert_array_equal

from tsmae import TimeMAEClassifier, TimeMAETransformer
from tsmae._reading import check_order, read_labels, read_panel
from tsmae.panel import Panel

SERIES, _ = ragged(6)
EXPECTED = pad(SERIES, max(s.shape[1] for s in SERIES))
CONTAINERS = containers(SERIES)


@pytest.mark.parametrize("container", CONTAINERS)
def test__read_panel__every_container__same_values(container):
    read = read_panel(CONTAINERS[container])
    assert read.values.dtype == np.float32
    assert_array_equal(Panel.from_array(read.values).values, EXPECTED)
    assert len(read.instances) == len(SERIES)
    named = isinstance(CONTAINERS[container], pd.DataFrame) or container == "df-list"
    assert read.channels == (["dim_0", "dim_1"] if named else None)


@pytest.mark.parametrize(
    "text", [["1", "2"], [1.0, "2"], [b"1", b"2"]], ids=["text", "one of numbers", "bytes"]
)
@pytest.mark.parametrize("form", ["flat", "multiindex", "nested"])
def test__frames__text_of_digits__is_no_number(form, text):
    column = pd.Series(text, dtype=object)
    if form == "multiindex":
        column.index = pd.MultiIndex.from_product([[0], [0, 1]])
    X = pd.DataFrame({"a": [column] if form == "nested" else column})
    with pytest.raises(TypeError, match=r"is not numeric \(text\): categorical, text"):
        read_panel(X)


def test__frames__numbers_as_objects__are_numbers():
    X = pd.DataFrame({"a": pd.Series([1, None, 2.5], dtype=object)})
    assert_array_equal(read_panel(X).values, [[[1, np.nan, 2.5]]])


def test__read_panel__torch_tensor__as_array():
    assert_array_equal(read_panel(torch.tensor(EXPECTED)).values, EXPECTED)


def test__read_panel__two_dimensions__series_in_rows():
    read = read_panel(np.arange(6).reshape(2, 3))
    assert read.values.tolist() == [[[0, 1, 2]], [[3, 4, 5]]]
    assert read.n_features == 3


def test__read_panel__list_of_lists__univariate_of_any_length():
    read = read_panel([[1, 2, 3], [4]])
    assert_array_equal(read.values, [[[1, 2, 3]], [[4, np.nan, np.nan]]])


def test__read_panel__flat_frame__single_series():
    frame = pd.DataFrame({"a": [1, 2], "b": [3.0, None]})
    assert_array_equal(read_panel(frame).values, [[[1, 2], [3, np.nan]]])
    assert_array_equal(read_panel(frame["a"]).values, [[[1, 2]]])
    with pytest.raises(TypeError, match="flat DataFrame"):
        read_panel(frame, single_series=False)


@pytest.mark.parametrize(
    "time",
    [
        pd.date_range("2020", periods=4, freq="D"),
        pd.period_range("2020", periods=4, freq="M"),
        pd.timedelta_range("1h", periods=4),
        [0.5, 1.0, 7.0, 9.0],
        ["a", "b", "c", "d"],
    ],
    ids=["dates", "periods", "durations", "floats", "words"],
)
def test__read_panel__any_time_index__order_counts(time):
    index = pd.MultiIndex.from_product([["y", "x"], time], names=["who", "when"])
    read = read_panel(pd.DataFrame({"a": np.arange(8.0)}, index=index))
    assert read.values.tolist() == [[[0, 1, 2, 3]], [[4, 5, 6, 7]]]
    assert read.instances.tolist() == ["y", "x"]
    assert read.instances.name == "who"
    assert_array_equal(
        read_panel([pd.DataFrame({"a": np.arange(4.0)}, index=time)]).values, read.values[:1]
    )


def test__read_panel__times_of_their_own__series_start_together():
    index = pd.MultiIndex.from_tuples([("b", 7), ("b", 9), ("a", 1), ("a", 2), ("a", 3)])
    read = read_panel(pd.DataFrame({"v": [1, 2, 3, 4, 5]}, index=index))
    assert_array_equal(read.values, [[[1, 2, np.nan]], [[3, 4, 5]]])


def test__read_panel__nested_cells_of_unequal_length__channel_ends_missing():
    frame = pd.DataFrame(
        {"a": [pd.Series([1.0, 2.0, 3.0])], "b": [pd.Series([4, None], dtype="Int64")]}
    )
    assert_array_equal(read_panel(frame).values, [[[1, 2, 3], [4, np.nan, np.nan]]])


@pytest.mark.parametrize(
    "missing", [None, np.nan, pd.NA, float("nan")], ids=["None", "nan", "NA", "float"]
)
def test__read_panel__missing_of_any_kind__nan(missing):
    index = pd.MultiIndex.from_product([[0], range(3)])
    frame = pd.DataFrame({"a": pd.Series([1, missing, 3], dtype=object, index=index)})
    assert_array_equal(read_panel(frame).values, [[[1, np.nan, 3]]])


def test__read_panel__other_panel_of_sktime__read():
    pytest.importorskip("xarray")
    import xarray

    array = xarray.DataArray(EXPECTED[:2, :, :5], dims=["instance", "channel", "time"])
    assert_array_equal(read_panel(array).values, EXPECTED[:2, :, :5])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 0, 1], [1, 0, 1]),
        (("b", "a", "b"), ["b", "a", "b"]),
        (np.array([True, False, True]), [True, False, True]),
        (np.array([[1], [0], [1]]), [1, 0, 1]),
        (np.array([1.0, 2.0, 1.0]), [1.0, 2.0, 1.0]),
        (np.array([1, 2, 1], dtype=">i2"), [1, 2, 1]),
        (np.array(["a", "b", "a"], dtype=object), ["a", "b", "a"]),
        (pd.Series(["a", "b", "a"], dtype="category"), ["a", "b", "a"]),
        (pd.Series(["a", "b", "a"], dtype="string"), ["a", "b", "a"]),
        (pd.Series([2, 1, 2], dtype="Int64"), [2, 1, 2]),
        (pd.Series([True, False, True], dtype="boolean"), [True, False, True]),
        (pd.Series([1, 2, 1], index=[7, 5, 9]), [1, 2, 1]),
        (pd.DataFrame({"y": [1, 2, 1]}), [1, 2, 1]),
        (pd.Index(["a", "b", "a"]), ["a", "b", "a"]),
        (pd.Categorical(["a", "b", "a"]), ["a", "b", "a"]),
        (np.ma.array([1, 2, 1]), [1, 2, 1]),
        (torch.tensor([1, 2, 1]), [1, 2, 1]),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test__read_labels__any_container__one_dimensional_array(labels, expected):
    read = read_labels(labels, 3)
    assert read.dtype.kind in "biufU"
    assert read.tolist() == expected
    assert [type(label) for label in read.tolist()] == [type(label) for label in expected]


def test__read_panel__names_of_series__are_no_channels():
    lone = [pd.Series([1.0, 2.0], name="a"), pd.Series([3.0, 4.0], name="b")]
    read = read_panel(lone)
    assert read.values.tolist() == [[[1, 2]], [[3, 4]]] and read.channels is None
    index = pd.MultiIndex.from_product([["x", "y"], [0, 1]])
    assert read_panel(pd.Series([1.0, 2, 3, 4], index, name="a")).channels is None


def test__read_panel__missing_of_pandas_in_an_array__nan():
    values = pd.DataFrame([[1, None], [3, 4]], dtype="Float64").to_numpy()
    assert_array_equal(read_panel(values).values[:, 0], [[1, np.nan], [3, 4]])


def test__read_panel__polars__as_pandas():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1, None, 3], "b": [4.0, 5.0, 6.0]})
    for given in (frame, [frame]):
        read = read_panel(given)
        assert_array_equal(read.values, [[[1, np.nan, 3], [4, 5, 6]]])
        assert read.channels == ["a", "b"]
    with pytest.raises(TypeError, match="flat DataFrame"):
        read_panel(frame, single_series=False)
    series = np.arange(12.0).reshape(3, 4)
    assert_array_equal(read_panel(polars.DataFrame({"a": series})).values, series[:, None])


def _marked(frame, names):
    """As sktime writes a MultiIndex for libraries without one."""
    return frame.reset_index().set_axis([f"__index__{n}" for n in names] + ["u", "v"], axis=1)


def _as_of(library, frame):
    return {
        "polars": lambda: pytest.importorskip("polars").DataFrame(frame.to_dict("list")),
        "polars, lazy": lambda: pytest.importorskip("polars").LazyFrame(frame.to_dict("list")),
        "dask": lambda: pytest.importorskip("dask.dataframe").from_pandas(frame, npartitions=3),
        "narwhals": lambda: pytest.importorskip("narwhals").from_native(frame),
    }[library]()


@pytest.mark.parametrize("library", ["polars", "polars, lazy", "dask"])
@pytest.mark.parametrize("names", [("id", "t"), (0, 1), ("site", "id", "t")])
def test__read_panel__index_in_columns__as_pandas(library, names):
    levels = [["x", "y"], [10, 11]][: len(names) - 1]
    index = pd.MultiIndex.from_product([*levels, range(12)])
    values = np.random.default_rng(0).normal(size=(len(index), 2))
    frame = pd.DataFrame(values, index)
    read = read_panel(_as_of(library, _marked(frame, names)))
    expected = read_panel(frame)
    assert_array_equal(read.values, expected.values)
    assert read.instances.tolist() == expected.instances.tolist() and read.channels == ["u", "v"]
    assert list(read.instances.names) == [None if n == 0 else n for n in names[:-1]]
    if library != "dask":  # whose rows have no order
        with pytest.raises(ValueError, match="not sorted"):
            read_panel(_as_of(library, _marked(frame, names).iloc[::-1]))


def test__read_panel__dask__rows_in_the_order_of_the_index_and_not_of_its_text():
    from sktime.datatypes import convert

    pytest.importorskip("dask")
    index = pd.MultiIndex.from_product([range(11), range(12)], names=["id", "t"])
    frame = pd.DataFrame({"u": np.random.default_rng(0).normal(size=len(index))}, index)
    given = convert(frame, "pd-multiindex", "dask_panel", as_scitype="Panel")
    assert_array_equal(read_panel(given).values, read_panel(frame).values)


def test__read_panel__narwhals__as_pandas():
    index = pd.MultiIndex.from_product([[0, 1], range(3)])
    frame = pd.DataFrame({"u": np.arange(6.0)}, index)
    assert_array_equal(read_panel(_as_of("narwhals", frame)).values, read_panel(frame).values)


def test__read_panel__frame_of_another_library__is_no_array():
    class Frame:
        columns = ("id", "u")

        def __array__(self, *args, **kwargs):
            return np.ones((4, 2))

    with pytest.raises(TypeError, match=r"X is a Frame; expected .* Convert it to a pandas"):
        read_panel(Frame())


@pytest.mark.parametrize("dtype", ["timestamp[ns][pyarrow]", "date32[pyarrow]"])
def test__read_panel__uneven_dates_of_pyarrow__warned_of(dtype):
    pytest.importorskip("pyarrow")
    days = pd.date_range("2020", periods=20)
    even, uneven = (pd.Series(np.arange(17.0), d) for d in (days[:17], days.delete([3, 9, 10])))
    for series in (even, uneven):
        series.index = series.index.astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_panel([even])
        with pytest.raises(UserWarning, match="unevenly"):
            read_panel([uneven])


def test__read_panel__pyarrow__as_pandas():
    pyarrow = pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": [4.0, 5.0, 6.0]})
    table = pyarrow.Table.from_pandas(frame)
    for given in (table, [table], frame.convert_dtypes(dtype_backend="pyarrow")):
        read = read_panel(given)
        assert_array_equal(read.values, [[[1, np.nan, 3], [4, 5, 6]]])
        assert read.channels == ["a", "b"]
    with pytest.raises(TypeError, match="flat DataFrame"):
        read_panel(table, single_series=False)
    flags = (frame > 1).astype("bool[pyarrow]")
    assert_array_equal(read_panel(flags).values, [[[0, 0, 1], [1, 1, 1]]])


@pytest.mark.parametrize("storage", ["python", "pyarrow"])
def test__text__however_pandas_stores_it__the_same(storage):
    if storage == "pyarrow":
        pytest.importorskip("pyarrow")
    with pd.option_context("mode.string_storage", storage):
        names = pd.Series(["x", "x", "y", "y"], dtype="str")
        time = pd.Series(["2020-01-01", "2020-01-02"] * 2, dtype="str")
        assert names.dtype.storage == storage
        frame = pd.DataFrame({"who": names, "when": time, "a": [1.0, 2.0, 3.0, 4.0]})
        frame = frame.set_index(["who", "when"])
        read = read_panel(frame)
        assert_array_equal(read.values, [[[1, 2]], [[3, 4]]])
        assert list(read.instances) == ["x", "y"]
        labels = read_labels(names.iloc[1:3], 2)
        assert labels.tolist() == ["x", "y"] and labels.dtype.kind == "U"
        with pytest.raises(ValueError, match="not sorted within a series"):
            read_panel(frame.iloc[[1, 0, 2, 3]])
        with pytest.raises(ValueError, match="missing"):
            read_labels(names.iloc[:2].where([True, False]), 2)
        with pytest.raises(TypeError, match="not numeric"):
            read_panel(frame.assign(b=names.to_numpy()).astype({"b": "str"}))
        with pytest.raises(ValueError, match="another order"):
            check_order(pd.Series([0, 1], pd.Index(["y", "x"], dtype="str")), read.instances)


def test__read_labels__strings_of_numpy__as_any_strings():
    labels = read_labels(np.array(["no", "yes"], np.dtypes.StringDType()), 2)
    assert labels.tolist() == ["no", "yes"] and labels.dtype.kind == "U"


@pytest.mark.parametrize("form", ["t{}", "{}", "{}.0", "{} s", "sample-{}", "2024-{}-7"])
def test__time_as_text__in_the_order_of_its_numbers_or_refused(panel, small, form):
    X, _ = panel

    def frame(times):
        index = pd.MultiIndex.from_product([range(24), times])
        return pd.DataFrame(np.moveaxis(X, 1, 2).reshape(-1, 3), index=index)

    padded = frame([form.format(f"{i:02}") for i in range(40)])
    transformer = TimeMAETransformer(**small).fit(X)
    np.testing.assert_array_equal(transformer.transform(padded), transformer.transform(X))
    text = frame([form.format(i) for i in range(40)]).sort_index()  # 0, 1, 10, 11, ...
    for unsorted in (text, frame([form.format(i) for i in range(40)])):
        with pytest.raises(ValueError, match=r"time index of X is text.* numbers or dates"):
            transformer.transform(unsorted)
    with pytest.raises(ValueError, match=r"time index of .* is text"):
        transformer.transform([part.droplevel(0) for _, part in text.groupby(level=0)])
    dates = pd.date_range("2024-01-01", periods=40).strftime("%Y-%m-%d")
    decimals = [f"{i / 10:.2f} s".replace("0 s", " s") for i in range(40)]  # 0.0, 0.1, ...
    words = [f"{a}{b}" for a in "abcdefgh" for b in "vwxyz"]
    for times in (dates, decimals, words):
        found = transformer.transform(frame(times))
        np.testing.assert_array_equal(found, transformer.transform(X))
    for first in (-20, -50):  # -1, -10, ..., 0, 1, 10, ...; -11, -12, ...
        with pytest.raises(ValueError, match="time index of X is text"):
            transformer.transform(frame([str(i) for i in range(first, first + 40)]).sort_index())
    ordered = pd.CategoricalIndex([str(i) for i in range(40)], map(str, range(40)), ordered=True)
    np.testing.assert_array_equal(transformer.transform(frame(ordered)), transformer.transform(X))
    with pytest.raises(ValueError, match=r"not sorted within.* from text to numbers or dates"):
        transformer.transform(frame(words[::-1]))


@pytest.mark.parametrize("nested", [False, True])
def test__groups_of_a_frame__are_series(panel, nested):
    X, _ = panel
    index = pd.MultiIndex.from_product([["a", "b", "c"], range(40)])
    long = pd.DataFrame(np.moveaxis(X[:3], 1, 2).reshape(-1, 3), index=index)
    groups = [part for _, part in long.groupby(level=0)]
    several, name = [long], r"X\[0\]"
    if nested:
        groups = pd.DataFrame({c: [part[c] for part in groups] for c in range(3)})
        several, name = pd.DataFrame({c: [long[c]] for c in range(3)}), "a cell in row 0"
    np.testing.assert_array_equal(read_panel(groups).values, X[:3])
    with pytest.raises(ValueError, match=rf"{name}.* must be a single series.*\['a', 'b', 'c'\]"):
        read_panel(several)


WIDE = {
    "3D": lambda X: X,
    "2D": lambda X: X[:, 1],
    "arrays": list,
    "long": lambda X: pd.DataFrame(
        np.moveaxis(X, 1, 2).reshape(-1, X.shape[1]),
        index=pd.MultiIndex.from_product([range(len(X)), range(X.shape[2])]),
    ),
    "frames": lambda X: [pd.DataFrame(x.T) for x in X],
    "nested": lambda X: pd.DataFrame(
        {c: [pd.Series(x) for x in X[:, c]] for c in range(X.shape[1])}
    ),
    "a single series": lambda X: pd.DataFrame(X[0].T),
}


@pytest.mark.parametrize("container", WIDE.values(), ids=WIDE)
@pytest.mark.parametrize(
    ("scale", "offset", "dtype"),
    [(1, 1.7e9, float), (1e-50, 0.0, float), (30, 2**60, np.int64)],
    ids=["time stamps", "tiny", "large integers"],
)
def test__shape_that_float32_cannot_hold__channel_is_named(container, scale, offset, dtype):
    X = np.random.default_rng(0).normal(size=(5, 2, 12))
    X[:, 0] = 1.0  # constant from the beginning
    X[:, 1] = scale * X[:, 1]
    X = X.astype(dtype) + dtype(offset)
    found = read_panel(container(X))
    assert list(found.lost) == [found.values.shape[1] - 1]


@pytest.mark.parametrize("container", WIDE.values(), ids=WIDE)
def test__shape_that_float32_can_hold__no_channel_is_named(container):
    X = np.random.default_rng(0).normal(size=(5, 2, 12))
    X[:, 0] = 9.81 + 1e-15 * X[:, 0]  # as arithmetic makes of a constant
    X[0, 1, 3] = np.nan
    assert list(read_panel(container(X)).lost) == []


def test__shape_that_float32_cannot_hold__beside_masks_gaps_and_other_types():
    stamps = 1.7e9 + np.arange(24.0).reshape(4, 1, 6)
    masked = np.ma.masked_array(np.full((4, 1, 6), 9.0), np.zeros((4, 1, 6), bool))
    masked[1, 0, 2] = 1e300
    masked[1, 0, 2] = np.ma.masked
    assert list(read_panel(masked).lost) == []
    gone = stamps.copy()
    gone[0] = np.nan
    two = np.concatenate([gone, np.ones_like(gone)], 1)
    assert list(read_panel(list(two)).lost) == [0]
    frame = pd.DataFrame({"flag": [True, False, True], "time": 1.7e9 + np.arange(3)})
    assert list(read_panel(frame).lost) == [1]
    assert list(read_panel(stamps.astype(str)).lost) == [0]


def test__shape_that_float32_cannot_hold__fit_warns_and_transform_does_not(small, recwarn):
    X = np.random.default_rng(0).normal(size=(8, 1, 24))
    transformer = TimeMAETransformer(**{**small, "max_epochs": 0})
    words = r"channels \[0\] of X vary by less"
    for estimator in (transformer, TimeMAEClassifier(transformer, "head")):
        with pytest.warns(UserWarning, match=words):
            estimator.fit(1.7e9 + X, np.arange(8) % 2)
    transformer.fit(X)
    recwarn.clear()
    transformer.transform(1.7e9 + X[:1])
    assert not recwarn.list


def test__tiny_values_that_nothing_scales__warns_of_the_channels(small, recwarn):
    X = np.random.default_rng(0).normal(size=(8, 2, 24)) * [[1.0], [1e-12]]
    settings = {**small, "max_epochs": 0, "random_state": 0}
    TimeMAETransformer(**settings).set_params(scaling="channel").fit(X)
    assert not recwarn.list
    transformer = TimeMAETransformer(**settings).set_params(scaling=None, init="random")
    with pytest.warns(UserWarning, match=r"channels \[1\] of X .* rescale them, or change scaling"):
        transformer.fit(X)


DAYS = pd.date_range("2024-01-01", periods=12, freq="B")
MONTHS = pd.date_range("2024-01-31", periods=12, freq="ME")
NANOSECONDS = 1_700_000_000_000_000_000  # since 1970; a float has no digits for single ones
TIMED = {  # from an index for each series
    "multiindex": lambda times: pd.concat(
        {f"s{i}": pd.DataFrame({"a": np.arange(len(t))}, t) for i, t in enumerate(times)}
    ),
    "frames": lambda times: [pd.DataFrame({"a": np.arange(len(t))}, t) for t in times],
    "series": lambda times: [pd.Series(np.arange(len(t)), t) for t in times],
    "nested": lambda times: pd.DataFrame({"a": [pd.Series(np.arange(len(t)), t) for t in times]}),
    "groups": lambda times: [group for _, group in TIMED["multiindex"](times).groupby(level=0)],
}


@pytest.mark.parametrize("container", TIMED.values(), ids=TIMED)
@pytest.mark.parametrize(
    "skips",
    [pd.Index([0, 1, 2, 4]), pd.Index([0, 1, 3], dtype="Int64"), pd.Index([0.0, 0.1, 0.5]),
     DAYS.delete(5), MONTHS.to_period("M").delete(3), pd.to_timedelta([0, 1, 3], unit="s"),
     NANOSECONDS + 4 * pd.Index([0, 1, 3]), pd.Index(DAYS.delete(5).date),
     pd.Index(DAYS.delete(5).astype(str)), pd.Index(["00", "01", "03"])],
    ids=["integers", "nullable", "floats", "days", "periods", "timedeltas", "nanoseconds",
         "dates", "text of dates", "text of digits"],
)  # fmt: skip
def test__time__skips_points__warns_of_the_series(container, skips):
    even = skips[:2]
    words = "points of 2 series in X, first those of .*1.*, are unevenly spaced in time"
    with pytest.warns(UserWarning, match=words):
        read_panel(container([even, skips, skips]))


@pytest.mark.parametrize("container", TIMED.values(), ids=TIMED)
@pytest.mark.parametrize(
    "times",
    [[pd.RangeIndex(3, 9), pd.Index([0, 2, 4]), pd.Index([0, 10])],
     [DAYS, DAYS[3:], DAYS[:1]], [MONTHS, MONTHS[2:], MONTHS[::2]],
     [pd.Index([0.98, 2.03, 3.0])], [pd.Index(["a1", "a2", "a9"])],
     [NANOSECONDS + 200 * pd.RangeIndex(30)], [pd.Index(DAYS.date), pd.Index(["01", "02"])],
     [DAYS.strftime("%Y%m%d"), MONTHS.strftime("%Y%m%d")]],
    ids=["steps", "business days", "months", "jitter", "text", "nanoseconds", "objects",
         "compact dates"],
)  # fmt: skip
def test__time__even_or_nearly__no_warning(container, times, recwarn):
    read_panel(container(times))
    assert not recwarn.list


def test__time__of_a_single_series_skips_points__warns():
    frame = pd.DataFrame({"a": np.arange(4.0)}, [0, 1, 2, 9])
    with pytest.warns(UserWarning, match="unevenly spaced in time"):
        read_panel(frame)


def test__read_panel__missing_name_at_an_inner_level__refused():
    index = pd.MultiIndex.from_product([["a"], ["x", None], range(3)])
    with pytest.raises(ValueError, match="missing instance names"):
        read_panel(pd.DataFrame({"v": np.arange(6.0)}, index=index))


@pytest.mark.filterwarnings("error")
def test__read_labels__frame_of_one_column__no_warning():
    assert read_labels(pd.DataFrame({"y": [1, 2, 1]}), 3).tolist() == [1, 2, 1]
    with pytest.raises(Warning, match="column-vector"):
        read_labels(np.array([[1], [2], [1]]), 3)


def test__check_order__series_numbered_by_default__labels_named_otherwise_are_taken():
    labels = pd.Series([1, 0, 1], index=[2, 0, 1])  # shuffled, then the names of X were dropped
    check_order(labels, pd.RangeIndex(3))
    with pytest.raises(ValueError, match="in another order"):
        check_order(labels, pd.Index([0, 1, 2]))

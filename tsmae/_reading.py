"""Everything a user may hand in becomes one array here, with errors in the user's words."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets

_ACCEPTED = (
    "a numpy array (n_series, n_channels, n_points) or (n_series, n_points), a list of arrays "
    "(n_channels, n_points), a DataFrame with an (instance, time) MultiIndex, a list of "
    "DataFrames, a nested DataFrame, or another sktime Panel container"
)

# readings of the numbers in text: whole ones, decimal ones, and those with a sign
_SIGNED_NUMBERS = [re.compile(r"(?<!\d)-?\d+\.?\d*")]
_NUMBERS = [re.compile(r"\d+"), re.compile(r"\d+\.?\d*"), *_SIGNED_NUMBERS]
_ROUNDING = 1e-13  # of float64, relative: what constants show after arithmetic
_UNEVEN = 1.5  # longest over shortest distance of two points; months have less
_INDEX = "__index__"
_LARGEST = 1e36  # squares and sums of larger numbers, scaled, overflow


class NamedPanel(NamedTuple):
    """A panel as read from a user.

    values : (n, C, T) float32, NaN where not observed.
    instances : names of the series for the index of outputs.
    channels : names of the channels, None where the container has none.
    n_features : columns of a 2D array, for scikit-learn; None for other containers.
    lost : channels that varied as they came, and do not in float32.
    """

    values: np.ndarray
    instances: pd.Index
    channels: list[str] | None = None
    n_features: int | None = None
    lost: Sequence[int] = ()


def read_panel(X: Any, single_series: bool = True) -> NamedPanel:
    """Read any supported container of series, those that `_ACCEPTED` lists.

    A flat DataFrame is a single series in sktime, and a table with a series a row to many
    others; with ``single_series=False`` it is refused.

    Raises
    ------
    TypeError
        If X is no container of time series, or holds no numbers.
    ValueError
        If it is empty, of the wrong rank, infinite, duplicated, unsorted, or has a series
        without any observation.
    """
    if X is None:
        raise TypeError(f"X is None; expected {_ACCEPTED}.")
    X = as_pandas(X)
    if not single_series and _is_flat(X):
        raise _table_error(X)
    if isinstance(X, np.ndarray):
        read = _read_array(X)
    elif isinstance(X, pd.Series):
        read = _read_frame(X.to_frame())._replace(channels=None)  # its name is no channel's
    elif isinstance(X, pd.DataFrame):
        read = _read_frame(X)
    elif isinstance(X, (list, tuple)):
        read = _read_list(X)
    else:
        read = _read_other(X)
    values = read.values
    if np.fmax.reduce(values, None) > _LARGEST or np.fmin.reduce(values, None) < -_LARGEST:
        series, channel, _ = (int(i) for i in np.argwhere(np.abs(values) > _LARGEST)[0])
        raise ValueError(
            f"X contains infinity, or a value too large to compute with, first in series {series}, "
            f"channel {channel}; allowed are numbers up to {_LARGEST:g} in size, and NaN where "
            "nothing was observed."
        )
    empty = np.flatnonzero(np.isnan(values).all((1, 2)))
    if len(empty):
        raise ValueError(
            f"X has {len(empty)} series without any observation, the first of them at position "
            f"{empty[0]}; every series needs at least one number that is not NaN."
        )
    return read


def check_is_no_table(X: Any, y: Any) -> None:
    """Raise if a flat DataFrame comes with a label for each of its rows.

    Its rows then are series, as in scikit-learn, and not the points of a single one, beside
    which sktime may hand another series of real numbers.
    """
    X = as_pandas(X)
    of_each_row = _is_flat(X) and np.ndim(y) == 1 and len(y) == len(X) > 1
    if of_each_row and np.asarray(y).dtype.kind != "f":
        raise _table_error(X)


def _table_error(X: pd.DataFrame | pd.Series) -> TypeError:
    return TypeError(
        f"X is a flat DataFrame or Series of shape {X.shape}, which sktime takes for a single "
        f"series; if its rows are series, pass X.to_numpy(). Expected {_ACCEPTED}."
    )


def _read_array(X: np.ndarray) -> NamedPanel:
    if X.dtype == object and X.ndim == 1 and any(np.ndim(item) for item in X):
        return _read_list(list(X))  # series of unequal length, each an array
    if X.ndim not in (2, 3):
        raise ValueError(
            f"X is an array of {X.ndim} dimensions and shape {X.shape}; expected 2D array "
            "(n_series, n_points) or 3D array (n_series, n_channels, n_points). Reshape your "
            "data: X.reshape(1, -1) makes a panel of a single series."
        )
    if X.shape[0] == 0:
        raise ValueError(
            f"X has 0 series (shape={X.shape}): found array with 0 sample(s) while a minimum "
            "of 1 is required."
        )
    if 0 in X.shape:
        raise ValueError(
            f"X has 0 feature(s) (shape={X.shape}) while a minimum of 1 is required: every "
            "series needs at least one channel and one time point."
        )
    n_features = X.shape[1] if X.ndim == 2 else None
    if X.ndim == 2:
        X = X[:, None, :]
    values = _to_float32(X, "X")
    lost = _lost_channels(values, [X.swapaxes(0, 1)])
    return NamedPanel(values, pd.RangeIndex(len(X)), None, n_features, lost)


def _read_frame(X: pd.DataFrame) -> NamedPanel:
    if 0 in X.shape:
        raise ValueError(
            f"X is an empty DataFrame (shape={X.shape}); at least one series with one channel "
            "and one time point is required: found 0 sample(s) or 0 feature(s)."
        )
    _check_columns(X, "X")
    if _is_nested(X):
        return _read_nested(X)
    X = _numeric_columns(X)
    if isinstance(X.index, pd.MultiIndex):
        return _read_multiindex(X)
    # sktime's single series: time in rows, channels in columns
    _check_time(X.index, "X")
    _warn_of_uneven(["X"] if _uneven(X.index) else [])
    numbers = X.to_numpy().T  # (C, T)
    values = _to_float32(numbers, "X")[None]
    lost = _lost_channels(values, [numbers])
    return NamedPanel(values, pd.RangeIndex(1), _names(X.columns), lost=lost)


def _is_nested(X: pd.DataFrame) -> bool:
    """Whether cells are series; lists are none, but meant as such."""
    series = (pd.Series, np.ndarray, list)
    objects = [X.iloc[:, i] for i, dtype in enumerate(X.dtypes) if dtype.kind == "O"]
    return any(isinstance(cell, series) for column in objects for cell in column)


def _is_flat(X: Any) -> bool:
    """Whether X is pandas without a second level in index or cells."""
    if not isinstance(X, (pd.Series, pd.DataFrame)) or isinstance(X.index, pd.MultiIndex):
        return False
    frame = X.to_frame() if isinstance(X, pd.Series) else X
    return 0 not in frame.shape and not _is_nested(frame)


def _check_columns(X: pd.DataFrame, name: str) -> None:
    columns = pd.Index(_names(X.columns))
    if columns.has_duplicates:
        names = columns[columns.duplicated()].unique().tolist()
        raise ValueError(f"{name} has several columns of the same name: {names}.")


def _check_time(index: pd.Index, name: str) -> None:
    """Raise unless rows of a single series stand in the order of time."""
    if isinstance(index, pd.RangeIndex) and index.step > 0:  # for speed
        return
    if isinstance(index, pd.MultiIndex):  # a group of a longer frame keeps the name of its series
        names = index.droplevel(-1).unique()
        if len(names) > 1:
            raise ValueError(
                f"{name} must be a single series; its MultiIndex names several: "
                f"{names[:3].tolist()}…"
            )
        index = index.get_level_values(-1)
    _check_text(index, name)
    if not (index.is_unique and index.is_monotonic_increasing):
        flat = "; if the rows are series and not time points, pass X.to_numpy()"
        hint = flat if name == "X" else ""
        raise ValueError(
            f"The time index of {name} must be increasing without duplicates; it starts with "
            f"{index[:4].tolist()}. {_how_to_sort(index)} first{hint}."
        )


def _uneven(time: pd.Index, starts: Sequence[int] | np.ndarray = (0,)) -> list[int]:
    """Of the series whose points start at these positions, those that are unevenly spaced."""
    if isinstance(time, pd.RangeIndex):
        return []
    if isinstance(time, pd.MultiIndex):
        time = time.get_level_values(-1)
    if isinstance(time.dtype, pd.ArrowDtype):
        time = pd.Index(time.to_numpy())
    if pd.api.types.is_object_dtype(time.dtype) or pd.api.types.is_string_dtype(time.dtype):
        time = _parse_time(time)
    if isinstance(time, (pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex)):
        numbers = time.asi8
    elif pd.api.types.is_any_real_numeric_dtype(time.dtype):
        # nanoseconds since 1970 exceed a float's digits
        whole = pd.api.types.is_integer_dtype(time.dtype) and not time.hasnans
        numbers = time.to_numpy(np.int64 if whole else np.float64)
    else:
        return []
    steps = np.append(np.diff(numbers).astype(np.float64), np.nan)
    steps[np.asarray(starts)[1:] - 1] = np.nan  # from one series to the next
    longest, shortest = np.fmax.reduceat(steps, starts), np.fmin.reduceat(steps, starts)
    uneven = np.flatnonzero(longest > _UNEVEN * shortest).tolist()
    if isinstance(time, pd.DatetimeIndex):  # business days are a rule, too
        ends = [*starts[1:], len(time)]
        uneven = [i for i in uneven if pd.infer_freq(time[starts[i] : ends[i]]) is None]
    return uneven


def _parse_time(time: pd.Index) -> pd.Index:
    """ISO dates and numbers that are text or objects as such; other time as it is."""
    # dates first: as numbers 20240131 and 20240201 would be 70 apart
    for parse in (functools.partial(pd.to_datetime, format="ISO8601"), pd.to_numeric):
        try:
            return pd.Index(parse(time))
        except (TypeError, ValueError):
            continue
    return time


def _warn_of_uneven(names: Sequence) -> None:
    """Warn of the series of these names, if there are any."""
    if len(names):
        warnings.warn(
            f"The points of {len(names)} series in X, first those of {names[0]}, are unevenly "
            "spaced in time, and count as evenly spaced. If rows are absent, insert them as NaN, "
            "which are gaps; otherwise resample.",
            stacklevel=2,
        )


def _is_text(index: pd.Index) -> bool:
    if isinstance(index, pd.CategoricalIndex) and index.ordered:
        return False
    if not (pd.api.types.is_object_dtype(index) or pd.api.types.is_string_dtype(index)):
        return False
    return all(isinstance(label, str) for label in index)


def _how_to_sort(time: pd.Index) -> str:
    if _is_text(time):
        return "Convert it from text to numbers or dates, and call sort_index()"
    return "Call sort_index()"


def _check_text(time: pd.Index, name: str) -> None:
    """Raise unless the alphabet sorts time stamps that are text as some numbers in them do.

    Those numbers may have signs and decimals, or be several, as in dates; text without numbers,
    or of more than one form, is taken as it stands.
    """
    labels = time.unique()
    if not _is_text(labels):
        return
    labels = sorted(labels)
    signed = any(label.startswith("-") for label in labels)
    if not signed and _has_fixed_digits(labels):  # for speed
        return
    numbered = False
    for number in _SIGNED_NUMBERS if signed else _NUMBERS:
        forms = {number.sub("#", label) for label in labels}
        if len(forms) == 1 and "#" in forms.pop():
            numbered = True
            values = [[float(part) for part in number.findall(label)] for label in labels]
            if values == sorted(values):
                return
    if numbered:
        raise ValueError(
            f"The time index of {name} is text, which sorts {labels[:4]}… by the alphabet and not "
            "by the numbers in it: convert it to numbers or dates."
        )


def _has_fixed_digits(labels: list[str]) -> bool:
    """Whether digits are at the same places in all, as in ISO dates, and so sort as numbers do."""
    if len({len(label) for label in labels}) > 1:
        return False
    codes = np.array(labels).view(np.uint32).reshape(len(labels), -1)
    is_digit = (codes >= ord("0")) & (codes <= ord("9"))
    return bool((is_digit == is_digit[0]).all())


def _is_plain(dtype: Any) -> bool:
    """Whether it is numpy's, of real numbers, and so needs no conversion."""
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf"


def _numeric_columns(X: pd.DataFrame, name: str = "X") -> pd.DataFrame:
    """The frame with numeric columns; missing values of any kind become NaN."""
    if all(_is_plain(dtype) for dtype in X.dtypes):
        return X
    columns = {}
    for i, (column, dtype) in enumerate(zip(X.columns, X.dtypes, strict=True)):
        is_number = pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)
        numeric = is_number and not pd.api.types.is_complex_dtype(dtype)
        try:
            if not numeric and not pd.api.types.is_object_dtype(dtype):
                raise TypeError(f"dtype {dtype}")
            if not numeric and any(isinstance(cell, (str, bytes)) for cell in X.iloc[:, i]):
                raise TypeError("text")  # of digits, too: pandas before 3 has it as objects
            columns[i] = X.iloc[:, i].to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"Column {column!r} of {name} is not numeric ({error}): categorical, text, time "
                "and complex columns are not supported."
            ) from None
    return pd.DataFrame(columns, index=X.index).set_axis(X.columns, axis=1)


def _read_multiindex(X: pd.DataFrame) -> NamedPanel:
    """The last level is time, those before it name the series."""
    if X.index.has_duplicates:
        first = X.index[X.index.duplicated()][0]
        raise ValueError(f"The MultiIndex of X has duplicate entries, the first is {first!r}.")
    if X.index.nlevels == 1:
        raise ValueError(
            "The MultiIndex of X has one level; expected (instance, time), the time last."
        )
    numbers = X.to_numpy()  # (rows, C)
    values = _to_float32(numbers, "X")
    levels = list(range(X.index.nlevels - 1))
    keys = X.index.get_level_values(0) if len(levels) == 1 else X.index.droplevel(-1)
    ids, instances = pd.factorize(keys)
    if any((codes < 0).any() for codes in X.index.codes[:-1]):
        raise ValueError("The MultiIndex of X has missing instance names.")
    if (np.diff(ids) < 0).any():
        raise ValueError(
            "The rows of X are not sorted: those of one series must stand together. "
            "Call X.sort_index() first."
        )
    starts = np.flatnonzero(np.r_[True, np.diff(ids) > 0])
    lengths = np.diff(np.r_[starts, len(ids)])
    time = X.index.get_level_values(-1)
    if time.hasnans:
        raise ValueError("The time level of the MultiIndex of X has missing values.")
    _check_text(time, "X")
    codes = pd.factorize(time, sort=True)[0]
    if ((np.diff(codes) < 0) & (np.diff(ids) == 0)).any():
        raise ValueError(
            f"The time index of X is not sorted within a series. {_how_to_sort(time)} first."
        )
    _warn_of_uneven(instances[_uneven(time, starts)])
    place = np.arange(len(ids)) - np.repeat(starts, lengths)
    panel = np.full((len(instances), values.shape[1], lengths.max()), np.nan, np.float32)
    panel[ids, :, place] = values
    lost = _lost_channels(panel, [numbers.T])
    index = pd.Index(instances) if len(levels) == 1 else pd.MultiIndex.from_tuples(instances)
    index.names = X.index.names[:-1]
    return NamedPanel(panel, index, _names(X.columns), lost=lost)


def _read_nested(X: pd.DataFrame) -> NamedPanel:
    """sktime's nested_univ: each cell is a series."""
    rows, sources, uneven = [], [], []
    for position, (_, row) in enumerate(X.iterrows()):
        name = f"row {position} of the nested DataFrame X"
        for cell in row:
            if not (isinstance(cell, (pd.Series, np.ndarray)) and cell.ndim == 1):
                raise TypeError(
                    f"{name} has a cell that is no 1D series but a {type(cell).__name__}; each "
                    "must be a 1D pandas Series or numpy array, of NaN where nothing was observed."
                )
        cells = []
        for cell in row:
            if isinstance(cell, pd.Series):
                _check_time(cell.index, f"a cell in {name}")
                uneven += [name] if _uneven(cell.index) else []
                if not _is_plain(cell.dtype):
                    cell = _numeric_columns(cell.to_frame(), f"a cell in {name}").iloc[:, 0]
                cell = cell.to_numpy()
            cells.append(cell)
        rows.append(_stack([_to_float32(cell, name)[None] for cell in cells])[:, 0])
        sources.append(cells)
    _warn_of_uneven(list(dict.fromkeys(uneven)))
    values = _stack(rows)
    lost = _lost_channels(values, sources)
    return NamedPanel(values, X.index, _names(X.columns), lost=lost)


def _read_list(X: Sequence) -> NamedPanel:
    if len(X) == 0:
        raise ValueError(f"X is an empty list: found 0 sample(s); expected {_ACCEPTED}.")
    channels = None
    X = [as_pandas(item) for item in X]
    is_frame = [isinstance(item, (pd.DataFrame, pd.Series)) for item in X]
    if any(is_frame) and not all(is_frame):
        raise TypeError(
            f"X mixes {sum(is_frame)} DataFrames (n_points, n_channels) with "
            f"{len(X) - sum(is_frame)} other items; allowed are only DataFrames, or only arrays "
            "(n_channels, n_points)."
        )
    if all(is_frame):
        frames = [item.to_frame() if isinstance(item, pd.Series) else item for item in X]
        if all(isinstance(item, pd.DataFrame) for item in X):  # the name of a Series is its own
            channels = _names(frames[0].columns)
        for position, frame in enumerate(frames):
            _check_columns(frame, f"X[{position}]")
            _check_time(frame.index, f"X[{position}]")
            if channels is not None and _names(frame.columns) != channels:
                raise ValueError(
                    f"X[{position}] has the columns {_names(frame.columns)}, but X[0] has "
                    f"{channels}; all series need the same channels."
                )
        _warn_of_uneven([f"X[{i}]" for i, frame in enumerate(frames) if _uneven(frame.index)])
        frames = [_numeric_columns(frame, f"X[{i}]") for i, frame in enumerate(frames)]
        items = [frame.to_numpy().T for frame in frames]
    else:
        try:
            items = [_as_array(item, f"X[{i}]") for i, item in enumerate(X)]
        except ValueError as error:
            raise ValueError(f"X is a list whose items are no arrays: {error}.") from None
        if all(item.ndim == 0 for item in items):
            raise ValueError(
                f"X is a list of {len(items)} scalars: a 1D array; expected {_ACCEPTED}. "
                "Reshape your data: [[...]] is a list of a single series."
            )
        items = [item[None] if item.ndim == 1 else item for item in items]
    sources, items = items, [_to_float32(item, f"X[{i}]") for i, item in enumerate(items)]
    for position, item in enumerate(items):
        if item.ndim != 2 or 0 in item.shape:
            raise ValueError(
                f"X[{position}] has the shape {item.shape}; expected (n_channels, n_points) "
                "with at least one of each."
            )
        if len(item) != len(items[0]):
            raise ValueError(
                f"X[{position}] has {len(item)} channels, but X[0] has {len(items[0])}; all "
                "series need the same channels, and the shape (n_channels, n_points)."
            )
    values = _stack(items)
    lost = _lost_channels(values, sources)
    return NamedPanel(values, pd.RangeIndex(len(items)), channels, lost=lost)


def as_pandas(X: Any) -> Any:
    """A frame of polars, pyarrow, dask or narwhals as a pandas one; anything else as it is."""
    library, kind = type(X).__module__.split(".")[0], type(X).__name__
    match library, kind:
        case "narwhals", "DataFrame" | "LazyFrame":
            return as_pandas(X.to_native())
        case "pyarrow", "Table":
            return X.to_pandas()
        case "polars", "DataFrame" | "LazyFrame":
            X = X.collect() if kind == "LazyFrame" else X
            columns = {name: X[name].to_numpy() for name in X.columns}
            columns = {name: list(c) if c.ndim > 1 else c for name, c in columns.items()}
            return _with_index_of_columns(pd.DataFrame(columns))
        case "dask", "DataFrame":
            frame = _with_index_of_columns(X.compute())
            # its partitions are sorted by the index as text
            return frame.sort_index() if isinstance(frame.index, pd.MultiIndex) else frame
    return X


def _with_index_of_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """sktime keeps the index of libraries without one in columns, "__index__" before their names.

    A level without a name has its number.
    """
    names = [name for name in frame.columns if str(name).startswith(_INDEX)]
    if not names:
        return frame
    levels = [name.removeprefix(_INDEX) for name in names]
    levels = [None if level == str(i) else level for i, level in enumerate(levels)]
    return frame.set_index(names).rename_axis(levels)


def _read_other(X: Any) -> NamedPanel:
    """Containers that only sktime knows (xarray, gluonts, ...)."""
    from sktime.datatypes import check_is_scitype, convert

    try:
        known, _, metadata = check_is_scitype(X, "Panel", return_metadata=["mtype"])
    except Exception:  # sktime's checks of foreign objects raise anything
        known = False
    if known:
        return _read_frame(convert(X, metadata["mtype"], "pd-multiindex", as_scitype="Panel"))
    is_frame = hasattr(X, "columns")  # its rows may be points as well as series
    if hasattr(X, "__array__") and not hasattr(X, "toarray") and not is_frame:
        return _read_array(_as_array(X, "X"))
    hint = " Sparse input is not supported: use X.toarray()." if hasattr(X, "toarray") else ""
    hint = " Convert it to a pandas DataFrame or a numpy array." if is_frame else hint
    raise TypeError(f"X is a {type(X).__name__}; expected {_ACCEPTED}.{hint}")


def _stack(items: Sequence[np.ndarray]) -> np.ndarray:
    """(C, T_i) arrays -> (n, C, T), NaN behind the shorter ones."""
    longest = max(item.shape[-1] for item in items)
    panel = np.full((len(items), len(items[0]), longest), np.nan, np.float32)
    for row, item in zip(panel, items, strict=True):
        row[:, : item.shape[-1]] = item
    return panel


def _as_array(item: Any, name: str) -> np.ndarray:
    """As numpy array; masked arrays keep their mask."""
    if isinstance(item, np.ndarray):
        return item
    try:
        return np.asarray(item)
    except (RuntimeError, TypeError) as error:  # torch: a gradient, a GPU, bfloat16
        raise TypeError(f"{name} is a {type(item).__name__} and no array: {error}") from None


def _to_float32(values: np.ndarray, name: str) -> np.ndarray:
    """Numbers of any real dtype as float32; what is none raises with the name of the array."""
    if isinstance(values, np.ma.MaskedArray):  # masked means not observed
        numbers = _to_float32(values.data, name)
        return np.where(np.ma.getmaskarray(values), np.float32(np.nan), numbers)
    if values.dtype.kind in "OSU":
        values = _parse_objects(values, name)
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {values.dtype}.")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {values.dtype}; expected real numbers.")
    with np.errstate(over="ignore", under="ignore"):  # inf is reported by the caller
        return np.asarray(values, dtype=np.float32)


def _lost_channels(values: np.ndarray, sources: Iterable[Any]) -> list[int]:
    """Channels that are constant in float32 (n, C, T), but were not before, nor but for rounding.

    `sources` hold the numbers as they came, each an array for each channel.
    """
    constant = ~(np.fmax.reduce(values, (0, 2)) > np.fmin.reduce(values, (0, 2)))
    if not constant.any():
        return []
    sources, lost = list(sources), []
    for c in np.flatnonzero(constant).tolist():
        parts = [np.ma.compressed(source[c]) for source in sources]
        parts = [_parse_objects(p, "X") if p.dtype.kind in "OSU" else p for p in parts if p.size]
        if not parts or any(part.dtype.kind not in "iuf" for part in parts):
            continue
        lowest = np.fmin.reduce([np.fmin.reduce(part) for part in parts])
        highest = np.fmax.reduce([np.fmax.reduce(part) for part in parts])
        rounding = 0.0  # of integers
        if any(part.dtype.kind == "f" for part in parts):
            rounding = _ROUNDING * max(abs(lowest), abs(highest))
        if np.isfinite(rounding) and highest - lowest > rounding:
            lost.append(c)
    return lost


def _parse_objects(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind == "O":
        values = np.where(pd.isna(values), np.nan, values)  # pandas' NA is no number to numpy
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError) as error:
        wrong = next(v for v in values.ravel() if not _is_number(v))
        message = (
            f"{name} has dtype {values.dtype} and holds {str(wrong)[:40]!r} "
            f"({type(wrong).__name__}), which is no real number: {error}"
        )
        raise type(error)(message) from None


def _is_number(value: Any) -> bool:
    try:
        np.asarray(value, dtype=object).astype(np.float64)
    except (TypeError, ValueError):
        return False
    return np.ndim(value) == 0


def _names(columns: pd.Index) -> list[str]:
    return [str(column) for column in columns]


def read_labels(y: Any, n_series: int) -> np.ndarray:
    """Class labels as a 1D array, checked.

    Raises
    ------
    TypeError, ValueError
        If labels are missing, not one per series, of mixed types, or continuous numbers.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None: labels are needed.")
    framed = isinstance(y, pd.DataFrame)  # whose single column needs no warning
    if framed:
        y = y.to_numpy()
    if isinstance(y, (pd.Series, pd.Index)):
        missing = y.isna().to_numpy() if isinstance(y, pd.Series) else y.isna()
        y = y.to_numpy(dtype=object if missing.any() or y.dtype == object else None)
        if y.dtype.kind not in "biufOmM":  # a list of dates would be one of numbers
            y = np.array(y.tolist(), dtype=object)
    if isinstance(y, np.ma.MaskedArray):
        y = np.ma.filled(y.astype(object), np.nan)
    if isinstance(y, (list, tuple)):
        y = np.array(y, dtype=object)  # numpy would turn ["a", 1] into strings
    if np.asarray(y).dtype.kind == "T":  # numpy's strings of any length
        y = np.asarray(y).astype(object)
    if np.asarray(y).dtype.kind == "c":
        raise ValueError("Complex data not supported: y holds complex numbers, not labels.")
    labels = column_or_1d(np.asarray(y), warn=not framed, input_name="y")
    if len(labels) != n_series:
        raise ValueError(
            f"y has {len(labels)} labels, but X has {n_series} series: inconsistent numbers of "
            "samples."
        )
    if pd.isna(labels).any():
        position = int(np.flatnonzero(pd.isna(labels))[0])
        raise ValueError(
            f"Input y contains NaN or None: the label at position {position} is missing. Drop "
            "the series, or mark it with a label and name that in `unlabeled`."
        )
    if labels.dtype.kind == "O":
        kinds = {label_kind(label) for label in labels}
        if len(kinds) > 1:
            raise TypeError(
                f"y mixes labels of the types {sorted(kinds)}; allowed are labels of one type."
            )
        if kinds <= {"boolean", "number", "text"}:
            given, labels = labels, np.asarray(labels.tolist())
            if labels.dtype.kind in "fO" and all(isinstance(label, Integral) for label in given):
                raise ValueError(
                    f"y holds integers from {min(given)} to {max(given)}, which no type of 64 bits "
                    "can hold; turn them into text."
                )
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise ValueError("Input y contains infinity; allowed are class labels.")
    if labels.dtype.kind not in "biufU":
        raise TypeError(
            f"y holds labels like {labels[0]!r} ({type(labels[0]).__name__}); allowed are "
            "integers, strings and booleans."
        )
    try:
        check_classification_targets(labels)
    except ValueError as error:
        raise ValueError(f"y holds no class labels. {error}") from None
    return labels


def check_order(y: Any, instances: pd.Index, of_labels: str = "y", of_series: str = "X") -> None:
    """Raise unless labels under the names of the series stand in the order of the series.

    Labels are taken by position, as in scikit-learn. Of series numbered by default nothing is
    said: the names of y may then be older ones.
    """
    if not isinstance(y, (pd.Series, pd.DataFrame)) or isinstance(instances, pd.RangeIndex):
        return
    names = y.index
    if names.nlevels != instances.nlevels or names.equals(instances):
        return
    if not (names.is_unique and instances.is_unique):
        return
    if len(names) == len(instances) and names.isin(instances).all():
        raise ValueError(
            f"{of_labels} has the names of the series in {of_series} in another order: "
            f"{names[:3].tolist()}… instead of {instances[:3].tolist()}…, and labels are taken by "
            f"position. Use {of_labels}.loc[names] in the order of {of_series}, or "
            f"{of_labels}.to_numpy() if the order is right."
        )


def label_kind(label: Any) -> str:
    """What a label is: a boolean, a number, text, or else the name of its type."""
    if isinstance(label, (bool, np.bool_)):
        return "boolean"
    if isinstance(label, (int, float, np.number)):
        return "number"
    return "text" if isinstance(label, str) else type(label).__name__

"""The data sets: a folder of .npz files, UCI HAR as distributed, or sktime's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from sktime.datasets import load_UCR_UEA_dataset

from tsmae.panel import Panel

PAPER = ("HAR", "Epilepsy", "SpokenArabicDigits", "UWaveGestureLibrary")
UCR = (
    "Adiac", "Beef", "CBF", "Coffee", "CricketX", "DistalPhalanxTW", "ECG200", "ECGFiveDays",
    "FaceAll", "FiftyWords", "Fish", "GestureMidAirD1", "Haptics", "LargeKitchenAppliances",
    "Lightning7", "MedicalImages", "MoteStrain", "PhalangesOutlinesCorrect", "Plane",
    "PowerCons", "SonyAIBORobotSurface1", "Strawberry", "SwedishLeaf", "SyntheticControl",
    "ToeSegmentation1", "Trace", "TwoLeadECG", "Wine", "Worms",
)  # fmt: skip
UEA = ("AtrialFibrillation", "ERing", "Handwriting", "Libras", "PenDigits", "UWaveGestureLibrary")
BUNDLED = (
    "ACSF1", "ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels",
    "OSULeaf", "PLAID",
)  # fmt: skip
UNIVARIATE = (
    *UCR, "ACSF1", "ArrowHead", "Epilepsy", "GunPoint", "ItalyPowerDemand", "OSULeaf", "PLAID",
)  # fmt: skip

_OTHER_IN_SKTIME = ("Epilepsy",)  # there: movements of the UEA archive; here: UCI's seizures
_HAR_FOLDER = "UCI HAR Dataset"
_HAR_CHANNELS = tuple(
    f"{sensor}_{axis}" for sensor in ("body_acc", "body_gyro", "total_acc") for axis in "xyz"
)
_GROUP_KEYS = ("subject_train", "segment_train")
_VALIDATION_SHARE = 0.25


class Dataset(NamedTuple):
    """A labelled panel with its official split.

    Attributes
    ----------
    X_train, X_test : (n, C, T) float32 arrays
        NaN where nothing was observed; a shorter series ends in NaN.
    y_train, y_test : (n,) arrays
    groups_train : (n_train,) array or None
        Subject or recording of each training series, where known.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    groups_train: np.ndarray | None = None

    def cut(self, n: int) -> Dataset:
        """About `n` training and `n` test series at most, by class, of each at least one."""
        train, test = (_some_of(y, n) for y in (self.y_train, self.y_test))
        return self._replace(
            X_train=self.X_train[train],
            y_train=self.y_train[train],
            X_test=self.X_test[test],
            y_test=self.y_test[test],
            groups_train=None if self.groups_train is None else self.groups_train[train],
        )

    def validation(self, seed: int) -> Dataset:
        """The training part alone, a quarter of it in the role of the test part.

        Split by group where groups are known, else stratified by class.
        """
        rows = np.arange(len(self.y_train))
        if self.groups_train is not None:
            splitter = GroupShuffleSplit(1, test_size=_VALIDATION_SHARE, random_state=seed)
            train, test = next(splitter.split(rows, groups=self.groups_train))
        else:
            smallest = np.unique(self.y_train, return_counts=True)[1].min()
            train, test = train_test_split(
                rows,
                test_size=_VALIDATION_SHARE,
                random_state=seed,
                stratify=self.y_train if smallest > 1 else None,
            )
        return Dataset(
            self.X_train[train],
            self.y_train[train],
            self.X_train[test],
            self.y_train[test],
            None if self.groups_train is None else self.groups_train[train],
        )


def load(name: str, data_dir: str | os.PathLike | None = None) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        A name of the UCR or UEA archive, "HAR" or "Epilepsy".
    data_dir : path, optional
        Folder (searched with its subfolders) of ``<name>.npz`` files with arrays ``X_train``,
        ``y_train``, ``X_test``, ``y_test`` and, if known, ``subject_train`` or
        ``segment_train``; and of the unzipped ``UCI HAR Dataset``. Default: the environment
        variable ``TSMAE_DATA``.
        What is not there comes from sktime: bundled with it, or downloaded.

    Raises
    ------
    FileNotFoundError
        If the set is neither in the folder nor available from sktime.
    """
    data_dir = data_dir or os.environ.get("TSMAE_DATA")
    if data_dir:
        for path in sorted(Path(data_dir).rglob(f"{name}.npz")):
            return _load_npz(path)
        if name == "HAR":
            for folder in sorted(Path(data_dir).rglob(_HAR_FOLDER)):
                return load_uci_har(folder)
    if name in _OTHER_IN_SKTIME:
        raise FileNotFoundError(
            f"Data set {name!r}: no {name}.npz in the data folder (--data-dir or TSMAE_DATA), and "
            "sktime's set of that name is another one."
        )
    return _load_sktime(name)


def load_uci_har(folder: str | os.PathLike) -> Dataset:
    """UCI HAR from the unzipped folder of the original distribution.

    Parameters
    ----------
    folder : path
        The one that holds ``train/Inertial Signals/body_acc_x_train.txt`` and so on.

    Returns
    -------
    Dataset
        9 channels: body acceleration, angular velocity, total acceleration, each x, y, z;
        `groups_train` are the subjects.
    """
    folder = Path(folder)
    parts = []
    for part in ("train", "test"):
        signals = folder / part / "Inertial Signals"
        X = np.stack(
            [
                np.loadtxt(signals / f"{channel}_{part}.txt", dtype=np.float32, ndmin=2)
                for channel in _HAR_CHANNELS
            ],
            axis=1,
        )
        y = np.loadtxt(folder / part / f"y_{part}.txt", dtype=np.int64, ndmin=1)
        parts += [X, y]
    subjects = np.loadtxt(folder / "train" / "subject_train.txt", dtype=np.int64, ndmin=1)
    return Dataset(*parts, subjects)


def _load_npz(path: Path) -> Dataset:
    with np.load(path, allow_pickle=False) as arrays:
        groups = next((arrays[key] for key in _GROUP_KEYS if key in arrays), None)
        parts = [arrays[key] for key in ("X_train", "y_train", "X_test", "y_test")]
    return Dataset(*parts, groups)


def _load_sktime(name: str) -> Dataset:
    parts = []
    try:
        for split in ("train", "test"):
            series, y = load_UCR_UEA_dataset(name, split=split, return_type="df-list")
            parts += [[frame.to_numpy(np.float32).T for frame in series], y]
    except Exception as error:  # the downloader raises whatever its mirrors raise
        raise FileNotFoundError(
            f"Data set {name!r}: no {name}.npz in the data folder (--data-dir or TSMAE_DATA), "
            f"not bundled with sktime, and its download failed ({type(error).__name__}: {error})."
        ) from error
    length = max(x.shape[1] for x in parts[0] + parts[2])
    return Dataset(pad(parts[0], length), parts[1], pad(parts[2], length), parts[3])


def pad(series: list[np.ndarray], length: int) -> np.ndarray:
    """Arrays (C, T_i) -> (n, C, length) float32, NaN after the end of each."""
    panel = np.full((len(series), len(series[0]), length), np.nan, dtype=np.float32)
    for row, x in zip(panel, series, strict=True):
        row[:, : x.shape[1]] = x
    return panel


def lengths(X: np.ndarray) -> np.ndarray:
    """Time points of each series of (n, C, T) up to its last observed one."""
    return Panel.from_array(X).lengths


def resample(X: np.ndarray, length: int | None = None) -> np.ndarray:
    """Every series interpolated linearly over its observed points onto `length` of them.

    Gaps are bridged, series of unequal length stretched; a channel without observations
    becomes 0.

    Parameters
    ----------
    X : (n, C, T) array
    length : int, optional
        Default: T.
    """
    length = length or X.shape[2]
    result = np.zeros((*X.shape[:2], length), dtype=np.float32)
    for i, n_points in enumerate(lengths(X)):
        times = np.linspace(0.0, max(n_points - 1, 0), length)
        for c, x in enumerate(X[i]):
            (seen,) = np.nonzero(~np.isnan(x))
            if len(seen):
                result[i, c] = np.interp(times, seen, x[seen])
    return result


def draw_labels(y: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Indices of a stratified draw of labelled series, at least one of each class.

    Parameters
    ----------
    y : (n,) array
    fraction : float in (0, 1]
    seed : int

    Returns
    -------
    (m,) int array
        Sorted; of each class ``max(1, round(fraction * count))``.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for label in np.unique(y):
        (members,) = np.nonzero(y == label)
        n = max(1, round(fraction * len(members)))
        drawn.append(rng.choice(members, n, replace=False))
    return np.sort(np.concatenate(drawn))


def _some_of(y: np.ndarray, n: int) -> np.ndarray:
    return np.arange(len(y)) if n >= len(y) else draw_labels(y, n / len(y), seed=0)

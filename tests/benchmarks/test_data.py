"""Loaders, cuts, label draws, holes."""

import numpy as np
import pytest

from benchmarks import data
from benchmarks.damage import damage, repair


def test__load__npz_in_a_subfolder__arrays_and_subjects(data_dir):
    dataset = data.load("HAR", data_dir)
    assert dataset.X_train.shape == (18, 3, 32)
    assert dataset.X_train.dtype == np.float32
    assert dataset.groups_train.tolist() == [s for s in range(6) for _ in range(3)]
    assert data.load("Flat", data_dir).groups_train is None


def test__load__folder_from_the_environment(data_dir, monkeypatch):
    monkeypatch.setenv("TSMAE_DATA", str(data_dir))
    assert data.load("Flat").X_test.shape == (18, 1, 32)


def test__load__bundled_with_sktime__official_split(monkeypatch):
    monkeypatch.delenv("TSMAE_DATA", raising=False)
    dataset = data.load("GunPoint")
    assert dataset.X_train.shape == (50, 1, 150)
    assert dataset.X_test.shape == (150, 1, 150)
    assert set(dataset.y_train) == {"1", "2"}


def test__load__bundled_of_unequal_length__nan_after_the_end(monkeypatch):
    monkeypatch.delenv("TSMAE_DATA", raising=False)
    dataset = data.load("JapaneseVowels")
    lengths = data.lengths(dataset.X_train)
    assert dataset.X_train.shape[:2] == (270, 12)
    assert (lengths.min(), dataset.X_train.shape[2]) == (7, 29)
    assert np.isnan(dataset.X_train[0, :, lengths[0] :]).all()
    assert not np.isnan(dataset.X_train[0, :, : lengths[0]]).any()


def test__load__epilepsy__not_sktimes_set_of_that_name(data_dir, monkeypatch):
    monkeypatch.setattr(data, "load_UCR_UEA_dataset", lambda *args, **kwargs: pytest.fail("asked"))
    with pytest.raises(FileNotFoundError, match=r"'Epilepsy'.*sktime's set .* is another one"):
        data.load("Epilepsy", data_dir)


def test__load__unknown_without_network__error_says_where_it_looked(data_dir, monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("no network")

    monkeypatch.setattr(data, "load_UCR_UEA_dataset", refuse)
    with pytest.raises(FileNotFoundError, match=r"'PhonemeSpectra'.*TSMAE_DATA.*no network"):
        data.load("PhonemeSpectra", data_dir)


def test__load__uci_har_folder_as_distributed(tmp_path):
    rng = np.random.default_rng(0)
    expected = {}
    for part, n in (("train", 4), ("test", 3)):
        signals = tmp_path / "UCI HAR Dataset" / part / "Inertial Signals"
        signals.mkdir(parents=True)
        expected[part] = rng.normal(size=(n, 9, 128)).astype(np.float32)
        names = [
            f"{sensor}_{axis}"
            for sensor in ("body_acc", "body_gyro", "total_acc")
            for axis in "xyz"
        ]
        for c, name in enumerate(names):
            lines = [" ".join(f"{v: .7e}" for v in x) for x in expected[part][:, c]]
            (signals / f"{name}_{part}.txt").write_text("\n".join(lines) + "\n")
        (signals.parent / f"y_{part}.txt").write_text("\n".join(str(1 + i) for i in range(n)))
        (signals.parent / f"subject_{part}.txt").write_text("\n".join("7" for _ in range(n)))
    dataset = data.load("HAR", tmp_path)
    np.testing.assert_allclose(dataset.X_train, expected["train"], rtol=1e-6)
    np.testing.assert_allclose(dataset.X_test, expected["test"], rtol=1e-6)
    assert dataset.y_train.tolist() == [1, 2, 3, 4]
    assert dataset.y_test.tolist() == [1, 2, 3]
    assert dataset.groups_train.tolist() == [7, 7, 7, 7]


@pytest.mark.parametrize(
    ("fraction", "per_class"),
    [(0.01, [1, 1, 1]), (0.1, [8, 1, 1]), (0.5, [40, 5, 1]), (1.0, [80, 10, 1])],
)
def test__draw_labels__stratified_with_one_of_each_class(fraction, per_class):
    y = np.repeat(["a", "b", "c"], [80, 10, 1])
    drawn = data.draw_labels(y, fraction, seed=3)
    assert len(set(drawn)) == len(drawn)
    assert [(y[drawn] == label).sum() for label in "abc"] == per_class


def test__draw_labels__depends_on_the_seed_alone():
    y = np.arange(100) % 2
    assert data.draw_labels(y, 0.1, 0).tolist() == data.draw_labels(y, 0.1, 0).tolist()
    assert data.draw_labels(y, 0.1, 0).tolist() != data.draw_labels(y, 0.1, 1).tolist()


def test__cut__stratified_in_both_parts(data_dir):
    dataset = data.load("HAR", data_dir).cut(6)
    assert len(dataset.X_train) == len(dataset.X_test) == len(dataset.groups_train) == 6
    assert np.bincount(dataset.y_train).tolist() == [2, 2, 2]


def test__validation__keeps_subjects_apart_and_touches_no_test_series(data_dir):
    whole = data.load("HAR", data_dir)
    dataset = whole.validation(seed=0)
    assert len(dataset.X_train) + len(dataset.X_test) == 18
    subjects = {x.tobytes(): s for x, s in zip(whole.X_train, whole.groups_train, strict=True)}
    held_out = {subjects[x.tobytes()] for x in dataset.X_test}
    assert held_out.isdisjoint(dataset.groups_train)


def test__resample__bridges_gaps_and_stretches():
    X = np.array([[[0.0, np.nan, 2.0, 3.0, np.nan, np.nan]]], dtype=np.float32)
    np.testing.assert_allclose(data.resample(X, 7)[0, 0], np.linspace(0, 3, 7), rtol=1e-6)


@pytest.mark.parametrize("kind", ["random", "blocks"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test__damage__removes_the_share_in_all_channels(kind, share):
    X = np.ones((5, 2, 100), dtype=np.float32)
    holed = np.isnan(damage(X, kind, share, seed=0))
    assert (holed[:, 0] == holed[:, 1]).all()
    assert (holed[:, 0].sum(1) == round(100 * share)).all()
    assert not np.isnan(X).any()
    edges = np.diff(np.pad(holed[:, 0], ((0, 0), (1, 1))).astype(int), axis=1)
    stretches = (edges == 1).sum(1)
    assert (stretches <= 4).all() if kind == "blocks" else (stretches > 4).all()


def test__damage__leaves_a_point_of_each_series():
    X = np.ones((3, 1, 5), dtype=np.float32)
    assert (~np.isnan(damage(X, "random", 1.0, 0))).sum(2).tolist() == [[1]] * 3


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("native", [np.nan, 1, np.nan, 3, np.nan]),
        ("zero-fill", [0, 1, 0, 3, 0]),
        ("forward-fill", [1, 1, 1, 3, 3]),
        ("truncate", [np.nan, 1, np.nan]),
        ("resample", [1, 1, 1.5, 2.25, 3]),
    ],
)
def test__repair__each_way(how, expected):
    X = np.array([[[np.nan, 1, np.nan, 3, np.nan]]], dtype=np.float32)
    np.testing.assert_allclose(repair(X, how, shortest=3)[0, 0], expected)


def test__validation__without_groups__by_class():
    y = np.repeat([0, 1, 2], [40, 8, 4])
    X = np.arange(52.0, dtype=np.float32).reshape(52, 1, 1)
    for seed in range(3):
        dataset = data.Dataset(X, y, X, y).validation(seed)
        assert np.bincount(dataset.y_train).tolist() == [30, 6, 3]
        assert np.bincount(dataset.y_test).tolist() == [10, 2, 1]


def test__validation__other_seed__another_part(data_dir):
    y = np.arange(40) % 2
    X = np.arange(40.0, dtype=np.float32).reshape(40, 1, 1)
    for groups in (None, np.arange(40) // 2):
        whole = data.Dataset(X, y, X, y, groups)
        one, other, again = (whole.validation(seed).X_test.ravel().tolist() for seed in (0, 1, 0))
        assert one == again != other

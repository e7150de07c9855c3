"""Restarting, failures, and what a cell is."""

import argparse
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from benchmarks import ablations, archive, data, few_labels, main_table, protocols, transfer
from benchmarks.cells import NOT_RUN, Cell, Skipped, Store, frame, run
from benchmarks.protocols import key, settings


def by_seed(cell):
    return f"{cell.method} {cell.seed}"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "cells.jsonl")


def cells(n):
    return [Cell("data", "method", seed) for seed in range(n)]


def test__run__again__measures_only_what_is_missing(store):
    measured = []

    def measure(cell):
        measured.append(cell.seed)
        return {"accuracy": 50.0}

    run(cells(2), measure, by_seed, store, jobs=0)
    run(cells(3), measure, by_seed, store, jobs=0)
    assert measured == [0, 1, 2]
    run(cells(3), measure, by_seed, store, jobs=0, rerun=True)
    assert measured == [0, 1, 2, 0, 1, 2]


def test__run__failure__is_kept_with_its_error_and_retried_on_request(store):
    broken = [True]

    def measure(cell):
        if broken and cell.seed == 1:
            raise ValueError("no such thing")
        return {"accuracy": 50.0}

    run(cells(2), measure, by_seed, store, jobs=0)
    run(cells(2), measure, by_seed, store, jobs=0)
    assert store.load()["method 1"]["status"] == "failed"
    assert store.load()["method 1"]["error"] == "ValueError: no such thing"
    broken.clear()
    run(cells(2), measure, by_seed, store, jobs=0, retry=True)
    assert store.load()["method 1"]["status"] == "ok"
    assert len(store.path.read_text().splitlines()) == 3


def test__run__skipped__is_not_retried(store):
    def measure(cell):
        raise Skipped("too slow here")

    run(cells(1), measure, by_seed, store, jobs=0)
    run(cells(1), measure, by_seed, store, jobs=0, retry=True)
    assert len(store.path.read_text().splitlines()) == 1
    assert store.load()["method 0"]["error"] == "too slow here"


def test__run__record__says_what_the_number_depends_on(store):
    run(cells(1), lambda cell: {"accuracy": 50.0}, by_seed, store, jobs=0, threads=1)
    record = store.load()["method 0"]
    assert record["accuracy"] == 50.0
    assert {"seed", "settings", "versions", "commit", "cpu", "threads", "date"} <= set(record)
    assert record["cell_cpu_seconds"] >= 0
    assert record["peak_memory_mb"] > 50


def test__load__line_cut_short_by_a_crash__is_skipped_and_repaired(store):
    store.append({"key": "a", "status": "ok"})
    with open(store.path, "a") as file:
        file.write('{"key": "b", "sta')
    assert set(store.load()) == {"a"}
    store.append({"key": "c", "status": "ok"})
    assert set(store.load()) == {"a", "c"}


def test__frame__unfinished__not_run(store):
    store.append({"key": "method 0", "status": "ok", "accuracy": 1.0})
    table = frame(cells(2), by_seed, store)
    assert table["status"].tolist() == ["ok", NOT_RUN]
    assert pd.isna(table["accuracy"][1])


def test__key__differs_with_what_the_method_reads_and_nothing_else():
    base = Cell("HAR", "FineLast", 0, settings())
    assert key(base) != key(base._replace(seed=1))
    assert key(base) != key(base._replace(dataset="Flat"))
    assert key(base) != key(base._replace(settings=settings(mask_ratio=0.31)))
    assert key(base) == key(base._replace(label="other"))
    assert key(base) == key(base.with_settings(labels=1.0))
    assert key(base) != key(base.with_settings(labels=0.5))
    default = protocols.TimeMAETransformer().mask_ratio
    assert key(base) == key(base._replace(settings=settings(mask_ratio=default)))
    tuned = {**settings(), "classifier": {"lr": 0.123}}
    assert key(base) == key(base._replace(settings=tuned))
    fine_all = base._replace(method="FineAll")
    assert key(fine_all) != key(fine_all._replace(settings=tuned))
    everything = {**settings(), "classifier": {"fine_tune": "all"}}
    assert key(fine_all) == key(fine_all._replace(settings=everything))
    as_it_is = base._replace(method="TimeMAEClassifier")
    assert key(as_it_is) != key(as_it_is._replace(settings=everything))
    sure = {**settings(), "classifier": {"self_training": 0.75}}
    assert key(fine_all) != key(fine_all._replace(settings=sure))
    peer = base._replace(method="MiniRocket + ridge")
    assert key(peer) == key(peer._replace(settings={}))


def test__key__fine_tuning__through_the_default_unless_the_table_names_another():
    narrow = {**settings(), "classifier": {"pooling": ["mean", "quarters"]}}
    har = Cell("HAR", "FineAll", 0, settings())
    assert key(har) != key(har._replace(settings=narrow))
    assert protocols._classifier(har._replace(settings=settings("paper")))["pooling"] == "mean"
    options = argparse.Namespace(datasets=["Beef"], seeds=[0])
    methods = {
        archive: "FineAll",
        main_table: "FineAll",
        few_labels: "FineAll",
        ablations: "FineAll",
        transfer: "Transfer",
    }
    for module, method in methods.items():
        cell = next(
            cell
            for cell in module.cells(options)
            if cell.method == method and cell.label != "paper"
        )
        assert cell.settings["classifier"] == {}, module


def test__key__random_encoder__ignores_the_pretext_task():
    base = Cell("HAR", "FineZero", 0, settings())
    for change in ({"mask_ratio": 0.31}, {"max_epochs": 7}, {"n_codewords": 11}, {"lr": 0.1}):
        assert key(base) == key(base._replace(settings=settings(**change)))
    assert key(base) != key(base._replace(settings=settings(d_model=8)))


def test__key__init__counts_where_panels_may_start_from_synthetic_series():
    started, many = (Cell(name, "FineLast", 0, settings()) for name in ("ECG200", "HAR"))
    for cell, same in ((started, False), (many, True)):
        random = cell._replace(settings=settings(init="random"))
        assert (key(cell) == key(random)) is same
        untrained = cell._replace(method="FineZero")
        assert key(untrained) == key(untrained._replace(settings=settings(init="random")))


def test__key__auto__is_no_number():
    cell = Cell("HAR", "FineLast", 0, settings())
    for epochs, same in (("auto", True), (15, False)):
        other = cell._replace(settings=settings(max_epochs=epochs))
        assert (key(cell) == key(other)) is same


def test__untrained__random_encoder(monkeypatch):
    fitted, fit = [], protocols.TimeMAETransformer.fit

    def spy(self, *args):
        fitted.append(self)
        return fit(self, *args)

    monkeypatch.setattr(protocols.TimeMAETransformer, "fit", spy)
    X = np.random.default_rng(0).normal(size=(6, 1, 32)).astype(np.float32)
    cell = Cell("ECG200", "FineZero", 0, settings())
    protocols.encoder(cell, X)
    assert [(t.init, t.max_epochs) for t in fitted] == [("random", 0)]


def test__pretrained__second_call__comes_from_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(protocols.ENCODER_FOLDER, str(tmp_path))
    X = np.random.default_rng(0).normal(size=(6, 1, 32)).astype(np.float32)
    small = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1, "max_epochs": 1}
    first, cost = protocols.pretrained(small, X, 0)
    monkeypatch.setattr(protocols.TimeMAETransformer, "fit", None)
    again, same_cost = protocols.pretrained(small, X, 0)
    assert cost == same_cost
    pd.testing.assert_frame_equal(first.transform(X), again.transform(X))
    with pytest.raises(TypeError):
        protocols.pretrained(small, X + 1, 0)


def test__command__in_a_process_of_its_own__restarts_without_running(data_dir, tmp_path):
    command = [
        sys.executable, "-m", "benchmarks.main_table", "--budget", "quick", "--jobs", "2",
        "--datasets", "HAR", "Nowhere", "--methods", "FineZero", "--data-dir", str(data_dir),
        "--results", str(tmp_path),
    ]  # fmt: skip
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    for _ in range(2):
        subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)
        lines = (tmp_path / "cells.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert len(records) == 4
        assert sorted(r["status"] for r in records) == ["failed", "failed", "ok", "ok"]
    text = (tmp_path / "main_table.md").read_text()
    assert "python -m benchmarks.main_table --budget quick" in text
    assert str(tmp_path) not in text and str(data_dir) not in text


def test__run__peak_memory__the_larger_of_its_own_and_the_encoder_s(store):
    def measure(cell):
        return {"peak_memory_mb": 10**cell.seed}

    run([Cell("data", "method", seed) for seed in (0, 9)], measure, by_seed, store, jobs=0)
    records = store.load()
    assert records["method 0"]["peak_memory_mb"] > 50
    assert records["method 9"]["peak_memory_mb"] == 10**9


def test__frame__settings_and_label__as_the_table_asked(store):
    asked = Cell("data", "method", 0, {"labels": 1.0}, "all")
    store.append({"key": "method 0", **asked._asdict(), "settings": {}, "status": "ok"})
    row = frame([asked], by_seed, store).iloc[0]
    assert (row["settings"], row["label"], row["status"]) == ({"labels": 1.0}, "all", "ok")


def test__labelled__another_draw_for_each_seed():
    y = np.arange(60) % 3
    dataset = data.Dataset(np.zeros((60, 1, 8)), y, np.zeros((60, 1, 8)), y)
    drawn = [
        protocols.labelled(Cell("made up", "FineLast", seed, {"labels": 0.2}), dataset).tolist()
        for seed in (0, 1, 0)
    ]
    assert drawn[0] == drawn[2] != drawn[1]
    assert [len(rows) for rows in drawn] == [12, 12, 12]


def test__pretrained__other_seed__another_encoder(tmp_path, monkeypatch):
    monkeypatch.setenv(protocols.ENCODER_FOLDER, str(tmp_path))
    X = np.random.default_rng(0).normal(size=(6, 1, 32)).astype(np.float32)
    small = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1, "max_epochs": 1}
    one, other = (protocols.pretrained(small, X, seed)[0] for seed in (0, 1))
    assert (one.random_state, other.random_state) == (0, 1)
    assert np.abs(one.transform(X) - other.transform(X)).to_numpy().max() > 1e-3

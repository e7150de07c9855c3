"""Every table on made-up data: it runs, and holds what it should."""

import argparse
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sktime.transformations.rocket import MiniRocketMultivariate, MiniRocketMultivariateVariable

from benchmarks import (
    ablations,
    accuracy_per_second,
    archive,
    cli,
    data,
    few_labels,
    few_labels_gaps,
    goals,
    main_table,
    other_lengths,
    paired,
    pictures,
    protocols,
    quick,
    ragged,
    reports,
    speed,
    timing,
    transfer,
)  # fmt: skip
from benchmarks.cells import NOT_RUN, Cell, Skipped
from benchmarks.encoders import ENCODERS
from tsmae import TimeMAEClassifier, TimeMAETransformer, presets, probe

OURS = ["--methods", "FineZero", "FineLast", "FineZero+", "FineAll", "Transfer"]


def shown(tmp_path, name):
    return (tmp_path / f"{name}.md").read_text()


def test__main_table__protocols_presets_and_published_rows(options, tmp_path):
    results = cli.main(main_table.TABLE, [*options, "--datasets", "HAR", *OURS])
    assert (results["status"] == "ok").all()
    assert len(results) == 8
    assert results["accuracy"].between(0, 100).all()
    assert results["macro_f1"].between(0, 100).all()
    tuned = results[results["method"] == "FineAll"]
    assert (tuned["cpu_seconds"] > tuned["pretrain_cpu_seconds"]).all()
    text = shown(tmp_path, "main_table")
    assert "| TimeMAE, FineLast | published | 91.31 | 19.25 |" in text
    assert "not run here" in text and "PhonemeSpectra" in text
    row = results.query("method == 'FineLast' and label == 'paper'").iloc[0]
    assert f"| FineLast | paper | {row['accuracy']:.2f} (1) |" in text
    csv = pd.read_csv(tmp_path / "main_table.csv")
    assert csv["accuracy"].tolist() == results["accuracy"].tolist()


def test__cells_only__stored_and_no_report(options, tmp_path):
    part = [*options, "--datasets", "HAR", "--methods", "FineZero"]
    results = cli.main(main_table.TABLE, [*part, "--cells-only"])
    assert (results["status"] == "ok").all()
    assert [file.name for file in tmp_path.iterdir()] == [cli.STORE]
    again = cli.main(main_table.TABLE, [*part, "--report-only"])
    assert again["accuracy"].tolist() == results["accuracy"].tolist()
    assert "FineZero" in shown(tmp_path, "main_table")


def test__few_labels__share_of_labels_reaches_the_classifier(options, tmp_path):
    results = cli.main(
        few_labels.TABLE, [*options, "--datasets", "HAR", "--methods", "FineZero", "FineLast"]
    )
    drawn = results[results["method"] == "FineLast"].set_index("label")["n_labelled"]
    assert drawn.to_dict() == {"1%": 3, "5%": 3, "10%": 3, "50%": 9, "100%": 18}
    assert (results["n_train"] == 18).all()
    assert "| dataset | method | 1% | 5% | 10% | 50% | 100% |" in shown(tmp_path, "few_labels")
    assert (tmp_path / "few_labels_HAR.png").stat().st_size > 1000


def test__few_labels_gaps__labels_and_gaps_reach_all__points_ahead_of_the_peer(options, tmp_path):
    methods = ["--methods", "FineZero", "MiniRocket + ridge", "FineZero, with MiniRocket"]
    part = [*options, *methods, "--only", "nothing", "50 %, blocks, 1"]
    results = cli.main(few_labels_gaps.TABLE, part)
    assert (results["status"] == "ok").all()
    drawn = results.groupby("label", sort=False)["n_labelled"].unique().map(list)
    assert drawn.tolist() == [[3], [3], [3], [18], [3], [3], [18]]
    of_gaps = results["settings"].str.get("missing") == 0.5
    assert (results.loc[of_gaps, "settings"].str.get("damage") == "blocks").all()
    peer_input = results[results["method"] == "FineZero, with MiniRocket"]["peer_input"]
    assert peer_input.str.startswith("interpolated").tolist() == 4 * [False] + 3 * [True]
    accuracy = results.pivot_table(index="method", columns="label", values="accuracy", sort=False)
    accuracy = accuracy[["50 %, blocks, 1%", "50 %, blocks, 10%", "50 %, blocks, 100%"]]
    text = shown(tmp_path, "few_labels_gaps")
    for values in (
        accuracy.loc["FineZero"],
        accuracy.loc["FineZero"] - accuracy.loc["MiniRocket + ridge"],
    ):
        one, ten, every = (f"{value:.2f} (1)" for value in values)
        assert f"| HAR | 50 %, blocks | FineZero | native | {one} |  | {ten} | {every} |" in text


def test__few_labels_gaps__peer__shares_its_cells_with_ragged(options):
    def keys(table):
        wanted = table.cells(cli.parse(table, ["--datasets", "HAR", "--seeds", "0"]))
        return {protocols.key(cell): cell.method for cell in wanted}

    ours, others = keys(few_labels_gaps.TABLE), keys(ragged.TABLE)
    shared = [ours[key] for key in ours.keys() & others.keys()]
    interpolated = 3 * ["FineLast"]
    of_each = 4 * ["FineZero", "FineLast", "MiniRocket + ridge"]
    assert sorted(shared) == sorted(of_each + interpolated)


def test__transfer__takes_other_channels_and_lengths(options, tmp_path):
    results = cli.main(transfer.TABLE, [*options, "--datasets", "Flat", *OURS])
    assert (results["status"] == "ok").all()
    assert "| from scratch | from HAR | from the panel itself |" in shown(tmp_path, "transfer")


def test__other_lengths__a_column_for_each_length(options, tmp_path):
    results = cli.main(other_lengths.TABLE, [*options, "--datasets", "HAR"])
    assert (results["status"] == "ok").all()
    assert len(results) == 6
    for row in results["by_length"]:
        assert list(row) == ["0.125", "0.25", "0.5", "0.75", "1"]
        assert all(0 <= accuracy <= 100 for accuracy in row.values())
    assert "| 50.0% of the length |" in shown(tmp_path, "other_lengths")


def test__paired__prints_a_row_for_each_pair(capsys):
    paired.main(["--repeats", "1"])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 + 28
    assert all(re.search(r"\| \d+\.\d\d \|$", row) for row in rows[2:])


def test__transferred__encoder__starts_from_the_source_weights():
    from benchmarks.encoders import Transferred

    rng = np.random.default_rng(0)
    small = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1, "max_epochs": 1}
    source = TimeMAETransformer(**small, random_state=0).fit(rng.normal(size=(6, 3, 32)))
    target = TimeMAETransformer(
        **{**small, "max_epochs": 0}, encoder=Transferred(source), random_state=1
    ).fit(rng.normal(size=(6, 1, 40)))
    ours = target.model_.backbone.encoder.module.encoder.state_dict()
    theirs = source.model_.backbone.encoder.state_dict()
    assert all((ours[name] == theirs[name]).all() for name in theirs)
    assert len(ours) == len(theirs) > 0


def test__ablations__every_change__is_a_parameter_and_changes_something_somewhere():
    defaults = TimeMAETransformer().get_params(deep=False)
    bases = {
        "paper": defaults | presets.PAPER,
        "defaults": defaults,
        "fine-tuning": TimeMAEClassifier().get_params(deep=False),
    }
    sections = ablations.CHANGES | {"fine-tuning": ablations.FINE_TUNING}
    assert set(sections) == set(ablations.METHODS)
    for section, changes in sections.items():
        base = known = bases[section]
        groups = {}
        for name, change in changes.items():
            assert set(change) <= set(known), name
            assert change.get("encoder") in {None, *ENCODERS}
            differs = any(base[k] != (tuple(v) if isinstance(v, list) else v)
                          for k, v in change.items())  # fmt: skip
            groups[name.split(":")[0]] = groups.get(name.split(":")[0], False) or differs
        assert all(groups.values()), groups


def test__ablations__rows_beside_their_random_encoder(options, tmp_path, monkeypatch):
    few = ("pooling: mean", "encoder: mask tokens inside", "masks: per batch")
    changes = {p: {n: c[n] for n in few} for p, c in ablations.CHANGES.items()}
    monkeypatch.setattr(ablations, "CHANGES", changes)
    pooling = "pooling: mean‖max‖std, quarters"
    monkeypatch.setattr(ablations, "FINE_TUNING", {pooling: ablations.FINE_TUNING[pooling]})
    results = cli.main(ablations.TABLE, [*options, "--datasets", "Flat"])
    assert (results["status"] == "ok").all(), results["error"]
    text = shown(tmp_path, "ablations")
    base = r"\| as it is \| \d+\.\d+ \(1\) \| \d+\.\d+ \(1\) \| \+0\.00 \|"
    for section, methods in ablations.METHODS.items():
        part = text.partition(f"## Flat, {section}\n")[2].partition("##")[0]
        assert f"| changed | {methods[0]} | {methods[1]} |" in part and re.search(base, part)


def test__ablations__some_methods_only__still_have_a_table(options, tmp_path, monkeypatch):
    monkeypatch.setattr(ablations, "CHANGES", {"defaults": {}})
    cli.main(ablations.TABLE, [*options, "--datasets", "Flat", "--methods", "FineZero"])
    assert re.search(r"\| as it is \| \d+\.\d+ \(1\) \|", shown(tmp_path, "ablations"))


def test__archive__peers_ranks_and_duels(options, tmp_path):
    pytest.importorskip("numba")
    results = cli.main(archive.TABLE, [*options, "--datasets", "HAR", "Flat", "Ragged"])
    assert (results["status"] == "ok").all(), results[["dataset", "method", "error"]]
    text = shown(tmp_path, "archive")
    assert "largest loss" in text and "mean rank" in text
    assert (tmp_path / "archive_ranks.png").exists()
    peers = results[results["method"] == "MiniRocket + ridge"].set_index("dataset")
    assert peers.loc["Ragged", "peer_input"] == "interpolated linearly to 32 points"
    assert peers.loc["HAR", "peer_input"] == "as it is"
    assert peers.loc["HAR", "accuracy"] > 80


def test__ragged__native_against_the_fixes(options, tmp_path, monkeypatch):
    monkeypatch.setattr(ragged, "RAGGED", ("Ragged",))
    monkeypatch.setattr(ragged, "SHARES", (0.3,))
    monkeypatch.setattr(ragged, "_CUTS", (3000, None))
    results = cli.main(ragged.TABLE, [*options, "--datasets", "Ragged", "HAR"])
    assert (results["status"] == "ok").all(), results["error"].dropna().tolist()
    text = shown(tmp_path, "ragged")
    assert "native - best fix" in text
    assert "HAR, 3000 series, 30% missing, blocks" in text and "Ragged, unequal lengths" in text
    assert "own handling against MiniRocket + ridge" in text
    handled = ragged.panels(results[results["method"] == "MiniRocket + ridge"])
    handled = handled.groupby("panel")["handling"].agg(set)
    fixes = {"truncate", "resample", "forward-fill", "zero-fill"}
    assert handled["Ragged, unequal lengths"] == fixes
    assert handled["HAR, all series, 30% missing, blocks"] == {"resample"}
    assert handled["HAR, all series, nothing missing"] == {"native"}
    unequal = results[results["method"] == "MiniRocket, unequal lengths"]
    assert unequal[["dataset", "peer_input"]].values.tolist() == [["Ragged", "as it is"]]
    assert "| truncate | resample | forward-fill | zero-fill | as they are |" in text


def test__mini_rocket_unequal__sees_series_without_their_tails(options, monkeypatch):
    pytest.importorskip("numba")
    seen = []

    class Rocket(MiniRocketMultivariateVariable):
        def fit(self, X, y=None):
            seen.append(X)
            return super().fit(X, y)

    monkeypatch.setattr("sktime.transformations.rocket.MiniRocketMultivariateVariable", Rocket)
    protocols.mini_rocket_unequal(Cell("Ragged", "MiniRocket, unequal lengths", 0))
    X = data.load("Ragged").X_train
    lengths = [(~np.isnan(x[0])).sum() for x in X]
    assert len(set(lengths)) > 1
    for x, length, given in zip(X, lengths, seen[-1], strict=True):
        np.testing.assert_array_equal(given.to_numpy(), x[:, :length].T)


def test__ragged__best_fix__by_mean__differences_by_seed():
    accuracy = {
        ("native", 0): 90.0, ("native", 1): 94.0, ("truncate", 0): 91.0, ("truncate", 1): 91.0,
        ("resample", 0): 89.0, ("resample", 1): 95.0,
    }  # fmt: skip
    rows = [
        {"panel": "P", "handling": how, "seed": seed, "accuracy": value}
        for (how, seed), value in accuracy.items()
    ]
    alone = [{"panel": "Q", "handling": "native", "seed": 0, "accuracy": 50.0}]
    verdict = ragged.against_best_fix(pd.DataFrame(rows + alone))
    assert verdict.index.tolist() == ["P"]
    row = verdict.loc["P"]
    assert (row["native"], row["fix"], row["fixed"]) == (92.0, "resample", 92.0)
    assert row["gains"] == [1.0, -1.0]
    nothing = ragged.against_best_fix(pd.DataFrame(rows).drop(columns="accuracy"))
    assert len(nothing) == 0


def test__timing__growth_with_each_size(options, tmp_path, monkeypatch):
    ranges = {"n": (8, 16), "T": (32, 64), "C": (1, 2), "d": (8, 16)}
    monkeypatch.setattr(timing, "_RANGES", {"quick": ranges})
    monkeypatch.setattr(timing, "_BASE", {"n": 8, "T": 32, "C": 1, "d": 8})
    results = cli.main(timing.TABLE, options)
    assert (results["status"] == "ok").all()
    assert (results["transform_cpu_seconds"] > 0).all()
    assert "| exponent in |" in shown(tmp_path, "timing")


def test__exponent__of_a_power_law():
    sizes = np.array([1.0, 2, 4, 8, 16])
    assert timing.exponent(sizes, 3 * sizes**1.5) == pytest.approx(1.5)


def test__speed__step_and_transform_against_their_products(options, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "_BATCH", 4)
    wanted = ["--methods", "step", "transform", "profile", "--threads", "1"]
    results = cli.main(speed.TABLE, [*options, *wanted])
    assert (results["status"] == "ok").all(), results["error"].dropna().tolist()
    timed = results[results["method"] != "profile"]
    assert (timed["ratio"] > 0).all() and (timed["gflop"] > 0).all()
    text = shown(tmp_path, "speed")
    assert "products alone" in text and "addmm" in text


def test__matrix_products__of_a_linear_layer_and_attention__known_counts():
    import torch

    def of(function, *arguments, dtype=torch.float32):
        found = speed.matrix_products(function, *arguments)
        assert {key[-1] for key in found} == {dtype}
        return {key[:-1]: count for key, count in found.items()}

    layer = torch.nn.Linear(6, 5)
    x = torch.randn(2, 3, 6)
    assert of(layer, x) == {(1, 6, 6, 5): 1}

    def trained(x):
        layer(x).sum().backward()

    # forward, and the gradient of the weight
    assert of(trained, x) == {(1, 6, 6, 5): 1, (1, 5, 6, 6): 1}
    q, k = torch.randn(2, 4, 7, 8), torch.randn(2, 4, 9, 8)
    with torch.inference_mode():
        found = of(torch.nn.functional.scaled_dot_product_attention, q, k, k)
    assert found == {(8, 7, 8, 9): 1, (8, 7, 9, 8): 1}
    found = of(torch.nn.Conv1d(3, 5, 4, 4), torch.randn(2, 3, 16))
    assert found == {(1, 8, 12, 5): 1}
    with torch.autocast("cpu", torch.bfloat16):  # timed alone in the precision they run in
        assert of(layer, x, dtype=torch.bfloat16) == {(1, 6, 6, 5): 1}


def test__accuracy_per_second__shortest_fit_that_passes():
    results = pd.DataFrame(
        {
            "status": "ok",
            "method": "FineLast",
            "label": ["defaults, 1", "defaults, 1", "defaults, 2", "defaults, 2", "paper, 1"],
            "accuracy": [90.0, 94.0, 93.0, 93.0, 99.0],
            "pretrain_cpu_seconds": [10.0, 12.0, 20.0, 22.0, 1.0],
        }
    )
    assert accuracy_per_second.seconds_to(results, 92.0, "defaults") == 11.0
    assert accuracy_per_second.seconds_to(results, 92.5, "defaults") == 21.0
    assert accuracy_per_second.seconds_to(results, 95.0, "defaults") is None


def test__accuracy_per_second__table_and_curve(options, tmp_path):
    results = cli.main(accuracy_per_second.TABLE, [*options, "--methods", "FineZero", "FineLast"])
    assert (results["status"] == "ok").all()
    assert "until the probe passes 91.31 %" in shown(tmp_path, "accuracy_per_second")
    assert (tmp_path / "accuracy_per_second_HAR.png").exists()


def test__pictures__four_for_each_preset(options, tmp_path):
    cli.main(pictures.TABLE, [*options, "--datasets", "Ragged"])
    assert len(list(tmp_path.glob("pictures_Ragged_*.png"))) == 8
    assert "## Ragged, paper" in shown(tmp_path, "pictures")


def test__goals__nothing_stored__all_not_run(options, tmp_path):
    cli.main(goals.TABLE, [*options, "--report-only"])
    text = shown(tmp_path, "goals")
    assert "| HAR, linear probe, 1% of labels, % | ≥ 92.5 | not run |  |" in text
    assert not (tmp_path / "cells.jsonl").exists()


def test__goals__read_from_the_cells_of_the_tables(options, tmp_path):
    ran = cli.main(few_labels.TABLE, [*options, "--datasets", "HAR", "--methods", "FineLast"])
    cli.main(goals.TABLE, [*options, "--report-only"])
    accuracy = ran.loc[ran["label"] == "1%", "accuracy"].item()
    verdict = "yes" if accuracy >= 92.5 else "no"
    text = shown(tmp_path, "goals")
    assert f"1% of labels, % | ≥ 92.5 | {accuracy:.2f} | {verdict} |" in text
    rows = pd.read_csv(tmp_path / "goals.csv").set_index("goal")
    assert rows.loc["HAR, linear probe, 1% of labels, %", "measured"] == f"{accuracy:.2f}"


def test__ragged__verdict__is_of_the_seeds_of_both():
    runs = pd.DataFrame(
        [("p", 0, "native", 90.0), ("p", 1, "native", 80.0), ("p", 0, "resample", 89.0)],
        columns=["panel", "seed", "handling", "accuracy"],
    )
    verdict = ragged.against_best_fix(runs).loc["p"]
    assert (verdict["native"], verdict["fixed"], verdict["gains"]) == (90.0, 89.0, [1.0])


def test__goals__row__bars_in_both_directions():
    assert goals._row("g", 3.0, 2.0)[1:4] == ("≥ 2", "3.00", "yes")
    assert goals._row("g", 3.0, 2.0, above=False)[1:4] == ("≤ 2", "3.00", "no")
    assert goals._row("g", -1e-4 / 3, 0.0)[1:4] == ("≥ 0", "0.00", "yes")  # a tie
    assert goals._row("g", -0.001, 0.0)[3] == "no"
    assert goals._row("g", None, 2.0)[2] == NOT_RUN


def test__quick__covers_every_table():
    names = {module.TABLE.name for module in quick.MODULES}
    modules = {p.stem for p in cli.RESULTS.parent.glob("*.py")}
    assert names <= modules
    tables = {name for name in modules if (cli.RESULTS.parent / f"{name}.py").read_text()
              .find("\nTABLE = ") >= 0}  # fmt: skip
    assert names == tables - {"goals"}


def test__goals__tables_that_are_cut__are_read_cut_unless_told_otherwise():
    for argv, expected in (
        ([], {1500, 3000, None}),
        (["--cut", "2000"], {1500, 2000}),
        (["--cut", "10"], {10}),
    ):
        options = cli.parse(goals.TABLE, argv)
        cuts = {
            cell.settings.get("cut") for cell in goals.cells(options) if "repair" in cell.settings
        }
        assert cuts == expected
        read = cli.stored(ragged.TABLE, options)["settings"]
        assert {settings.get("cut") for settings in read} == cuts


def test__goals__cells__are_those_that_the_rows_are_read_from():
    options = cli.parse(goals.TABLE, ["--seeds", "0"])
    trained = [cell for cell in goals.cells(options) if cell.method == "FineLast"]
    counted = {cell.label: cell for cell in trained}
    assert counted["1500 series, 10% missing, random"].settings["transformer"] == {}  # by default
    read = [cli.stored(table, options) for table in (ragged.TABLE, speed.TABLE)]
    keys = {protocols.key(cell) for cell in goals.cells(options)}
    assert keys >= {key for results in read for key in results["key"]}


def test__epochs_and_cut__reach_the_cells():
    table = main_table.TABLE
    options = cli.parse(table, ["--epochs", "3", "--cut", "10", "--part", "validation"])
    assert options.results == cli.RESULTS / "validation"
    for cell in cli.cells_of(table, options):
        assert cell.settings["cut"] == 10 and cell.settings["part"] == "validation"
        if cell.method not in protocols.PEERS:
            assert cell.settings["transformer"]["max_epochs"] == 3


def test__epochs__encoders_that_are_not_trained__stay_so():
    options = cli.parse(archive.TABLE, ["--epochs", "3", "--datasets", "ECG200"])
    epochs = {
        cell.label: cell.settings["transformer"]["max_epochs"]
        for cell in cli.cells_of(archive.TABLE, options)
        if cell.label
    }
    assert epochs["FineLast, no slopes, start alone"] == 0
    assert epochs["FineLast, no slopes"] == 3


def test__full_budget__is_not_shortened():
    options = cli.parse(main_table.TABLE, [])
    assert (options.seeds, options.results) == ([0, 1, 2], cli.RESULTS)
    for cell in cli.cells_of(main_table.TABLE, options):
        assert "cut" not in cell.settings
        assert "max_epochs" not in cell.settings.get("transformer", {}) or cell.label == "paper"


# ------------------------------------------------------------------ statistics


def test__critical_difference__demsar_2006():
    # table 5 of the paper: q = 2.569 for 4 methods, 14 data sets
    assert archive.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    # 2.728 for 5 methods, 30 data sets
    assert archive.critical_difference(5, 30) == pytest.approx(2.728 * (30 / 180) ** 0.5, abs=1e-3)


def test__mean_ranks__ties_share_their_rank():
    accuracy = pd.DataFrame({"a": [90, 80, 70], "b": [80, 80, 60], "c": [70, 60, 80]})
    assert archive.mean_ranks(accuracy).to_dict() == {
        "a": pytest.approx(4.5 / 3), "b": pytest.approx(6.5 / 3), "c": pytest.approx(7 / 3),
    }  # fmt: skip


def test__against__wins_ties_losses():
    accuracy = pd.DataFrame(
        {"a": [90, 80, 70, 50.0], "b": [80, 80, 73, np.nan]}, index=["w", "x", "y", "z"]
    )
    duel = archive.against(accuracy, "a", "b")
    assert (duel["sets"], duel["wins"], duel["ties"], duel["losses"]) == (3, 1, 1, 1)
    assert duel["largest loss"] == "3.00 (y)"
    assert duel["more than 2 points below"] == 1
    assert duel["mean gain"] == "+2.33"


def test__against__equal_hits_over_seeds__tie_though_cells_are_rounded():
    # 9, 10 and 10 of 3498 series against 29 on one seed and none on the others
    seeds = [[9, 10, 10], [29, 0, 0]]
    of_each = [np.mean([round(100 * hits / 3498, 4) for hits in method]) for method in seeds]
    assert of_each[0] != of_each[1]
    accuracy = pd.DataFrame([of_each], columns=["a", "b"], index=["PenDigits"])
    assert archive.against(accuracy, "a", "b")["ties"] == 1
    assert archive.mean_ranks(accuracy).tolist() == [1.5, 1.5]
    one_more = accuracy.assign(a=accuracy["b"] + 100 / (3 * 3498))
    assert archive.against(one_more, "a", "b")["wins"] == 1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], NOT_RUN),
        ([np.nan], NOT_RUN),
        ([90.0], "90.00 (1)"),
        ([90.0, 92.0], "91.00 ± 1.41 (2)"),
        ([90.0, 92.0, 94.0], "92.00 ± 2.00"),
        ([0.1, -0.1, -1e-4], "0.00 ± 0.10"),
    ],
)
def test__spread__mean_deviation_and_count(values, text):
    assert reports.spread(values) == text


def test__summary__in_the_order_of_the_cells_with_gaps_named():
    cells = pd.DataFrame(
        {
            "method": ["z", "z", "a", "a"],
            "dataset": ["q", "p", "q", "p"],
            "accuracy": [1.0, np.nan, np.nan, np.nan],
            "status": ["ok", NOT_RUN, "failed", "skipped"],
        }
    )
    table = reports.summary(cells, ["method"], "dataset")
    assert table.to_dict("index") == {
        "z": {"q": "1.00 (1)", "p": NOT_RUN},
        "a": {"q": "failed", "p": "skipped"},
    }
    assert reports.markdown(table).splitlines()[0] == "| method | q | p |"
    # z ran on q, but has no such figure; what a cell of a column lacks is no gap
    pretraining = reports.summary(cells, ["method"], "dataset", "pretrain_cpu_seconds")
    assert pretraining.to_dict("index")["z"] == {"q": "", "p": NOT_RUN}


def test__command__leaves_out_this_machine():
    argv = ["--data-dir", "/somewhere/data", "--seeds", "0", "1", "--results", "/tmp/x", "--retry"]
    joined = ["--data-dir=/somewhere/data", "--seeds", "0", "1", "--results=/tmp/x"]
    for words in (argv, joined):
        text = cli.command(main_table.TABLE, words)
        assert text == "python -m benchmarks.main_table --data-dir DATA --seeds 0 1"


def test__linear_probe__is_the_library_s_on_standardised_embeddings():
    X, y = np.random.default_rng(0).standard_normal((24, 20)) * 5 + 3, np.arange(24) % 3
    found = protocols.linear_probe().fit(X, y).predict_proba(X)
    standard = StandardScaler().fit_transform(X)
    np.testing.assert_array_equal(
        found, probe.LinearProbe().fit(standard, y).predict_proba(standard)
    )


def test__fine_last_plain__is_the_pipeline_as_users_write_it(options):
    small = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1, "max_epochs": 1}
    cell = Cell("HAR", "FineLast, LogisticRegression()", 0, protocols.settings(**small))
    found = protocols.measure(cell)["accuracy"]
    dataset = protocols.dataset_of(cell)
    steps = [("mae", TimeMAETransformer(**small, random_state=0)), ("lr", LogisticRegression())]
    pipeline = Pipeline(steps).fit(dataset.X_train, dataset.y_train)
    assert found == pytest.approx(100 * pipeline.score(dataset.X_test, dataset.y_test), abs=1e-4)
    assert protocols.key(cell) != protocols.key(cell._replace(method="FineLast"))


def test__self_trained__is_the_pipeline_with_marked_series(options):
    small = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1, "max_epochs": 1}
    wanted = {**protocols.settings(**small), "labels": 0.5}
    cell = Cell("HAR", "FineLast, self-training", 0, wanted)
    found = protocols.measure(cell)
    dataset = protocols.dataset_of(cell)
    rows = protocols.labelled(cell, dataset)
    classes, targets = np.unique(dataset.y_train, return_inverse=True)
    marks = np.full(len(targets), -1)
    marks[rows] = targets[rows]
    assert (marks == -1).any()
    classifier = SelfTrainingClassifier(LogisticRegression())
    pipeline = Pipeline([("mae", TimeMAETransformer(**small, random_state=0)), ("st", classifier)])
    predicted = classes[pipeline.fit(dataset.X_train, marks).predict(dataset.X_test)]
    accuracy = 100 * np.mean(predicted == dataset.y_test)
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-4)
    assert found["n_labelled"] == len(rows)
    untrained = cell._replace(method="FineZero, self-training")
    longer = untrained.with_settings(transformer={**small, "max_epochs": 9})
    assert protocols.key(untrained) == protocols.key(longer) != protocols.key(cell)


def test__mini_rocket_self_trained__sees_series_without_labels(options, monkeypatch):
    seen = []

    class Marks(SelfTrainingClassifier):
        def fit(self, X, y):
            seen.append((np.linalg.norm(X, axis=1), y))
            return super().fit(X, y)

    monkeypatch.setattr(protocols, "SelfTrainingClassifier", Marks)
    cell = Cell("HAR", "MiniRocket, self-training", 0, {"labels": 0.5})
    result = protocols.measure(cell)
    lengths, marks = seen[-1]
    assert len(marks) == result["n_train"] and (marks == -1).sum() > 0
    assert (marks >= 0).sum() == result["n_labelled"]
    assert np.mean(lengths**2) == pytest.approx(100, rel=0.15)


@pytest.mark.parametrize(("method", "epochs"), [("FineZero", 0), ("FineLast", 1)])
def test__with_mini_rocket__is_a_union_of_features(options, monkeypatch, method, epochs):
    seen = []

    class Ridge(RidgeClassifierCV):
        def fit(self, X, y):
            seen.append(X)
            return super().fit(X, y)

    monkeypatch.setattr(protocols, "_ridge", Ridge)
    small = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1, "max_epochs": 1}
    cell = Cell(
        "HAR", f"{method}, with MiniRocket", 0, {**protocols.settings(**small), "labels": 0.5}
    )
    found = protocols.measure(cell)
    dataset = protocols.dataset_of(cell)
    rows = protocols.labelled(cell, dataset)
    mae = TimeMAETransformer(**{**small, "max_epochs": epochs}, random_state=0)
    rocket = MiniRocketMultivariate(random_state=0).fit(dataset.X_train[rows])
    union = FeatureUnion([("mae", mae.fit(dataset.X_train)), ("rocket", rocket)])
    np.testing.assert_allclose(
        seen[0], union.transform(dataset.X_train[rows]), rtol=1e-4, atol=1e-4
    )
    classifier = RidgeClassifierCV().fit(seen[0], dataset.y_train[rows])
    accuracy = 100 * classifier.score(union.transform(dataset.X_test), dataset.y_test)
    assert found["accuracy"] == pytest.approx(accuracy, abs=1e-4)
    assert found["n_labelled"] == len(rows) < found["n_train"]


def test__inception_time__learns_and_is_skipped_where_slow(options, monkeypatch):
    cell = Cell("HAR", "InceptionTime", 0, {"epochs": 20})
    result = protocols.measure(cell)
    assert result["accuracy"] > 100 / result["n_classes"]
    assert protocols.key(cell) != protocols.key(cell.with_settings(epochs=2))
    wanted = archive.cells(cli.parse(archive.TABLE, options))
    quick = [cli.adapted(c, cli.parse(archive.TABLE, options)) for c in wanted]
    assert {c.settings.get("epochs") for c in quick} == {None, 2}
    monkeypatch.setattr(protocols, "_INCEPTION_VALUES", 10)
    with pytest.raises(Skipped, match="series times points, more than 10"):
        protocols.measure(cell)


def test__archive__variants__starts_of_univariate_sets_and_beside_the_methods(tmp_path):
    options = cli.parse(
        archive.TABLE, ["--datasets", "ECG200", "Libras", "--results", str(tmp_path)]
    )
    wanted = archive.cells(options)
    found = {(c.dataset, c.method, c.label) for c in wanted if c.label}
    expected = {
        ("ECG200", "FineLast", "FineLast, no slopes, random start"),
        ("ECG200", "FineLast", "FineLast, no slopes, start alone"),
    }
    for dataset in ("ECG200", "Libras"):
        expected |= {(dataset, m, f"{m}, no slopes") for m in ("FineZero", "FineLast")}
    assert found == expected
    assert all(c.settings["transformer"]["pooling_slopes"] == [] for c in wanted if c.label)
    figures = {"FineZero": 80.0, "FineLast": 90.0, "FineZero, no slopes": 75.0}
    figures["FineLast, no slopes, random start"] = 85.0
    results = pd.DataFrame(c._asdict() for c in wanted)
    names = results["label"].where(results["label"] != "", results["method"])
    results = results.assign(accuracy=names.map(figures), status="ok")
    text = archive.report(results, options)
    gains = {
        "FineLast | FineZero": 10,
        "FineZero | FineZero, no slopes": 5,
        "FineLast, no slopes, random start | FineZero, no slopes": 10,
    }
    for duel, gain in gains.items():
        assert f"| UCR | {duel} | 1 | 1 | 0 | 0 | 0 | none | +{gain}.00 |" in text


def test__few_labels__self_training__not_from_all_labels(options):
    wanted = few_labels.cells(cli.parse(few_labels.TABLE, options))
    shares = {(c.method in few_labels.SELF_TRAINED, c.settings["labels"]) for c in wanted}
    assert (True, 0.5) in shares and (True, 1.0) not in shares and (False, 1.0) in shares


def test__few_labels__peer_of_unequal_lengths__where_lengths_differ():
    argv = ["--datasets", "HAR", "SpokenArabicDigits", "--seeds", "0"]
    wanted = few_labels.cells(cli.parse(few_labels.TABLE, argv))
    peer = [cell for cell in wanted if cell.method == "MiniRocket, unequal lengths"]
    assert {cell.dataset for cell in peer} == {"SpokenArabicDigits"}
    assert [cell.settings["labels"] for cell in peer] == list(few_labels.FRACTIONS)
    of_all = protocols.key(peer[-1])
    argv = ["--datasets", "SpokenArabicDigits", "--seeds", "0"]
    assert of_all in {protocols.key(c) for c in ragged.cells(cli.parse(ragged.TABLE, argv))}


def test__dataset_of__validation_part__never_sees_the_test_part(data_dir, monkeypatch):
    monkeypatch.setenv("TSMAE_DATA", str(data_dir))
    cell = Cell("HAR", "FineLast", 0, {"part": "validation"})
    dataset = protocols.dataset_of(cell)
    assert len(dataset.X_train) + len(dataset.X_test) == 18


def test__namespace__of_other_tables__is_left_as_it_was(options):
    parsed = cli.parse(few_labels.TABLE, options)
    before = argparse.Namespace(**vars(parsed))
    cli.stored(main_table.TABLE, parsed)
    assert parsed == before


def test__dataset_of__damage__other_points_of_each_part_and_seed(options):
    def holes(seed):
        cell = Cell("HAR", "FineLast", seed, {"damage": "random", "missing": 0.3})
        dataset = protocols.dataset_of(cell)
        return [np.isnan(X[:, 0]).tolist() for X in (dataset.X_train, dataset.X_test)]

    (train, test), other = holes(0), holes(1)
    assert train != test and other[0] != train and other[1] != test
    assert holes(0) == [train, test]


def test__dataset_of__truncated__to_the_shortest_training_series(monkeypatch):
    def series(shortest):
        X = np.ones((3, 1, 20), np.float32)
        X[0, :, shortest:] = np.nan
        return X

    made_up = data.Dataset(series(9), np.arange(3), series(5), np.arange(3))
    monkeypatch.setattr(data, "load", lambda name: made_up)
    dataset = protocols.dataset_of(Cell("made up", "FineLast", 0, {"repair": "truncate"}))
    assert dataset.X_train.shape == dataset.X_test.shape == (3, 1, 9)


def test__result__accuracy_and_f1_as_a_mean_of_classes():
    X, y = np.zeros((4, 1, 8)), np.array([0, 0, 0, 1])
    with protocols.Clock() as clock:
        pass
    dataset = data.Dataset(X, y, X, y)
    found = protocols._result(dataset, np.arange(4), np.zeros(4, int), {}, clock, clock)
    assert (found["accuracy"], found["macro_f1"]) == (75, pytest.approx(100 * 6 / 7 / 2, abs=1e-3))


def test__transfer__pretrains_on_the_source(options, monkeypatch):
    given, pretrained = [], protocols.pretrained
    monkeypatch.setattr(protocols, "pretrained", lambda *a: given.append(a[1]) or pretrained(*a))
    small = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1, "max_epochs": 1}
    wanted = {**protocols.settings(**small), "classifier": {"max_epochs": 1}, "source": "HAR"}
    protocols.measure(Cell("Flat", "Transfer", 0, wanted))
    (X,) = given
    np.testing.assert_array_equal(X, data.load("HAR").X_train)


def test__summary__some_seeds_failed__those_that_ran_are_shown():
    cells = pd.DataFrame(
        {"method": "a", "dataset": "q", "accuracy": [np.nan, 1.0], "status": ["failed", "ok"]}
    )
    assert reports.summary(cells, ["method"], "dataset").loc["a", "q"] == "1.00 (1)"


def test__provenance__a_cell_in_two_rows__counts_once():
    made = {"dataset": "q", "method": "a", "status": "ok", "seed": 0, "cpu": "one", "threads": 1}
    made |= {"versions": "v", "commit": "c", "date": "2026-01-01", "cell_cpu_seconds": 5.0}
    cells = pd.DataFrame([{**made, "key": key, "peak_memory_mb": 7.0} for key in "aab"])
    text = reports.provenance(cells, "command")
    assert "- 2 cells, 10 CPU seconds, peak memory 7 MB." in text
    assert "do not compare" not in text
    two = cells.assign(cpu=["one", "one", "two"])
    assert "CPU seconds of one do not compare with another's." in reports.provenance(two, "command")


def test__tune_epochs__reach_what_is_fine_tuned():
    options = cli.parse(main_table.TABLE, ["--tune-epochs", "3", "--seeds", "0"])
    for cell in cli.cells_of(main_table.TABLE, options):
        tuned = cell.settings.get("classifier", {}).get("max_epochs") == 3
        assert tuned == (cell.method in protocols.FINE_TUNED), cell


def test__goals__some_methods_asked_for__read_from_all():
    keys = [
        {protocols.key(cell) for cell in goals.cells(cli.parse(goals.TABLE, argv))}
        for argv in (["--seeds", "0"], ["--seeds", "0", "--methods", "FineZero", "--only", "x"])
    ]
    assert keys[0] == keys[1]


def test__goals__of_two_bars__the_lower_one():
    def row(paper):
        cells = [("FineLast", "defaults", 97.0), ("FineLast", "paper", paper)]
        results = pd.DataFrame(cells, columns=["method", "label", "accuracy"])
        rows = goals._main(results.assign(dataset="Epilepsy"))
        return next(r[1:4] for r in rows if r[0] == "Epilepsy, linear probe, %")

    assert row(95.0) == ("≥ 96", "97.00", "yes")
    assert row(99.0) == ("≥ 97.5", "97.00", "no")


def test__goals__archive__wins_and_the_largest_loss():
    accuracy = {"Beef": (80, 70, 90), "Wine": (60, 63, 70), "Coffee": (90, 80, 91)}
    methods = ("FineLast", "FineZero", "MiniRocket + ridge")
    results = pd.DataFrame(
        [
            {"dataset": name, "method": method, "label": "", "accuracy": float(value)}
            for name, values in accuracy.items()
            for method, value in zip(methods, values, strict=True)
        ]
    )
    wins, worst, distance = goals._archive(results)
    assert wins[1:] == ("≥ 22", "2", "no", "of 3 sets")
    assert worst[1:4] == ("≤ 2", "3.00", "no")
    assert distance[2:] == ("7.00", "no", "FineLast 76.67 over 3, MiniRocket + ridge 83.67 over 3")


def test__goals__missing_values__what_they_cost():
    shown = {"nothing missing": 95.0, "30% missing, random": 92.0, "30% missing, blocks": 94.0}
    results = pd.DataFrame(
        [
            {"dataset": "HAR", "label": f"9 series, {label}", "settings": {"repair": "native"},
             "method": "FineLast", "seed": 0, "accuracy": value}
            for label, value in shown.items()
        ]
    )  # fmt: skip
    rows = {row[0]: row[1:4] for row in goals._ragged(results)}
    assert rows["HAR, 9 series, 30% missing, random: loss, points"] == ("≤ 2", "3.00", "no")
    assert rows["HAR, 9 series, 30% missing, blocks: loss, points"] == ("≤ 2", "1.00", "yes")

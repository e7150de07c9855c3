"""Both suites of checks: sktime's whole, scikit-learn's with the reasons for what cannot pass."""

import subprocess
import sys
import warnings

import pytest
from sklearn.utils.estimator_checks import check_estimator as sklearn_check_estimator
from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks

import tsmae
from tsmae import TimeMAEClassifier, TimeMAETransformer


@parametrize_with_checks(
    [TimeMAETransformer, TimeMAEClassifier], obj_varname="estimator", check_varname="check"
)
def test__sktime__all_checks__pass(estimator, check):
    results = check_estimator(estimator, tests_to_run=check, raise_exceptions=True, verbose=False)
    assert set(results.values()) == {"PASSED"}


_TINY = {"window_length": 1, "d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1}
_TINY |= {"max_epochs": 1, "n_codewords": 8, "random_state": 0}

# What scikit-learn asks of tables of features and cannot hold for panels of series.
_OTHER_LENGTHS = "series of another length than in fit are taken, so columns may differ"
_CANNOT = {
    "check_n_features_in_after_fitting": _OTHER_LENGTHS,
    "check_transformer_general": _OTHER_LENGTHS,
    "check_classifiers_train": _OTHER_LENGTHS,
    "check_methods_subset_invariance": "float32 products of another batch size round differently",
    "check_no_attributes_set_in_init": "sktime's BaseClassifier sets classes_ and others in init",
    "check_classifier_data_not_an_array": "a flat DataFrame is a single series in sktime",
}


@pytest.mark.parametrize(("kind", "at_least"), [("transformer", 40), ("classifier", 50)])
def test__sklearn__all_checks_but_the_named__pass(kind, at_least):
    estimator = TimeMAETransformer(**_TINY)
    if kind == "classifier":
        estimator = TimeMAEClassifier(
            estimator, fine_tune="all", max_epochs=20, lr=1e-2, random_state=0
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = sklearn_check_estimator(
            estimator, expected_failed_checks=_CANNOT, on_fail=None, on_skip=None
        )
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed, failed
    assert sum(r["status"] == "passed" for r in results) >= at_least


def test__import__modules_that_the_readme_names__are_there():
    code = "import tsmae; tsmae.probe.LinearProbe, tsmae.plotting.plot_history, tsmae.presets.PAPER"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"plotting", "presets", "probe", "TimeMAETransformer"} <= set(dir(tsmae))


def test__import__something_is_missing_in_a_library__says_what(monkeypatch):
    def broken(name):
        raise AttributeError("module 'torch.nn' has no attribute 'Module'")

    monkeypatch.setattr(tsmae, "import_module", broken)
    message = "TimeMAETransformer cannot be imported .* 'torch.nn' has no"
    with pytest.raises(ImportError, match=message):
        from tsmae import TimeMAETransformer  # noqa: F401
    with pytest.raises(AttributeError, match="'tsmae' has no attribute 'other'"):
        tsmae.other  # noqa: B018

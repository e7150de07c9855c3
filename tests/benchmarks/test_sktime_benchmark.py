"""TimeMAEClassifier in sktime's own benchmark."""

from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold
from sktime.benchmarking.classification import ClassificationBenchmark
from sktime.datasets import load_unit_test

from tsmae import TimeMAEClassifier


def test__classification_benchmark__runs_the_classifier(tmp_path):
    benchmark = ClassificationBenchmark()
    classifier = TimeMAEClassifier.create_test_instance()
    benchmark.add_estimator(classifier, estimator_id="TimeMAE-v1")
    benchmark.add_task(
        load_unit_test,
        KFold(2, shuffle=True, random_state=0),
        [accuracy_score],
        task_id="UnitTest-v1",
    )
    results = benchmark.run(tmp_path / "results.csv")
    assert 0 <= results["accuracy_score_mean"].item() <= 1
    assert results["model_id"].item() == "TimeMAE-v1"

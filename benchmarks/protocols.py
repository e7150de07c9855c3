"""How a number is made: the paper's protocols and the peers, each from a cell.

Nothing here chooses anything on test data: the test part is embedded or predicted once, at
the end. Pre-trained encoders are kept in a folder and shared by all cells that need the same
one; the CPU seconds that a cell reports include the pre-training, wherever it was done.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import pickle
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

import tsmae
from benchmarks import data
from benchmarks.cells import Cell, Skipped, digest, peak_memory_mb
from benchmarks.damage import damage, repair
from benchmarks.encoders import ENCODERS, Transferred
from tsmae import TimeMAEClassifier, TimeMAETransformer, presets, probe

ENCODER_FOLDER = "TSMAE_BENCH_ENCODERS"  # environment variable: where encoders are kept

_RIDGE_ALPHAS = np.logspace(-3, 3, 10)  # as MiniRocket's authors
_DTW_OPERATIONS = 2e10  # where 1-NN DTW is cheap: about 100 CPU seconds
_INCEPTION_VALUES = 40_000  # series times points; 100 epochs of more take over five CPU minutes
_ROCKET_POINTS = 9  # length of a MiniRocket kernel
_IRRELEVANT = {
    "random_state", "verbose", "device", "callbacks", "transformer",
    "self_training",  # without effect where no series is marked as unlabeled
}  # fmt: skip
_EVERYTHING = {"fine_tune": "all"}  # of FineAll and FineZero+, whatever the default
# settings that change nothing: cells with and without them are one
_NEUTRAL = {"labels": 1.0, "repair": "native", "part": "test"}
# what a random encoder and its readout do not depend on
_OF_THE_PRETEXT = {
    "n_decoupled_layers", "decoupled_dropout", "mask_ratio", "mask_per", "decoupled",
    "tokenizer", "n_codebooks", "n_codewords", "temperature", "codeword_gradient",
    "label_smoothing", "mcc_weight", "mrr_weight", "mrr_target", "momentum",
    "reconstruction_weight", "spectral_weight", "contrast_weight", "contrast_temperature",
    "init", "train_stem", "augment", "jitter", "max_epochs", "batch_size", "lr",
    "weight_decay", "lr_schedule", "validation_fraction", "patience", "compile",
}  # fmt: skip


# ------------------------------------------------------------------ cells


def settings(preset: str = "defaults", **transformer) -> dict:
    """Settings of a cell: a preset by name, with some of the transformer's parameters changed.

    Parameters
    ----------
    preset : {"defaults", "paper"}
    **transformer
        JSON values; ``encoder`` is a name in :data:`benchmarks.encoders.ENCODERS`.
    """
    if preset == "paper":
        return {
            "transformer": {**presets.PAPER, **transformer},
            "classifier": dict(presets.PAPER_FINE_TUNING),
        }
    return {"transformer": transformer, "classifier": {}}


# random weights to start from, also for univariate panels, as in the paper
RANDOM_START = {"init": "random"}
_RANDOM = {**RANDOM_START, "max_epochs": 0}  # the untrained encoder
# without slopes, for tables in which rows compare with each other alone
NO_SLOPES: dict = {"pooling_slopes": []}
FLAT = {**RANDOM_START, **NO_SLOPES}


def key(cell: Cell) -> str:
    """Identity of a cell: data set, method, seed and all settings that the method reads.

    Parameters left at their default count with that default, so that a changed default runs
    the cell anew. What "auto" stands for does not.
    """
    resolved = {
        name: value
        for name, value in cell.settings.items()
        if name not in ("transformer", "classifier") and value != _NEUTRAL.get(name)
    }
    if cell.method not in PEERS:
        parameters = _defaults(TimeMAETransformer) | _transformer(cell)
        if parameters["init"] == "random" or cell.dataset not in data.UNIVARIATE:
            del parameters["init"]  # without it, weights are random
        resolved["transformer"] = _without_empty_slopes(parameters)
    if cell.method in FINE_TUNED:
        parameters = _defaults(TimeMAEClassifier) | _classifier(cell)
        if not parameters["augment"]:
            del parameters["augment"]  # without it, series are not cropped
        resolved["classifier"] = _without_empty_slopes(parameters)
    return digest([cell.dataset, cell.method, cell.seed, resolved])


def _without_empty_slopes(parameters: dict) -> dict:
    """The identity of a readout without slopes does not name them."""
    return {k: v for k, v in parameters.items() if k != "pooling_slopes" or v}


def measure(cell: Cell) -> dict:
    """Run a cell: see :data:`METHODS`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "y contains no unlabeled samples")  # of warming up
        return METHODS[cell.method](cell)


def dataset_of(cell: Cell) -> data.Dataset:
    """The data of a cell: loaded, cut, damaged and repaired as its settings say."""
    wanted = cell.settings
    dataset = data.load(cell.dataset)
    if wanted.get("part") == "validation":
        dataset = dataset.validation(cell.seed)
    if "cut" in wanted:
        dataset = dataset.cut(wanted["cut"])
    if wanted.get("missing"):
        kind, share = wanted["damage"], wanted["missing"]
        dataset = dataset._replace(
            X_train=damage(dataset.X_train, kind, share, 2 * cell.seed),
            X_test=damage(dataset.X_test, kind, share, 2 * cell.seed + 1),
        )
    if "repair" in wanted:
        shortest = int(data.lengths(dataset.X_train).min())
        dataset = dataset._replace(
            X_train=repair(dataset.X_train, wanted["repair"], shortest),
            X_test=repair(dataset.X_test, wanted["repair"], shortest),
        )
    return dataset


def labelled(cell: Cell, dataset: data.Dataset) -> np.ndarray:
    """Indices of the training series whose labels the cell may use."""
    fraction = cell.settings.get("labels", 1.0)
    if fraction == 1.0:
        return np.arange(len(dataset.y_train))
    return data.draw_labels(dataset.y_train, fraction, cell.seed)


def _transformer(cell: Cell) -> dict:
    """The transformer's parameters that count for the cell's method."""
    parameters = cell.settings.get("transformer", {})
    if cell.method in UNTRAINED:
        of_the_encoder = {k: v for k, v in parameters.items() if k not in _OF_THE_PRETEXT}
        return of_the_encoder | _RANDOM
    return dict(parameters)


def _classifier(cell: Cell) -> dict:
    """The classifier's parameters that count for the cell's method."""
    forced = {} if cell.method == "TimeMAEClassifier" else _EVERYTHING
    return forced | cell.settings.get("classifier", {})


def _defaults(estimator: type) -> dict:
    parameters = estimator().get_params(deep=False)
    return {k: v for k, v in parameters.items() if k not in _IRRELEVANT}


# ------------------------------------------------------------------ pre-training


class Clock:
    """CPU and wall seconds of a ``with`` block; of all its threads, not of child processes."""

    def __enter__(self) -> Clock:
        self.wall, self.cpu = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *error) -> None:
        self.wall += time.perf_counter()
        self.cpu += time.process_time()


def build(parameters: dict, seed: int, encoder: Callable | None = None) -> TimeMAETransformer:
    """A transformer from JSON parameters."""
    parameters = _with_tuples(parameters)
    name = parameters.pop("encoder", None)
    return TimeMAETransformer(
        **parameters, encoder=encoder or ENCODERS.get(name), random_state=seed
    )


def _with_tuples(parameters: dict) -> dict:
    """JSON has lists for them."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()}


def pretrained(parameters: dict, X: np.ndarray, seed: int) -> tuple[TimeMAETransformer, dict]:
    """A transformer fitted to X, from the folder of encoders if it is there already.

    Returns
    -------
    transformer : TimeMAETransformer
    cost : dict
        ``pretrain_cpu_seconds``, ``pretrain_wall_seconds`` and ``peak_memory_mb`` of the fit.
    """
    folder = Path(os.environ.get(ENCODER_FOLDER, "out/encoders"))
    folder.mkdir(parents=True, exist_ok=True)
    resolved = _defaults(TimeMAETransformer) | parameters
    panel = hashlib.sha256(np.ascontiguousarray(X)).hexdigest()
    path = folder / f"{digest([resolved, panel, seed, _code()])}.pickle"
    with FileLock(f"{path}.lock"):  # two cells that need one encoder train it once
        if path.exists():
            with open(path, "rb") as file:
                return pickle.load(file)
        transformer = build(parameters, seed)
        with Clock() as clock:
            transformer.fit(X)
        cost = {
            "pretrain_cpu_seconds": round(clock.cpu, 3),
            "pretrain_wall_seconds": round(clock.wall, 3),
            "peak_memory_mb": round(peak_memory_mb()),
        }
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            pickle.dump((transformer, cost), file)
        partial.replace(path)
    return transformer, cost


@functools.cache
def _code() -> str:
    """Digest of tsmae's code without comments and layout, and of the weights it comes with.

    An encoder of others is stale.
    """
    root = Path(tsmae.__file__).parent
    trees = [ast.dump(ast.parse(path.read_text())) for path in sorted(root.rglob("*.py"))]
    weights = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.safetensors"))
    ]
    return digest([trees, weights])


def _random(parameters: dict, X: np.ndarray, seed: int) -> tuple[TimeMAETransformer, dict]:
    transformer = build(parameters | _RANDOM, seed)
    with Clock() as clock:
        transformer.fit(X)
    return transformer, {"pretrain_cpu_seconds": round(clock.cpu, 3)}


def encoder(cell: Cell, X: np.ndarray) -> tuple[TimeMAETransformer, dict]:
    """The transformer of a cell, fitted to X: pre-trained, or untrained if its method says so.

    Returns
    -------
    transformer, cost
        As :func:`pretrained`; of an untrained one ``pretrain_cpu_seconds`` alone.
    """
    fit = _random if cell.method in UNTRAINED else pretrained
    return fit(_transformer(cell), X, cell.seed)


# ------------------------------------------------------------------ protocols


def probed(cell: Cell) -> dict:
    """FineZero and FineLast: a linear probe on the untrained and on the pre-trained encoder."""
    return _probe(cell, linear_probe())


def plainly_probed(cell: Cell) -> dict:
    """FineLast as in a pipeline: `LogisticRegression()` on what `transform` gives."""
    return _probe(cell, LogisticRegression())


def self_trained(cell: Cell) -> dict:
    """FineZero and FineLast with scikit-learn's self-training, as in a pipeline.

    What the classifier is sure of among the series without a label becomes one, in rounds.
    """
    dataset = dataset_of(cell)
    transformer, cost = encoder(cell, dataset.X_train)
    rows = labelled(cell, dataset)
    classes, marks = _marked(dataset, rows)
    with Clock() as fitting:
        classifier = SelfTrainingClassifier(LogisticRegression())
        classifier.fit(transformer.transform(dataset.X_train), marks)
    with Clock() as predicting:
        predicted = classes[classifier.predict(transformer.transform(dataset.X_test))]
    return _result(dataset, rows, predicted, cost, fitting, predicting)


def with_mini_rocket(cell: Cell) -> dict:
    """FineZero and FineLast beside MiniRocket's features, all standardised, and its ridge.

    MiniRocket sees the labelled series alone, as it does by itself.
    """
    dataset = dataset_of(cell)
    transformer, cost = encoder(cell, dataset.X_train)
    rows = labelled(cell, dataset)
    n_points = max(dataset.X_train.shape[2], _ROCKET_POINTS)
    rocket, classifier = _mini_rocket(cell.seed), _ridge()
    X = dataset.X_train[rows]
    X_rocket, rocket_input = _rectangular(X, n_points)
    rocket.fit(X_rocket).transform(X_rocket)  # to compile it is not the method's cost

    def features(X: np.ndarray) -> np.ndarray:
        return np.hstack([transformer.transform(X), rocket.transform(_rectangular(X, n_points)[0])])

    with Clock() as fitting:
        rocket.fit(X_rocket)
        classifier.fit(features(X), dataset.y_train[rows])
    with Clock() as predicting:
        predicted = classifier.predict(features(dataset.X_test))
    return {
        **_result(dataset, rows, predicted, cost, fitting, predicting),
        "peer_input": rocket_input,
    }


def _marked(dataset: data.Dataset, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes, and for each training series its index among them, -1 but for `rows`."""
    classes, targets = np.unique(dataset.y_train, return_inverse=True)
    marks = np.full(len(targets), -1)
    marks[rows] = targets[rows]
    return classes, marks


def fine_tuned(cell: Cell) -> dict:
    """FineZero+ and FineAll: all of the untrained or pre-trained encoder, trained on labels.

    And TimeMAEClassifier as it is: below 400 labels it trains the head alone.
    """
    dataset = dataset_of(cell)
    return _fine_tune(cell, dataset, *encoder(cell, dataset.X_train))


def transfer(cell: Cell) -> dict:
    """The visible encoder pre-trained on another set, all of it trained on labels.

    Windows, their embedding and the positions are new, for channels and length differ;
    ``settings["source"]`` is the other set, or None for an encoder of random weights that is
    treated alike.
    """
    dataset, parameters = dataset_of(cell), _transformer(cell)
    if cell.settings["source"] is None:
        source, cost = _random(parameters, dataset.X_train, cell.seed)
    else:
        source_cell = cell._replace(dataset=cell.settings["source"])
        source, cost = pretrained(parameters, dataset_of(source_cell).X_train, cell.seed)
    transformer = build(parameters | _RANDOM, cell.seed, encoder=Transferred(source))
    transformer.fit(dataset.X_train)
    return _fine_tune(cell, dataset, transformer, cost)


def linear_probe() -> Pipeline:
    """Standardise, then the linear probe."""
    return make_pipeline(StandardScaler(), probe.LinearProbe())


def _probe(cell: Cell, classifier) -> dict:
    dataset = dataset_of(cell)
    transformer, cost = encoder(cell, dataset.X_train)
    rows = labelled(cell, dataset)
    with Clock() as fitting:
        classifier.fit(transformer.transform(dataset.X_train[rows]), dataset.y_train[rows])
    with Clock() as predicting:
        predicted = classifier.predict(transformer.transform(dataset.X_test))
    return {
        **_result(dataset, rows, predicted, cost, fitting, predicting),
        "n_epochs": transformer.n_epochs_,
        "embedding_dim": transformer.embedding_dim_,
    }


def _fine_tune(
    cell: Cell, dataset: data.Dataset, transformer: TimeMAETransformer, cost: dict
) -> dict:
    rows = labelled(cell, dataset)
    classifier = TimeMAEClassifier(
        FrozenEstimator(transformer),
        **_with_tuples(_classifier(cell)),
        random_state=cell.seed,
    )
    with Clock() as fitting:
        classifier.fit(dataset.X_train[rows], dataset.y_train[rows])
    with Clock() as predicting:
        predicted = classifier.predict(dataset.X_test)
    return {
        **_result(dataset, rows, predicted, cost, fitting, predicting),
        "n_epochs": transformer.n_epochs_,
    }


def _result(
    dataset: data.Dataset,
    rows: np.ndarray,
    predicted: np.ndarray,
    cost: dict,
    fitting: Clock,
    predicting: Clock,
) -> dict:
    """What every method reports; `cpu_seconds` is the whole, pre-training included."""
    return {
        "accuracy": round(100 * accuracy_score(dataset.y_test, predicted), 4),
        "macro_f1": round(100 * f1_score(dataset.y_test, predicted, average="macro"), 4),
        "cpu_seconds": round(
            cost.get("pretrain_cpu_seconds", 0.0) + fitting.cpu + predicting.cpu, 3
        ),
        **cost,
        "fit_cpu_seconds": round(fitting.cpu, 3),
        "predict_cpu_seconds": round(predicting.cpu, 3),
        "n_labelled": len(rows),
        "n_train": len(dataset.X_train),
        "n_test": len(dataset.X_test),
        "n_channels": dataset.X_train.shape[1],
        "n_points": dataset.X_train.shape[2],
        "n_classes": len(np.unique(dataset.y_train)),
    }


# ------------------------------------------------------------------ peers


def _rectangular(X: np.ndarray, n_points: int) -> tuple[np.ndarray, str]:
    """Input for a peer that takes neither gaps nor unequal lengths, and what was done."""
    if n_points == X.shape[2] and not np.isnan(X).any():
        return X, "as it is"
    return data.resample(X, n_points), f"interpolated linearly to {n_points} points"


def _peer(
    cell: Cell,
    classifier,
    *,
    sees_unlabelled: bool = False,
    compiles: bool = True,
    takes_unequal: bool = False,
) -> dict:
    dataset = dataset_of(cell)
    n_points = max(dataset.X_train.shape[2], _ROCKET_POINTS)
    if cell.method in _SLOW:
        _SLOW[cell.method](dataset)
    rows = labelled(cell, dataset)
    if sees_unlabelled:
        given = slice(None)
        classes, y = _marked(dataset, rows)
    else:
        given = rows
        classes, y = np.unique(dataset.y_train[rows], return_inverse=True)
    X, X_test, peer_input = dataset.X_train[given], dataset.X_test, "as it is"
    if not takes_unequal:
        X, peer_input = _rectangular(X, n_points)
        X_test = _rectangular(X_test, n_points)[0]
    if compiles:  # which is not the method's cost
        few = X[np.arange(8) % len(X)]
        classifier.fit(few, np.arange(8) % 2)
        classifier.predict(few)
    with Clock() as fitting:
        classifier.fit(X, y)
    with Clock() as predicting:
        predicted = classes[classifier.predict(X_test)]
    return {
        **_result(dataset, rows, predicted, {}, fitting, predicting),
        "peer_input": peer_input,
    }


def _skip_slow_warping(dataset: data.Dataset) -> None:
    n_channels, n_points = dataset.X_train.shape[1:]
    n_operations = len(dataset.X_train) * len(dataset.X_test) * n_channels * n_points**2
    if n_operations > _DTW_OPERATIONS:
        raise Skipped(f"{n_operations:.0e} operations, more than {_DTW_OPERATIONS:.0e}")


def _skip_slow_training(dataset: data.Dataset) -> None:
    n_values = len(dataset.X_train) * dataset.X_train.shape[2]
    if n_values > _INCEPTION_VALUES:
        raise Skipped(f"{n_values} series times points, more than {_INCEPTION_VALUES}")


_SLOW = {"1-NN DTW": _skip_slow_warping, "InceptionTime": _skip_slow_training}


def mini_rocket(cell: Cell) -> dict:
    """MiniRocket (10,000 kernels) and ridge, of sktime and scikit-learn."""
    return _peer(cell, _Rocket(_mini_rocket(cell.seed), _ridge()))


def mini_rocket_unequal(cell: Cell) -> dict:
    """MiniRocket of its authors for unequal lengths, of sktime, and ridge; it takes no gaps.

    Series shorter than 9 points are filled up with zeros.
    """
    from sktime.transformations.rocket import MiniRocketMultivariateVariable

    rocket = MiniRocketMultivariateVariable(pad_value_short_series=0.0, random_state=cell.seed)
    return _peer(cell, _Rocket(rocket, _ridge(), _frames), takes_unequal=True)


def _frames(X: np.ndarray) -> list[pd.DataFrame]:
    """A DataFrame of (T_i, C) for each series of (n, C, T), without its trailing NaN."""
    lengths = data.lengths(X)
    return [pd.DataFrame(x[:, :n].T.astype(float)) for x, n in zip(X, lengths, strict=True)]


def mini_rocket_self_trained(cell: Cell) -> dict:
    """MiniRocket on all series, then the self-training that embeddings get, at their size."""
    classifier = make_pipeline(
        StandardScaler(),
        FunctionTransformer(_resized),
        SelfTrainingClassifier(LogisticRegression()),
    )
    return _peer(cell, _Rocket(_mini_rocket(cell.seed), classifier), sees_unlabelled=True)


def _mini_rocket(seed: int):
    from sktime.transformations.rocket import MiniRocketMultivariate

    return MiniRocketMultivariate(random_state=seed)


def _resized(X: np.ndarray) -> np.ndarray:
    return X * probe.column_deviation(X.shape[1])


def multi_rocket(cell: Cell) -> dict:
    """MultiRocket (50,000 features) and ridge, of sktime and scikit-learn."""
    from sktime.transformations.rocket import MultiRocketMultivariate

    return _peer(cell, _Rocket(MultiRocketMultivariate(random_state=cell.seed), _ridge()))


def _ridge():
    return make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=_RIDGE_ALPHAS))


def nearest_neighbour(cell: Cell) -> dict:
    """The nearest neighbour under dynamic time warping, of sktime."""
    from sktime.classification.distance_based import KNeighborsTimeSeriesClassifier

    return _peer(cell, KNeighborsTimeSeriesClassifier(n_neighbors=1, distance="dtw"))


def inception_time(cell: Cell) -> dict:
    """A single network of InceptionTime, of sktime on torch, after ``settings["epochs"]``."""
    from sktime.classification.deep_learning import InceptionTimeClassifierTorch

    n_epochs = cell.settings["epochs"]
    network = InceptionTimeClassifierTorch(num_epochs=n_epochs, random_state=cell.seed)
    return _peer(cell, network, compiles=False)


class _Rocket:
    """A sktime transformer and a classifier; scikit-learn's pipeline cannot hold the first.

    ``convert`` makes of (n, C, T) what the transformer takes; MultiRocket only float64.
    """

    def __init__(self, transformer, classifier, convert: Callable = np.float64):
        self.transformer = transformer
        self.classifier = classifier
        self.convert = convert

    def fit(self, X, y):
        X = self.convert(X)
        self.classifier.fit(self.transformer.fit(X).transform(X).to_numpy(), y)
        return self

    def predict(self, X):
        return self.classifier.predict(self.transformer.transform(self.convert(X)).to_numpy())


METHODS: dict[str, Callable[[Cell], dict]] = {
    "FineZero": probed,
    "FineZero+": fine_tuned,
    "FineLast": probed,
    "FineLast, LogisticRegression()": plainly_probed,
    "FineAll": fine_tuned,
    "TimeMAEClassifier": fine_tuned,
    "FineZero, self-training": self_trained,
    "FineLast, self-training": self_trained,
    "FineZero, with MiniRocket": with_mini_rocket,
    "FineLast, with MiniRocket": with_mini_rocket,
    "Transfer": transfer,
    "MiniRocket + ridge": mini_rocket,
    "MiniRocket, unequal lengths": mini_rocket_unequal,
    "MiniRocket, self-training": mini_rocket_self_trained,
    "MultiRocket + ridge": multi_rocket,
    "1-NN DTW": nearest_neighbour,
    "InceptionTime": inception_time,
}
UNTRAINED = {"FineZero", "FineZero+", "FineZero, self-training", "FineZero, with MiniRocket"}
FINE_TUNED = {"FineZero+", "FineAll", "TimeMAEClassifier", "Transfer"}
PEERS = {
    "MiniRocket + ridge", "MiniRocket, unequal lengths", "MiniRocket, self-training",
    "MultiRocket + ridge", "1-NN DTW", "InceptionTime",
}  # fmt: skip

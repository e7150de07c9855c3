"""TimeMAEClassifier: a labelled panel in, classes out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold, check_cv, train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sktime.classification.base import BaseClassifier

from tsmae import _auto, presets
from tsmae._interop import Bridge, embedding_frame
from tsmae._parameters import READOUT, TRAINING, readout_of, training_settings
from tsmae._reading import (
    NamedPanel,
    as_pandas,
    check_order,
    label_kind,
    read_labels,
    read_panel,
)
from tsmae.nn import SeriesClassifier, SeriesEncoder
from tsmae.nn.backbone import Backbone
from tsmae.panel import Panel, warn_of_lost_shapes
from tsmae.persistence import SavedAsTensors
from tsmae.probe import MAX_ITERATIONS, LinearProbe, column_deviation
from tsmae.training.device import resolve_device
from tsmae.training.inference import apply, calibrate, embed, standardize
from tsmae.training.loops import fine_tune
from tsmae.training.randomness import draw_seed, new_generator
from tsmae.transformer import TimeMAETransformer

_SMALLEST_TRAINED_SCALE = 0.1  # of the median feature
_SELF_TRAINED_ON = 10_000  # series without a label; embeddings of millions would not fit
_PROBED_ON = 20_000  # labelled series; likewise
_LARGEST_WEIGHT = 1e9  # of a class
_NESTED = "transformer__"
_OF_DEFAULT_TRANSFORMER = ("precision", "compile", "device", "verbose")


class TimeMAEClassifier(
    Bridge, SavedAsTensors, BaseClassifier, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """Classification of time series with a fine-tuned TimeMAE encoder [1]_.

    `fit` pre-trains an encoder on all series it is given (or takes one that is pre-trained),
    puts a linear head on it, and fine-tunes both on the labels, or with few labels the head
    alone. Series without a label take part in pre-training, see `unlabeled`.

    Parameters
    ----------
    transformer : TimeMAETransformer or FrozenEstimator of a fitted one, optional
        Unfitted, it is cloned and pre-trained on X; None takes the default settings. Wrapped in
        :class:`sklearn.frozen.FrozenEstimator` it is used as it is, by every clone and in every
        fold of a grid search, and never modified: fine-tuning works on a copy.
    fine_tune : {"auto", "all", "head", "random"}, default="auto"
        What is trained on labels:

        - "all": encoder and head (FineAll).
        - "head": the head alone (FineLast), a logistic regression on the embeddings of
          `transformer`; of more than 20 000 labelled series, on those of a random 20 000.
        - "random": encoder and head from random weights without pre-training (FineZero+); for a
          frozen `transformer` a copy of its settings with new weights.
        - "auto": "all", and "head" for fewer than 400 labelled series: there it is safer and takes
          less time. Where many series without a label are like those to be predicted, "all" can be
          worth a point or two from some 60 labels on.
    max_epochs : int, default=16
        Epochs of fine-tuning; 8 were about as good, and 4 worse. With "head" this and the other
        settings of training are unused, but for `class_weight` and `self_training`.
    batch_size : int or "auto", default="auto"
        "auto" takes 64, and fewer for less than 1024 labelled series: a sixteenth of them, at
        least 16; and fewer of series of more than 2048 points (1024 of 128 channels, 682 of 256),
        so that they fit in memory.
    lr : float, default=5e-4
        Learning rate of AdamW, with `lr_schedule` its maximum.
    weight_decay : float, default=0.05
        Of AdamW, on all weights: biases and norms too.
    class_weight : dict of label to weight, "balanced" or None, default=None
        Of the loss, each 0 or from 1e-9 to 1e9; "balanced" is inversely proportional to the
        classes' frequencies.
    validation_fraction : float in (0, 1), optional
        Share of the labelled series held out, stratified: fine-tuning stops after `patience`
        epochs without a lower loss on them, and the best epoch's weights are kept.
    unlabeled : label, optional
        Mark in y, say -1, of series without a label: they take part in pre-training, and in
        self-training if asked for; the mark is no class, and `score` leaves them out. No other
        scorer does (those of `scoring`, of sktime's pipelines and `evaluate`), and no estimator
        around this one that takes the classes from y (calibration, ensembles, sktime's pipelines
        and searches): to them the mark is one more class, so hand them labelled series, and a
        frozen transformer that was pre-trained on all. Estimators that encode labels (of voting,
        stacking) change the mark before it comes here.
    self_training : float in (0, 1), optional
        Series without a label that a logistic regression on the embeddings gives a class with
        this probability count as labelled from then on, in up to ten rounds
        (:class:`sklearn.semi_supervised.SelfTrainingClassifier`, whose threshold is 0.75); at most
        10 000 of them, drawn at random, are asked. With thousands of them and five labels a
        class or more it gained, on frozen embeddings, one to two points on one panel, up to one
        on another and nothing on a third; with one label a class it cost tens. Hence the default
        learns from the given labels alone.
    pooling : str or tuple of str, default=("mean", "quarters", "autocorrelation")
        As in :class:`TimeMAETransformer`, of the head on a trained encoder; "head" keeps the
        transformer's. Maxima and deviations make good fixed features, but an encoder that is
        trained through them generalises worse. Autocorrelations gained 1.1 points on average on
        held-out training parts of 21 panels (``benchmarks/results/README.md``); cross-correlations
        and winners beside them were no better.
    pooling_layers : {"last", "all", "ends"}, default="last"
        Likewise.
    pooling_resolutions : tuple of int, default=(1,)
    pooling_slopes : tuple of int, default=()
    pooling_shifts : int, default=1
        Likewise; each resolution, slope and shift is another pass of the encoder in training.
    average_probe : bool, default=True
        Whether logits are the mean of the fine-tuned network's and those of a linear probe, the
        one that "head" would give: the two err differently, and few labels cannot spoil the
        probe. It costs a logistic regression, and an embedding with the transformer's readout where
        pre-training has not just made it. With "head" it is unused.
    augment : bool, default=True
        Whether about half of the series that the encoder is fine-tuned on, drawn anew each time,
        are random crops of 60 to 100 % of their length, stretched to it and scaled about their
        mean. With 16 epochs in place of 8 it gained 0.1 to 0.5 points on held-out training parts
        of four panels, and cost 0.1 on another one (``benchmarks/results/README.md``).
    jitter : float or "auto", default="auto"
        Of the series that the encoder is fine-tuned on: each channel, scaled, is multiplied by
        exp(jitter u) and shifted by jitter v, with u and v standard normal and drawn anew each
        time. "auto" takes 0.3 for several channels and 1000 labelled series or more, where it
        helped on subjects that training had not seen, and otherwise 0: size and level are much
        of what a single channel tells.
    label_smoothing : float in [0, 1), default=0.1
        Of the loss on labels, in training only.
    lr_schedule : {"one_cycle", "cosine"} or None, default="one_cycle"
        Course of the learning rate over all steps; None keeps it constant. "one_cycle" moves
        AdamW's first beta as well, from 0.95 to 0.85 and back, as it does in torch.
    patience : int or None, default=10
        Of use with `validation_fraction`; None never stops early.
    callbacks : list or tuple of skorch callbacks, optional
        Of fine-tuning; as in :class:`TimeMAETransformer`, whose pre-training takes its own.
    precision, compile, device, random_state, verbose
        As in :class:`TimeMAETransformer`; they apply to fine-tuning, and to the transformer
        only if that is None. A `random_state` also seeds a transformer that has none.

    Attributes
    ----------
    classes_ : array of labels, sorted
    n_classes_ : int
    transformer_ : TimeMAETransformer
        Pre-trained here, the one given frozen, or with "random" one that was not trained.
    fine_tune_ : {"all", "head", "random"}
        What was trained.
    n_self_trained_ : int
        Series without a label that self-training gave one.
    history_ : list of dict
        One an epoch of fine-tuning: ``epoch``, ``loss``, ``accuracy``, ``duration``, and with
        `validation_fraction` ``valid_loss`` and ``valid_accuracy``.
    n_epochs_ : int
        Epochs of fine-tuning that were finished; 0 with "head".
    n_channels_in_, n_features_in_, channel_names_in_, series_length_, \
            embedding_dim_, device_
        As in :class:`TimeMAETransformer`. Where y held a single class, of all these only those of
        classes and input are set; where it held several outputs, those of input, and `classes_`
        is empty.
    config_ : tsmae.nn.TimeMAEConfig
        Of the encoder that was fine-tuned or probed.
    readout_, probe_readout_ : dict
        What the encoders of `model_` and `probe_` pool: of the `pooling` parameters here, and of
        the transformer's. With "head" both are the transformer's.
    averages_probe_ : bool
        Whether logits are averaged with those of `probe_`.
    model_ : tsmae.nn.SeriesClassifier
        The fine-tuned network, or with "head" the probe.
    probe_ : tsmae.nn.SeriesClassifier
        The probe beside a fine-tuned network, where logits are averaged.

    References
    ----------
    .. [1] M. Cheng, Q. Liu, Z. Liu, H. Zhang, R. Zhang, E. Chen. TimeMAE: Self-Supervised
       Representations of Time Series with Decoupled Masked Autoencoders. arXiv 2303.00320.

    Examples
    --------
    >>> from sktime.datasets import load_unit_test
    >>> from tsmae import TimeMAEClassifier, TimeMAETransformer
    >>> X, y = load_unit_test(split="train", return_type="numpy3D")
    >>> transformer = TimeMAETransformer(d_model=16, max_epochs=1)
    >>> classifier = TimeMAEClassifier(transformer, max_epochs=1).fit(X, y)
    >>> classifier.predict(X).shape
    (20,)
    """

    _tags = {
        "authors": "tsmae developers",
        "X_inner_mtype": "numpy3D",
        "y_inner_mtype": "numpy1D",
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "capability:predict_proba": True,
        "capability:class_weight": True,
        "capability:categorical_in_X": False,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }
    _parts = (TimeMAETransformer,)
    _parameter_constraints = {
        "transformer": [HasMethods(["fit", "transform"]), None],
        "fine_tune": [StrOptions({"auto", "all", "head", "random"})],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "unlabeled": [str, Interval(Real, None, None, closed="neither"), None],  # no NaN
        "self_training": [Interval(Real, 0, 1, closed="neither"), None],
        "average_probe": ["boolean"],
        "augment": ["boolean"],
        "jitter": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        **READOUT,
        **TRAINING,
    }

    def __init__(
        self,
        transformer: TimeMAETransformer | FrozenEstimator | None = None,
        fine_tune: str = "auto",
        max_epochs: int = 16,
        batch_size: int | str = "auto",
        lr: float = 5e-4,
        weight_decay: float = 0.05,
        class_weight: dict | str | None = None,
        validation_fraction: float | None = None,
        unlabeled: Any = None,
        *,
        self_training: float | None = None,
        pooling: str | Sequence[str] = ("mean", "quarters", "autocorrelation"),
        pooling_layers: str = "last",
        pooling_resolutions: Sequence[int] = (1,),
        pooling_slopes: Sequence[int] = (),
        pooling_shifts: int = 1,
        average_probe: bool = True,
        augment: bool = True,
        jitter: float | str = "auto",
        label_smoothing: float = 0.1,
        lr_schedule: str | None = "one_cycle",
        patience: int | None = 10,
        precision: str = "auto",
        callbacks: Sequence | None = None,
        compile: bool = False,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int | bool = 0,
    ) -> None:
        self.transformer = transformer
        self.fine_tune = fine_tune
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.class_weight = class_weight
        self.validation_fraction = validation_fraction
        self.unlabeled = unlabeled
        self.self_training = self_training
        self.pooling = pooling
        self.pooling_layers = pooling_layers
        self.pooling_resolutions = pooling_resolutions
        self.pooling_slopes = pooling_slopes
        self.pooling_shifts = pooling_shifts
        self.average_probe = average_probe
        self.augment = augment
        self.jitter = jitter
        self.label_smoothing = label_smoothing
        self.lr_schedule = lr_schedule
        self.patience = patience
        self.precision = precision
        self.callbacks = callbacks
        self.compile = compile
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        super().__init__()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters; if `deep` those of the transformer too, the default one's for None."""
        params = super().get_params(deep)
        if deep and self.transformer is None:
            default = self._default_transformer().get_params()
            params |= {f"{_NESTED}{name}": value for name, value in default.items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, and forget the fit; ``transformer__…`` sets those of the transformer.

        With ``transformer=None`` they apply to the default transformer, which becomes one of its
        own then: it keeps the `device`, `precision`, `compile` and `verbose` of that call.

        Raises
        ------
        ValueError
            If there is no parameter of a name.
        """
        nested = {k.removeprefix(_NESTED): v for k, v in params.items() if k.startswith(_NESTED)}
        if nested and params.get("transformer", self.transformer) is None:
            params = {k: v for k, v in params.items() if not k.startswith(_NESTED)}
            shared = {k: v for k, v in params.items() if k in _OF_DEFAULT_TRANSFORMER}
            transformer = self._default_transformer(**shared).set_params(**nested)
            if transformer != self._default_transformer(**shared):  # otherwise None says the same
                params["transformer"] = transformer
        return super().set_params(**params)

    def _default_transformer(self, **changed) -> TimeMAETransformer:
        shared = {name: getattr(self, name) for name in _OF_DEFAULT_TRANSFORMER}
        return TimeMAETransformer(**{**shared, **changed})

    # ------------------------------------------------------------------ the two contracts

    def fit(self, X: Any, y: Any) -> Self:
        """Pre-train where asked to, then fine-tune on labels.

        Parameters
        ----------
        X : panel of n series
            As in :meth:`TimeMAETransformer.fit`, but no flat DataFrame, which is a single
            series in sktime.
        y : (n,) array-like of labels
            Of one type: numbers, strings or booleans. Several columns fit, as in sktime, a
            classifier for each.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter, X or y is not what it must be, before anything is trained; or if the
            loss becomes infinite or NaN.
        """
        with self._fresh_fit():
            self._check_parameters()
            read, y = read_panel(X, single_series=False), as_pandas(y)
            check_order(y, read.instances)
            frozen = self._frozen_transformer()
            if frozen is not None and self.fine_tune != "random":  # that takes its settings alone
                frozen._check_matches_fit(read)
            warn_of_lost_shapes(read.lost)
            outputs = [read_labels(column, len(read.values)) for column in _outputs(y)]
            for labels in outputs:
                self._class_weights(labels[self._labeled(labels)])
            target = outputs[0]
            if _has_several_outputs(y):  # sktime fits a classifier for each, its index as time
                target = y.reset_index(drop=True) if isinstance(y, pd.DataFrame) else y
            super().fit(read.values, target)
            self._remember_input(read)
        return self

    def predict(self, X: Any) -> np.ndarray | pd.DataFrame:
        """Class of each series.

        Parameters
        ----------
        X : panel
            As in `fit`, with the same channels; other lengths are taken.

        Returns
        -------
        (n,) array of labels, of several outputs a DataFrame

        Raises
        ------
        ValueError, TypeError
            If X is not what it must be, or has other channels than in `fit`.
        NotFittedError
            Before `fit`.
        """
        return super().predict(self._read(X).values)

    def predict_proba(self, X: Any) -> np.ndarray | pd.DataFrame:
        """Probability of each class.

        Parameters
        ----------
        X : panel
            As in `predict`.

        Returns
        -------
        (n, n_classes_) float64 array
            Columns in the order of ``classes_``; rows sum to 1. Of several outputs a DataFrame.

        Raises
        ------
        ValueError, TypeError, NotFittedError
            As in `predict`.
        """
        probabilities = super().predict_proba(self._read(X).values)
        if isinstance(probabilities, np.ndarray):  # sktime gives ints where there is one class
            return probabilities.astype(np.float64, copy=False)
        return probabilities

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean accuracy; series that `unlabeled` marks, in any of several outputs, do not count.

        Of several outputs all must be right.

        Parameters
        ----------
        X : panel
            As in `predict`.
        y : (n,) array-like of labels
            Or of several outputs, as in `fit`.
        sample_weight : (n,) array-like, optional

        Returns
        -------
        float

        Raises
        ------
        ValueError, TypeError, NotFittedError
            As in `predict`; or if y does not suit X, or marks every series.
        """
        read, y = self._read(X), as_pandas(y)
        check_order(y, read.instances)
        outputs = [read_labels(column, len(read.values)) for column in _outputs(y)]
        check_consistent_length(read.values, sample_weight)
        labeled = np.all([self._labeled(labels) for labels in outputs], axis=0)
        if not labeled.any():
            raise ValueError(
                f"Every series has {self.unlabeled!r}, which `unlabeled` names, in one of the "
                "outputs in y."
            )
        values, outputs = read.values[labeled], [labels[labeled] for labels in outputs]
        weights = None if sample_weight is None else np.asarray(sample_weight)[labeled]
        predicted = self.predict(values)
        _check_same_outputs(y, predicted)
        if len(outputs) == 1:
            return float(accuracy_score(outputs[0], predicted, sample_weight=weights))
        pairs = zip(_outputs(predicted), outputs, strict=True)
        right = np.all([p == labels for p, labels in pairs], axis=0)
        return float(np.average(right, weights=weights))

    def fit_predict(
        self, X: Any, y: Any, cv: Any = None, change_state: bool = True
    ) -> np.ndarray | pd.DataFrame:
        """Fit and predict, on the series themselves or by cross-validation.

        Parameters
        ----------
        X, y
            As in `fit`; with `cv` a single output.
        cv : None, int, splitter of scikit-learn or iterable of splits, default=None
            None predicts the series of the fit; a splitter each series by a fit without it; an
            int is so many shuffled folds.
        change_state : bool, default=True
            Whether this estimator is fitted on all series, too, or left as it is.

        Returns
        -------
        As from `predict`

        Raises
        ------
        ValueError, TypeError
            As in `fit`; or if the test parts of `cv` do not hold each series once.
        """
        return self._fit_and("predict", X, y, cv, change_state)

    def fit_predict_proba(
        self, X: Any, y: Any, cv: Any = None, change_state: bool = True
    ) -> np.ndarray | pd.DataFrame:
        """Fit, and probabilities as in `predict_proba`; see `fit_predict`."""
        return self._fit_and("predict_proba", X, y, cv, change_state)

    def _fit_and(self, method: str, X: Any, y: Any, cv: Any, change_state: bool) -> Any:
        """What sktime's base class gives, whose folds know neither text labels nor lists."""
        if cv is None:
            fitted = (self if change_state else clone(self)).fit(X, y)
            return getattr(fitted, method)(X)
        read, y = read_panel(X, single_series=False), as_pandas(y)
        check_order(y, read.instances)
        if _has_several_outputs(y):
            raise ValueError("y has several outputs, which `cv` cannot be used with.")
        values, labels = read.values, read_labels(y, len(read.values))
        if isinstance(cv, Integral):
            seed = draw_seed(copy.deepcopy(self.random_state))  # a RandomState stays as it is
            cv = KFold(int(cv), shuffle=True, random_state=seed)
        folds = list(check_cv(cv).split(values, labels))
        held_out = np.concatenate([[], *(test for _, test in folds)]).astype(int)
        times = np.bincount(held_out, minlength=len(values))
        if (times != 1).any():
            raise ValueError(
                f"cv={cv!r} must hold each series out once; the one at position "
                f"{int((times != 1).argmax())} is in {times[times != 1][0]} test parts."
            )
        if change_state:
            self.fit(X, y)
        labeled = self._labeled(labels)
        classes = np.unique(labels[labeled])
        shape = (len(values), len(classes)) if method == "predict_proba" else len(values)
        result = np.zeros(shape, float if method == "predict_proba" else labels.dtype)
        for train, test in folds:
            fold = clone(self)
            if labeled[train].all() and not labeled.all():  # the marks are all held out
                fold.set_params(unlabeled=None, self_training=None)
            fold.fit(values[train], labels[train])
            predicted = getattr(fold, method)(values[test])
            if method == "predict_proba":
                columns = np.searchsorted(classes, fold.classes_)
                result[np.ix_(test, columns)] = predicted
            else:
                result[test] = predicted
        return result

    def transform(self, X: Any) -> pd.DataFrame:
        """Embeddings that the linear head sees, of the fine-tuned encoder.

        With "head" they are of the transformer's. Their columns have a deviation of about 1, so
        that they are longer than those of :meth:`TimeMAETransformer.transform`.

        Parameters
        ----------
        X : panel
            As in `predict`.

        Returns
        -------
        pandas.DataFrame of shape (n, embedding_dim_), float32

        Raises
        ------
        ValueError, TypeError, NotFittedError
            As in `predict`; or if nothing was trained, as y held a single class or several
            outputs.
        """
        read = self._read(X)
        self._check_embeds()
        embeddings = embed(self.model_.encoder, Panel.from_array(read.values), self.device_)
        return embedding_frame(embeddings, read.instances)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the embedding's columns: ``timemae0``, ``timemae1``, …"""
        self.check_is_fitted()
        self._check_embeds()
        return super().get_feature_names_out(input_features)

    def _check_embeds(self) -> None:
        if not hasattr(self, "model_"):
            raise ValueError(
                "No encoder was trained that could embed X: in fit, y held a single class "
                "or several outputs."
            )

    def _read(self, X) -> NamedPanel:
        self.check_is_fitted()
        read = read_panel(X, single_series=False)
        self._check_matches_fit(read)
        return read

    # ------------------------------------------------------------------ fit and predict

    def _remember_input(self, read: NamedPanel) -> None:
        super()._remember_input(read)
        own = vars(self).get("transformer_")
        if own is not None and own is not self._frozen_transformer() and read.channels is not None:
            own.channel_names_in_ = self.channel_names_in_  # it was fitted on a plain array

    def _fit(self, X, y):
        device = resolve_device(self.device)
        labeled = self._labeled(y)
        self._set_classes(y, labeled)
        if self.n_classes_ == 1:  # sktime predicts it
            return self
        self.device_ = device
        self.fine_tune_ = self.fine_tune
        if self.fine_tune == "auto":
            self.fine_tune_ = _auto.fine_tuned(labeled.sum())
        head = self.fine_tune_ == "head"
        seed = draw_seed(self.random_state)
        panel = Panel.from_array(X)
        weights = self._class_weights(y[labeled])
        targets = np.searchsorted(self.classes_, y[labeled])
        train = np.flatnonzero(labeled)
        held_out = None
        if self.validation_fraction is not None and not head:
            train, valid, targets, valid_targets = self._split(train, targets, seed)
            held_out = (panel[valid], valid_targets)
        self.transformer_, embeddings = self._fitted_transformer(panel, seed)
        n_given = len(train)
        if self.self_training is not None and not labeled.all():
            unlabeled = np.flatnonzero(~labeled)
            train, targets = self._self_train(
                panel, embeddings, train, targets, unlabeled, weights, seed
            )
        self.n_self_trained_ = len(train) - n_given
        probed = _sample_of_all_classes(targets, seed)

        trained = self.transformer_.series_encoder_
        self.config_ = self.transformer_.config_
        self.probe_readout_ = copy.deepcopy(self.transformer_.readout_)
        self.readout_ = self.probe_readout_ if head else readout_of(self)
        self.averages_probe_ = bool(self.average_probe) and not head
        self._build_modules(trained)
        self.embedding_dim_ = self.model_.encoder.embedding_dim
        for name in self._module_names:
            network = getattr(self, name).to(self.device_)
            if head or name == "probe_":
                entering = self._standardize_probe(
                    network.encoder, panel, train[probed], embeddings, seed
                )
                embeddings = None  # memory
            else:
                entering = self._standardize_trained(network.encoder, panel, train[probed], seed)
            self._fit_head(network, entering, targets[probed], weights)
        del embeddings, entering  # memory
        train_panel = panel.part(train)
        self.history_ = []
        if not head and self.max_epochs:
            batch_size, jitter = self.batch_size, self.jitter
            if batch_size == "auto":
                batch_size = _auto.fine_tuning_batch_size(train_panel)
            if jitter == "auto":
                jitter = _auto.jitter(labeled.sum(), panel.n_channels)
            self.history_ = fine_tune(
                self.model_,
                train_panel,
                targets,
                held_out,
                n_epochs=int(self.max_epochs),
                seed=seed,
                class_weight=torch.tensor(weights, dtype=torch.float32, device=self.device_),
                label_smoothing=self.label_smoothing,
                augment=bool(self.augment),
                jitter=float(jitter),
                batch_size=int(batch_size),
                **training_settings(self),
            )
        self.n_epochs_ = len(self.history_)
        return self

    def _set_classes(self, y: np.ndarray, labeled: np.ndarray) -> None:
        """Set the fitted attributes that describe the classes, and warn of odd labels."""
        if self.unlabeled is not None and labeled.all():
            warnings.warn(
                f"unlabeled={self.unlabeled!r} marks no series of y, whose labels are like "
                f"{y[0].item()!r}: all count as labelled. Estimators that encode labels before "
                "they hand them on (of voting, stacking) change the mark, too.",
                stacklevel=2,
            )
        self._remember_classes(np.unique(y[labeled]))
        if self.n_classes_ == 1 and not labeled.all():  # sktime warns where y holds nothing else
            warnings.warn(
                f"The only class in y beside unlabeled={self.unlabeled!r} is "
                f"{self.classes_[0].item()!r}: nothing is trained, and it is predicted always.",
                stacklevel=2,
            )

    def _predict(self, X):
        return self.classes_[self._predict_proba(X).argmax(1)]

    def _predict_proba(self, X):
        networks = [getattr(self, name) for name in self._module_names]

        def mean_logits(batch):
            return sum(network(batch.x, batch.complete) for network in networks) / len(networks)

        logits = apply(mean_logits, Panel.from_array(X), self.device_)
        return torch.from_numpy(logits).double().softmax(1).numpy()

    def _labeled(self, y: np.ndarray) -> np.ndarray:
        """(n,) bool: where y is a class and not the mark of an unlabeled series."""
        if self.unlabeled is None:
            if self.self_training is not None:
                raise ValueError(
                    "The 'self_training' parameter needs series without a label, which 'unlabeled' "
                    f"marks. Got self_training={self.self_training!r} and unlabeled=None."
                )
            return np.ones(len(y), dtype=bool)
        # text would mark no number, and True and False would mark 1 and 0, or the other way round
        if label_kind(self.unlabeled) != label_kind(y[0]):
            raise TypeError(
                f"The 'unlabeled' parameter must be of the type of the labels in y, which are like "
                f"{y[0].item()!r}. Got {self.unlabeled!r} instead."
            )
        labeled = y != self.unlabeled
        if not labeled.any():
            raise ValueError(f"Every label in y is {self.unlabeled!r}, which `unlabeled` names.")
        return labeled

    def _class_weights(self, y: np.ndarray) -> np.ndarray:
        """(n_classes,) float64, of a size that float32 can multiply, for labels (n,)."""
        classes = np.unique(y)
        try:
            weights = compute_class_weight(self.class_weight, classes=classes, y=y)
            weights = weights.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                "The 'class_weight' parameter must be a dict of a number for each class in "
                f"{classes.tolist()}. Got {self.class_weight!r} instead: {error}"
            ) from None
        sized = (weights >= 1 / _LARGEST_WEIGHT) & (weights <= _LARGEST_WEIGHT)
        if not (sized | (weights == 0)).all() or not weights.any():
            raise ValueError(
                "The 'class_weight' parameter must hold weights that are 0 or lie from "
                f"{1 / _LARGEST_WEIGHT:g} to {_LARGEST_WEIGHT:g}, and one that is not 0. Got "
                f"{self.class_weight!r} instead."
            )
        return weights

    def _frozen_transformer(self) -> TimeMAETransformer | None:
        """The transformer given as fitted, checked, or None."""
        if not isinstance(self.transformer, FrozenEstimator):
            return None
        transformer = self.transformer.estimator
        _check_is_transformer(transformer, self.transformer)
        transformer.check_is_fitted()
        return transformer

    def _fitted_transformer(
        self, panel: Panel, seed: int
    ) -> tuple[TimeMAETransformer, np.ndarray | None]:
        """The transformer whose encoder is fine-tuned: given, pre-trained here, or random.

        And its embeddings of the panel, if fitting it made them.
        """
        frozen = self._frozen_transformer()
        if frozen is not None and self.fine_tune_ != "random":
            return frozen, None
        if self.transformer is None:
            transformer = self._default_transformer()
        else:
            given = self.transformer if frozen is None else frozen
            _check_is_transformer(given, self.transformer)
            if given.is_fitted and self.fine_tune_ != "random":
                warnings.warn(
                    "The 'transformer' parameter is fitted, and pre-trained anew on X: wrapped in "
                    "sklearn.frozen.FrozenEstimator it would be used as it is.",
                    stacklevel=2,
                )
            transformer = clone(given)
        if transformer.random_state is None:
            transformer.set_params(random_state=seed)
        if self.fine_tune_ == "random":
            transformer.set_params(max_epochs=0, init="random")
        return transformer, transformer._fit_and_embed(panel.values)

    @property
    def _module_names(self) -> tuple[str, ...]:
        """The networks whose mean logits decide."""
        return ("model_", "probe_") if "probe_" in vars(self) else ("model_",)

    def _build_modules(self, trained: SeriesEncoder | None = None) -> None:
        """Set the networks: on copies of a trained encoder, or, to load, on any like it.

        Of `transformer_` nothing is read: one that was given may have been fitted anew since.
        """
        if trained is None:
            trained = SeriesEncoder(Backbone(self.config_, new_generator(0)), **self.probe_readout_)
        probe = SeriesClassifier(copy.deepcopy(trained), self.n_classes_).eval()
        if self.fine_tune_ == "head":
            self.model_ = probe
            return
        encoder = SeriesEncoder(copy.deepcopy(trained.backbone), **self.readout_)
        self.model_ = SeriesClassifier(encoder, self.n_classes_).eval()
        if self.averages_probe_:
            self.probe_ = probe

    def _standardize_probe(
        self,
        encoder: SeriesEncoder,
        panel: Panel,
        train: np.ndarray,
        embeddings: np.ndarray | None,
        seed: int,
    ) -> np.ndarray:
        """Unit deviation for what enters a probe's head; all but the size may be so already.

        Returns what enters it of the series at `train`, (n, D). `embeddings` are the
        transformer's of the panel, where they are known.
        """
        if not encoder.is_standardized:
            seen = standardize(encoder, panel, self.device_, new_generator(seed))
            return self._entering(encoder, panel, train, seen)
        deviation = column_deviation(encoder.embedding_dim)
        encoder.resize(1 / deviation)
        if embeddings is None:
            return embed(encoder, panel.part(train), self.device_)
        entering = embeddings[train]
        entering /= deviation
        return entering

    def _standardize_trained(
        self, encoder: SeriesEncoder, panel: Panel, train: np.ndarray, seed: int
    ) -> np.ndarray:
        """Likewise for the head of a network to train, within bounds."""
        generator = new_generator(seed)
        calibrate(encoder, panel, self.device_, generator)
        seen = standardize(encoder, panel, self.device_, generator, _SMALLEST_TRAINED_SCALE)
        return self._entering(encoder, panel, train, seen)

    def _entering(
        self, encoder: SeriesEncoder, panel: Panel, train: np.ndarray, seen: np.ndarray | None
    ) -> np.ndarray:
        """Embeddings of the series at `train`, of what :func:`standardize` saw of the panel."""
        if seen is None:
            return embed(encoder, panel.part(train), self.device_)
        return encoder.standardized(seen[train])

    def _fit_head(
        self,
        network: SeriesClassifier,
        embeddings: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
    ) -> None:
        """Set the head to a logistic regression on the frozen embeddings.

        This is all there is to a probe, and where fine-tuning starts: from a head that fits, it
        distorts the pre-trained encoder less (Kumar et al. 2022).
        """
        probe = LinearProbe(class_weight=dict(enumerate(weights))).fit(embeddings, targets)
        network.set_head(probe.coef_, probe.intercept_)

    def _self_train(
        self,
        panel: Panel,
        embeddings: np.ndarray | None,
        train: np.ndarray,
        targets: np.ndarray,
        unlabeled: np.ndarray,
        weights: np.ndarray,
        seed: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions and targets to train on: the given ones, then those of sure predictions."""
        if len(unlabeled) > _SELF_TRAINED_ON:
            sample = torch.randperm(len(unlabeled), generator=new_generator(seed))
            unlabeled = unlabeled[sample[:_SELF_TRAINED_ON].numpy()]
        given = _sample_of_all_classes(targets, seed)
        positions = np.concatenate([train[given], unlabeled])
        marks = np.concatenate([targets[given], np.full(len(unlabeled), -1)])
        transformer = self.transformer_  # on a device of its own, if it was given
        if embeddings is None:
            some = panel[positions]
            embeddings = embed(transformer.series_encoder_, some, transformer.device_)
        else:
            embeddings = embeddings[positions]
        if not transformer.series_encoder_.is_standardized:
            embeddings = StandardScaler(copy=False).fit_transform(embeddings)
            embeddings *= column_deviation(embeddings.shape[1])
        classifier = SelfTrainingClassifier(
            LogisticRegression(class_weight=dict(enumerate(weights)), max_iter=MAX_ITERATIONS),
            threshold=self.self_training,
        )
        predicted = classifier.fit(embeddings, marks).transduction_[len(given) :]
        sure = predicted >= 0
        return np.append(train, unlabeled[sure]), np.append(targets, predicted[sure])

    def _split(self, train: np.ndarray, targets: np.ndarray, seed: int) -> list[np.ndarray]:
        """Positions and targets to train on and to hold out, stratified."""
        n_labelled = len(train)
        try:
            train, valid, targets, valid_targets = train_test_split(
                train,
                targets,
                test_size=self.validation_fraction,
                stratify=targets,
                random_state=seed,
            )
            if len(np.unique(targets)) < self.n_classes_:
                raise ValueError("a class would have no series left to train on.")
        except ValueError as error:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {n_labelled} labelled series "
                f"in {self.n_classes_} classes cannot be held out: {error}"
            ) from None
        return [train, valid, targets, valid_targets]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict]:
        """Three small settings for sktime's test suite."""
        paper, defaults = TimeMAETransformer.get_test_params()
        short = {"max_epochs": 1, "precision": "float32"}
        return [
            {"transformer": TimeMAETransformer(**paper), **presets.PAPER_FINE_TUNING, **short},
            {"transformer": TimeMAETransformer(**defaults), "fine_tune": "head"},
            {"transformer": TimeMAETransformer(**defaults), "fine_tune": "random", **short},
        ]


def _has_several_outputs(y) -> bool:
    return isinstance(y, (pd.DataFrame, np.ndarray)) and y.ndim == 2 and y.shape[1] > 1


def _outputs(y) -> list:
    """The columns of labels, of which there may be one."""
    if not _has_several_outputs(y):
        return [y]
    if isinstance(y, pd.DataFrame) and not y.columns.is_unique:
        names = y.columns[y.columns.duplicated()].unique().tolist()
        raise ValueError(f"y has several columns of the same name: {names}.")
    return [y.iloc[:, j] for j in range(y.shape[1])] if isinstance(y, pd.DataFrame) else list(y.T)


def _check_same_outputs(y, predicted) -> None:
    """Raise unless labels have the outputs of a prediction, which are those of the fit."""
    n_given, n_fitted = len(_outputs(y)), len(_outputs(predicted))
    if n_given != n_fitted:
        raise ValueError(f"y has {n_given} output(s), but in fit it had {n_fitted}.")
    if n_given == 1 or not isinstance(y, pd.DataFrame):
        return
    given, fitted = list(y.columns), list(predicted.columns)
    if given != fitted and fitted != list(range(n_fitted)):  # those of an array have no names
        raise ValueError(f"The columns of y are {given}, but in fit they were {fitted}.")


def _sample_of_all_classes(targets: np.ndarray, seed: int) -> np.ndarray:
    """Positions of at most 20 000 labelled series, and of one of each class that has none there."""
    if len(targets) <= _PROBED_ON:
        return np.arange(len(targets))
    order = torch.randperm(len(targets), generator=new_generator(seed)).numpy()
    first = np.unique(targets[order], return_index=True)[1]
    return np.union1d(order[:_PROBED_ON], order[first])


def _check_is_transformer(transformer, parameter) -> None:
    if not isinstance(transformer, TimeMAETransformer):
        raise TypeError(
            "The 'transformer' parameter must be a TimeMAETransformer, a FrozenEstimator of a "
            f"fitted one, or None. Got {parameter!r} instead."
        )

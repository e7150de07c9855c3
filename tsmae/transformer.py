"""TimeMAETransformer: an unlabeled panel in, embeddings out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from numbers import Integral

import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sktime.transformations.base import BaseTransformer

from tsmae._interop import Bridge, embedding_frame, read_panel
from tsmae._parameters import TRANSFORMER, check_pooling
from tsmae.nn import SeriesEncoder, TimeMAE, TimeMAEConfig
from tsmae.panel import Panel, channel_statistics
from tsmae.persistence import SavedAsTensors
from tsmae.training.device import resolve_device
from tsmae.training.loops import apply, embed, evaluate_pretext, pretrain
from tsmae.training.randomness import draw_seed, isolated_global_rng, new_generator

_STANDARDIZE_ON = 10_000  # series; more change the statistics little and cost a pass each


class TimeMAETransformer(Bridge, SavedAsTensors, BaseTransformer, TransformerMixin, BaseEstimator):
    """Embeddings of time series from a decoupled masked autoencoder [1]_.

    `fit` pre-trains TimeMAE on a panel without labels: series are cut in windows, most windows
    are hidden, and the model learns to predict what stood there from the rest. `transform`
    gives one vector a series. Works as a step of scikit-learn's and of sktime's pipelines.

    Parameters
    ----------
    window_length : int, default=8
        Time points of a window (sub-series) δ. A tail is padded, and the padding masked.
    """

    _tags = {
        "authors": "tsmae developers",
        "scitype:transform-input": "Series",
        "scitype:transform-output": "Primitives",
        "scitype:instancewise": False,
        "X_inner_mtype": "numpy3D",
        "y_inner_mtype": "None",
        "fit_is_empty": False,
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "capability:categorical_in_X": False,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }
    _parameter_constraints = TRANSFORMER
    _modules = ("model_", "series_encoder_")

    def __init__(
        self,
        window_length=8,
        d_model=64,
        n_heads=4,
        n_layers=8,
        n_decoupled_layers=4,
        dropout=0.2,
        mask_ratio=0.6,
        n_codewords=192,
        temperature=1.0,
        momentum=0.99,
        mrr_weight=5.0,
        mcc_weight=1.0,
        label_smoothing=0.2,
        codeword_gradient=True,
        pooling="mean",
        scaling="channel",
        max_epochs=100,
        batch_size=128,
        lr=1e-3,
        weight_decay=0.01,
        lr_schedule=None,
        encoder=None,
        callbacks=None,
        compile=False,
        device="auto",
        random_state=None,
        verbose=0,
        *,
        block="timemae",
        decoupled_dropout=None,
        stem="linear",
        window_statistics=False,
        mask_per="series",
        decoupled=True,
        tokenizer="learned",
        n_codebooks=1,
        mrr_target="raw",
        reconstruction_weight=0.0,
        spectral_weight=0.0,
        pooling_layers="last",
        standardize=True,
        validation_fraction=None,
        patience=None,
        precision="float32",
    ):
        self.window_length = window_length
        self.d_model = d_model
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.n_decoupled_layers = n_decoupled_layers
        self.dropout = dropout
        self.mask_ratio = mask_ratio
        self.n_codewords = n_codewords
        self.temperature = temperature
        self.momentum = momentum
        self.mrr_weight = mrr_weight
        self.mcc_weight = mcc_weight
        self.label_smoothing = label_smoothing
        self.codeword_gradient = codeword_gradient
        self.pooling = pooling
        self.scaling = scaling
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.encoder = encoder
        self.callbacks = callbacks
        self.compile = compile
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.block = block
        self.decoupled_dropout = decoupled_dropout
        self.stem = stem
        self.window_statistics = window_statistics
        self.mask_per = mask_per
        self.decoupled = decoupled
        self.tokenizer = tokenizer
        self.n_codebooks = n_codebooks
        self.mrr_target = mrr_target
        self.reconstruction_weight = reconstruction_weight
        self.spectral_weight = spectral_weight
        self.pooling_layers = pooling_layers
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        super().__init__()

    # ------------------------------------------------------------------ the two contracts

    def fit(self, X, y=None):
        """Pre-train on a panel.

        Parameters
        ----------
        X : panel of n series with C channels
            Numpy array (n, C, T) or (n, T), the latter n univariate series; list of (C, T_i)
            arrays; DataFrame with an (instance, time) MultiIndex, of which the order of time
            is used and not its spacing; list of DataFrames; nested DataFrame; or another Panel
            container of sktime. NaN says that a value was not observed; points that are NaN in
            all channels at the end of a series are its end. A flat DataFrame is, as in sktime,
            a single series.
        y : ignored
            Accepted so that pipelines can pass it.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is not what it must be; before anything is trained.
        """
        with self._fresh_fit():
            self._check_parameters()
            read = read_panel(X)
            super().fit(read.values)
            self._remember_input(read)
        return self

    def transform(self, X, y=None):
        """Embed each series.

        Parameters
        ----------
        X : panel
            As in `fit`, with the same channels. Other lengths than in `fit` are taken.
        y : ignored

        Returns
        -------
        pandas.DataFrame of shape (n, embedding_dim_), float32
            A row a series, under its name where X has names.
        """
        self.check_is_fitted()
        read = read_panel(X)
        self._check_matches_fit(read)
        embeddings = super().transform(read.values)
        embeddings.index = read.instances
        return embeddings

    def fit_transform(self, X, y=None):
        """`fit`, then `transform` of the same panel."""
        return self.fit(X).transform(X)

    # ------------------------------------------------------------------ fit and transform

    def _fit(self, X, y=None):
        check_pooling(self.pooling)
        self.device_ = resolve_device(self.device)
        seed = draw_seed(self.random_state)
        panel = Panel.from_array(X)
        self.config_ = self._architecture(panel)
        generator = new_generator(seed)
        with isolated_global_rng(seed, self.device_):
            self._build_modules(generator)
        self.model_.backbone.scaling.set_statistics(*channel_statistics(panel))
        self.model_.to(self.device_)
        self.series_encoder_.to(self.device_)
        self.embedding_dim_ = self.series_encoder_.embedding_dim

        self.history_ = self._pretrain(panel, seed)
        self.n_epochs_ = len(self.history_)
        if self.standardize:
            few = len(panel) <= _STANDARDIZE_ON
            sample = torch.randperm(len(panel), generator=generator)[:_STANDARDIZE_ON].numpy()
            embeddings = embed(self.series_encoder_, panel if few else panel[sample], self.device_)
            self.series_encoder_.standardize(embeddings)
        return self

    def _transform(self, X, y=None):
        embeddings = embed(self.series_encoder_, Panel.from_array(X), self.device_)
        return embedding_frame(embeddings)

    def _architecture(self, panel: Panel) -> TimeMAEConfig:
        """The architecture for a panel; checks what depends on several parameters."""
        if self.d_model % self.n_heads:
            raise ValueError(
                f"The 'd_model' parameter must be a multiple of 'n_heads'. Got "
                f"d_model={self.d_model} and n_heads={self.n_heads} instead."
            )
        weights = ("mcc_weight", "mrr_weight", "reconstruction_weight", "spectral_weight")
        if not any(getattr(self, name) for name in weights) and self.max_epochs:
            raise ValueError(
                f"At least one of {list(weights)} must be positive, or there is nothing to "
                "learn; max_epochs=0 gives the random encoder."
            )
        if self.max_epochs:
            self._check_predictable(panel)
        shared = set(TimeMAEConfig.__dataclass_fields__) & set(self.get_param_names())
        return TimeMAEConfig(
            n_channels=panel.n_channels,
            n_positions=-(-panel.n_points // self.window_length),
            **{name: getattr(self, name) for name in shared},
        )

    def _check_predictable(self, panel: Panel) -> None:
        if panel.n_windows(self.window_length).max() < 2:
            raise ValueError(
                "At least one series in X must have observations in two windows: one to predict, "
                "and one to predict it from. The 'window_length' parameter must be below the "
                f"length of the longest series in X. Got window_length={self.window_length} for "
                f"series of up to {panel.n_points} time points."
            )

    def _build_modules(self, generator=None):
        """Set `model_` and `series_encoder_`, weights drawn from `generator`."""
        generator = new_generator(0) if generator is None else generator
        self.model_ = TimeMAE(self.config_, generator, self._build_encoder())
        self.series_encoder_ = SeriesEncoder(
            self.model_.backbone, check_pooling(self.pooling), self.pooling_layers
        )
        self.model_.eval()  # a user's encoder may have dropout of its own

    def _build_encoder(self) -> torch.nn.Module | None:
        if self.encoder is None:
            return None
        is_module = isinstance(self.encoder, torch.nn.Module)
        module = None if is_module else call_with_width(self.encoder, self.d_model)
        if not isinstance(module, torch.nn.Module):
            built = "is one" if is_module else f"built a {type(module).__name__}"
            raise TypeError(
                f"The 'encoder' parameter must be a callable that builds a torch.nn.Module. "
                f"Got {self.encoder!r}, which {built}."
            )
        return module

    def _pretrain(self, panel: Panel, seed: int) -> list[dict]:
        if not self.max_epochs:
            return []
        held_out = None
        if self.validation_fraction is not None:
            order = torch.randperm(len(panel), generator=new_generator(seed)).numpy()
            n_held_out = round(self.validation_fraction * len(panel))
            if not 0 < n_held_out < len(panel):
                raise ValueError(
                    f"validation_fraction={self.validation_fraction} of {len(panel)} series "
                    "leaves none to hold out, or none to train on."
                )
            held_out, panel = panel[order[:n_held_out]], panel[order[n_held_out:]]
        return pretrain(
            self.model_,
            panel,
            held_out,
            n_epochs=self.max_epochs,
            seed=seed,
            **training_settings(self),
        )

    # ------------------------------------------------------------------ looking inside

    def codewords(self, X, codebook=0):
        """Codeword of each window, as the tokenizer assigns it without noise.

        Parameters
        ----------
        X : panel
        codebook : int, default=0
            Which of the `n_codebooks`.

        Returns
        -------
        (n, N) int64 array
            In 0 … n_codewords-1; -1 where a window holds no observation.
        """
        panel = self._panel(X)
        if not (isinstance(codebook, Integral) and 0 <= codebook < self.config_.n_codebooks):
            raise ValueError(
                f"codebook={codebook!r} must be an int in 0 … {self.config_.n_codebooks - 1}."
            )
        n_windows = -(-panel.n_points // self.config_.window_length)

        def assign(batch):
            ids = self.model_.codewords(batch.x, batch.complete)[..., codebook]
            return torch.nn.functional.pad(ids, (0, n_windows - ids.shape[1]), value=-1)

        return apply(assign, panel, self.device_)

    def reconstruction_metrics(self, X):
        """Pretext losses and metrics on held-out series, with fixed masks and no noise.

        Parameters
        ----------
        X : panel

        Returns
        -------
        dict of float
            ``loss``, ``mrr``, ``mcc``, ``reconstruction``, ``hit_rate``, ``ndcg`` (at 10),
            ``distinct_codewords`` and ``perplexity``, as in `history_`.

        Raises
        ------
        ValueError
            If no series has two windows with observations.
        """
        panel = self._panel(X)
        self._check_predictable(panel)
        return evaluate_pretext(self.model_, panel, self.device_)

    def _panel(self, X) -> Panel:
        self.check_is_fitted()
        read = read_panel(X)
        self._check_matches_fit(read)
        return Panel.from_array(read.values)

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        """Two small settings for sktime's test suite."""
        small = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1}
        short = {"window_length": 4, "max_epochs": 1, "n_codewords": 8}
        return [
            {**small, **short},
            {
                **small,
                **short,
                "block": "pre_norm",
                "stem": "conv",
                "window_statistics": True,
                "tokenizer": "random_projection",
                "n_codebooks": 2,
                "mrr_weight": 0.0,
                "pooling": ("mean", "max", "std"),
                "pooling_layers": "all",
                "lr_schedule": "one_cycle",
            },
        ]


def training_settings(estimator) -> dict:
    """The parameters of an estimator that training takes as they are."""
    return {
        "batch_size": estimator.batch_size,
        "lr": estimator.lr,
        "weight_decay": estimator.weight_decay,
        "lr_schedule": estimator.lr_schedule,
        "patience": estimator.patience,
        "device": estimator.device_,
        "autocast": estimator.precision == "bfloat16",
        "compile": estimator.compile,
        "callbacks": list(estimator.callbacks or []),
        "verbose": estimator.verbose,
    }


def call_with_width(build: Callable, d_model: int) -> object:
    """Call ``build(d_model)``, or ``build()`` if it requires no argument."""
    try:
        parameters = inspect.signature(build).parameters.values()
    except ValueError:  # a builtin
        raise TypeError(
            "The 'encoder' parameter must be a callable that builds a torch.nn.Module. "
            f"Got {build!r} instead."
        ) from None
    required = [
        p
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return build(d_model) if required else build()

"""TimeMAETransformer: an unlabeled panel in, embeddings out."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sktime.transformations.base import BaseTransformer

from tsmae import _auto, presets
from tsmae._interop import Bridge, embedding_frame
from tsmae._parameters import TRANSFORMER, check_position, readout_of, training_settings
from tsmae._reading import check_is_no_table, check_order, read_panel
from tsmae.nn import SeriesEncoder, TimeMAE, TimeMAEConfig
from tsmae.nn.config import PREDICTING
from tsmae.nn.embedding import n_windows
from tsmae.panel import (
    Panel,
    channel_statistics,
    vanishing_channels,
    warn_of_lost_shapes,
    warn_of_unscaled,
)
from tsmae.persistence import SavedAsTensors
from tsmae.probe import column_deviation
from tsmae.synthetic import ARCHITECTURE, misfit, start_from_synthetic
from tsmae.training.batches import batch_starts
from tsmae.training.device import resolve_device
from tsmae.training.inference import apply, calibrate, embed, standardize
from tsmae.training.loops import evaluate_pretext, pretrain
from tsmae.training.randomness import draw_seed, isolated_global_rng, new_generator


class TimeMAETransformer(Bridge, SavedAsTensors, BaseTransformer, TransformerMixin, BaseEstimator):
    """Embeddings of time series from a decoupled masked autoencoder [1]_.

    `fit` pre-trains TimeMAE on a panel without labels: series are cut in windows, most windows
    are masked, and the model learns to predict from the rest what stood there. `transform`
    gives one vector a series, scaled so that a linear classifier can follow directly.
    Works as a step of scikit-learn's and of sktime's pipelines.

    The defaults were chosen on held-out parts of training data, the same for all panels: they
    keep the paper's decoupled encoders and predict frozen codewords. Only on small panels,
    below 1000 series (2000 where weights are not random at the start, see `init`) or with windows
    too short to have a shape (one point, or two of a single channel), the encoder learns to tell
    random crops of one series from those of others instead; see `contrast_weight`. The paper's
    own settings are :data:`tsmae.presets.PAPER`.

    Parameters
    ----------
    window_length : int or "auto", default="auto"
        Time points of a window (sub-series) δ. A tail is padded, and the padding masked out; a
        tail of a single point, which has no shape, is left out.
        "auto" takes 8, and for series below 32 points a quarter of the longest one.
    d_model : int, default=128
        Width d of the representations; a multiple of `n_heads`.
    n_heads : int, default=4
        Attention heads.
    n_layers : int, default=4
        Layers of the encoder, which sees visible windows only.
    n_decoupled_layers : int, default=2
        Layers of the decoupled encoder, which predicts masked windows by cross-attention. Used
        in pre-training only.
    dropout : float in [0, 1) or "auto", default="auto"
        On the output of each attention and feed-forward network. "auto" takes 0.1 where windows
        are predicted, and 0 where series are only told apart: their random crops differ enough.
    mask_ratio : float in (0, 1), default=0.6
        Share r of masked windows: ⌊r N⌋ of a series' N windows, at least one and not all.
    n_codewords : int, default=192
        Codewords K of a codebook.
    temperature : float, default=1.0
        Of the learned tokenizer's Gumbel softmax, of use with `codeword_gradient` only.
    momentum : float in [0, 1], default=0.99
        η of the target encoder, of use with ``mrr_weight > 0`` only.
    mrr_weight : float, default=0.0
        Weight of masked representation regression against the momentum target encoder. The
        authors' runs have 5. Off by default, as it gained nothing
        (``benchmarks/results/ablations.md``): where positions are as large as windows, as in those
        runs, they alone explain most of its target. Without it there is no target encoder.
    mcc_weight : float or "auto", default="auto"
        Weight of masked codeword classification. "auto" takes 1, and 0 on small panels, where the
        codewords of neighbours are learned at the cost of what tells series apart.
    label_smoothing : float in [0, 1), default=0.2
        Of the codeword classification.
    codeword_gradient : bool, default=True
        Whether a learned codebook gets gradients through its targets (straight-through).
    pooling : str or tuple of str, default=("max", "std", "quarters", "autocorrelation", \
            "cross_correlation", "winners")
        Statistics over the windows of a series, concatenated: "mean", "max", "min", "std",
        "last" (the last window), "quarters" (means over the four quarters of the series, which
        keep a coarse order in time, and whose mean is "mean"; that of the whole series where
        nothing was observed in one), "autocorrelation" (of each feature of the windows at lags
        of 1, 2 and 4 windows over `pooling_shifts`, which tells how it comes and goes),
        "cross_correlation" (of each feature with the next one, at the shortest of these lags),
        "winners" (how often each feature is the largest, and the smallest, of eight [3]_, as
        z-scores over at most 256 series of the panel), or "none" (the flattened sequence of the
        windows of all grids, for panels of one length).
    scaling : {"auto", "channel", "instance"} or None, default="auto"
        Shift and scale each channel by its mean and deviation: over the panel in `fit`
        ("channel"), over the series itself, masked windows included ("instance"), or not at all.
        Observed points only.
        "auto" takes "channel", which keeps what level and size tell, unless in most channels
        that vary most series that do so vary by less than a hundredth of the panel's deviation:
        beside a few large series their shapes would vanish, so there it takes "instance". A
        channel that was constant in `fit`, or never observed, counts as nothing later, whatever
        it shows or misses: nothing could be learned of it. But a window in which it alone was
        observed is one that was seen.
    max_epochs : int or "auto", default="auto"
        Epochs of pre-training. "auto" takes 15: more did not pay on small panels, as
        embeddings lose fine detail. Random weights that learn to predict windows take as many as
        make 1440 steps, at most 60: after a few hundred they can serve worse than before. Where
        epochs would make over 10 000 steps, from some 88 200 series on, or fewer of so many
        points that batches are small, it takes as many as come nearest to 10 000, at least one;
        the largest panel measured took a seventh of them. 0 leaves the encoder as it
        starts; with ``init="random"`` that is the random encoder (FineZero), the baseline that
        all pre-training has to beat.
    batch_size : int or "auto", default="auto"
        Series in a batch. "auto" takes 128, and fewer for smaller panels, so that those get
        enough steps: a sixteenth of the panel, at least 32, and a 48th where random weights learn
        to predict windows; and fewer of series of more than 1024 points (512 of 128 channels, 341
        of 256), so that they fit in memory. A last series alone joins the batch before it.
    lr : float or "auto", default="auto"
        Learning rate of AdamW, with `lr_schedule` its maximum. "auto" takes 2e-3; for synthetic
        weights (see `init`), which larger ones spoil, 5e-4, or 2e-4 where windows are predicted;
        but at most 2e-6 for each series, so that a few of them change the encoder little.
    weight_decay : float, default=0.05
        Of AdamW, on all weights: biases and norms too.
    lr_schedule : {"one_cycle", "cosine"} or None, default="one_cycle"
        Course of the learning rate over all steps; None keeps it constant. "one_cycle" moves
        AdamW's first beta as well, from 0.95 to 0.85 and back, as it does in torch.
    encoder : callable, optional
        Builds a module that maps (B, N, d) to (B, N, d) and takes the place of the Transformer;
        called with `d_model` if it requires an argument. What it returns is copied, and not
        trained itself. For series of unequal length its ``forward`` must take ``padding_mask``
        (B, N), True at padding. In `transform` on a CPU several threads call it at a time.
    callbacks : list or tuple of skorch callbacks, optional
        Or of pairs (name, callback), of names that differ. See
        :class:`skorch.callbacks.Callback`; `history` holds ``train_loss`` to monitor, and with
        `validation_fraction` ``valid_loss``. Those that score predictions (EpochScoring,
        BatchScoring) cannot be used: a pretext has none.
    compile : bool, default=False
        Whether :func:`torch.compile` the model for training. Pays on long fits only: it
        takes a minute or more on a CPU before the first step.
    device : str or torch.device, default="auto"
        "cpu", "cuda", "cuda:1", "mps", …; "auto" takes CUDA, else the CPU. "mps" was not tested.
    random_state : int, RandomState instance or None, default=None
        Seeds weights, masks, dropout and the order of series. Global generators are neither
        read nor changed.
    verbose : int, default=0
        1 shows a progress bar with the loss and the time left.
    block : {"pre_norm", "timemae"}, default="pre_norm"
        Layout of the layers and their weights at the start; "timemae" is that of the released
        TimeMAE, with positions drawn as large as windows.
    decoupled_dropout : float in [0, 1), optional
        Dropout of the decoupled encoder; None takes `dropout`.
    stem : {"conv", "linear"}, default="conv"
        Map from a window to its embedding: two small convolutions within the window, or the
        paper's single linear map.
    window_statistics : bool, default=True
        Whether windows are also embedded by their shape, mean and log deviation, so that small
        movements at any level can be told apart.
    mask_per : {"series", "batch"}, default="series"
        Whether each series of a batch has its own masked windows.
    decoupled : bool, default=True
        False feeds mask tokens to the encoder, as BERT does; for comparison.
    tokenizer : {"random_projection", "learned"}, default="random_projection"
        Codewords from frozen random directions in the space of window shapes, or the paper's
        learned codebook.
    n_codebooks : int, default=4
        Independent codebooks, all predicted.
    mrr_target : {"raw", "layer_norm"}, default="raw"
        Whether regression targets are layer-normalised. The encoders here end in a layer norm, so
        that this hardly matters but to a custom `encoder`.
    reconstruction_weight, spectral_weight : float, default=0.0
        Weights of reconstructing masked windows, and their amplitude spectra. Of a window with
        gaps the observed points count, and the spectrum of the window as bridged; channels that
        are constant in `fit` do not.
    contrast_weight : float or "auto", default="auto"
        Weight of instance discrimination: of two random crops of each series, each has to find
        the other among those of the batch (SimCLR [2]_), at one of the `pooling_resolutions`, a
        batch each in turn. "auto" takes 1 on small panels, and 0 on larger ones and on a
        single series.
    contrast_temperature : float, default=0.2
        Of the similarities between crops.
    init : {"auto", "random", "synthetic"}, default="auto"
        Weights of the feature encoder and the encoder at the start: random ones, or those of a
        backbone that learned to tell synthetic series apart, stored with the library (see
        :mod:`tsmae.synthetic`). It is of a single channel, windows of 8 points and the default
        `d_model`, `n_heads`, `n_layers`, `block`, `stem` and `window_statistics`. "auto" takes it
        where it fits and series are scaled: it gained 1.2 points on training parts of 29 panels
        (``benchmarks/results/README.md``). Elsewhere, as with several channels, it is "random";
        "synthetic" is an error there.
    train_stem : bool, default=True
        Whether pre-training trains the feature encoder, or leaves it at the weights it has at the
        start.
    augment : bool, default=False
        Whether windows are predicted on random crops of all series, stretched to their length
        and scaled. The contrast always compares such crops; a classifier, by default, is
        fine-tuned on those of half of the series.
    jitter : float, default=0.0
        Of the series whose windows are predicted: each channel, scaled, is multiplied by
        exp(jitter u) and shifted by jitter v, with u and v standard normal and drawn anew each
        time. 0.15 gained half a point on HAR's subjects that training had not seen, and lost up
        to as much on three panels split at random: for those that will meet new people, devices
        or places.
    pooling_layers : {"ends", "last", "all"}, default="ends"
        Layers that are pooled: the embedded windows and the last layer, the last one, or all
        of the encoder's.
    pooling_resolutions : tuple of int, default=(1, 2, 4)
        Each series is embedded as it is, and averaged over two and over four points each, so
        that windows also span slower shapes. All statistics are concatenated.
    pooling_slopes : tuple of int, default=(2, 4)
        At these resolutions the slopes of the averaged series are embedded as well, in units of
        their root mean square over the panel (a sample of 256 series, if it has more): fine
        detail that levels hide. On training parts of 21 univariate panels they gained 1.2 points
        (``benchmarks/results/README.md``), for two fifths of the columns and a third of the time
        of `transform`. An empty tuple leaves them out.
    pooling_shifts : int, default=2
        Window grids that statistics are pooled over together, evenly shifted within a window,
        so that less depends on where the windows' borders fall. The cost of `transform` is
        proportional to it.
    standardize : bool, default=True
        Whether embeddings are shifted and scaled on the panel of `fit` (on a sample of 10 000
        series, if it has more), to mean 0 and the same deviation √(100 / D) in each of their D
        columns. Their squared length is then 100 on average, however wide they are: what
        scikit-learn's penalised linear models expect at their default penalties. A column that
        is the same for all series is 0, as those of lags longer than all series are, which makes
        it shorter: 3 % of the default ones for series of 37 to 68 points, up to a tenth for 9 to
        36, two fifths for 4.
    validation_fraction : float in (0, 1), optional
        Share of series held out from pre-training. The weights of the epoch with the lowest
        pretext loss on them are kept.
    patience : int, optional
        Of use with `validation_fraction`: epochs without a lower held-out loss after which to
        stop. None never stops.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the products in training; "auto" takes bfloat16 where the hardware is faster with
        it: GPUs that have it, processors with AMX, and AMD's with AVX-512. Weights and embeddings
        are float32 in any case.

    Attributes
    ----------
    history_ : list of dict
        One an epoch: ``epoch``, ``loss``, ``mrr``, ``mcc``, ``reconstruction``, ``contrast``,
        ``hit_rate`` (share of masked windows' codewords that ranked first), ``ndcg`` (at 10),
        ``distinct_codewords`` and ``perplexity`` of the codebooks' use, ``duration`` in
        seconds. ``reconstruction`` is weighted (`reconstruction_weight`, `spectral_weight`), the
        other parts of the loss are not. With `validation_fraction` also ``valid_loss`` and so on.
    n_epochs_ : int
        Epochs of pre-training that were finished.
    n_channels_in_ : int
    n_features_in_ : int
        Columns of X, where it was a 2D array.
    series_length_ : int
        Time points of the longest series in `fit`.
    embedding_dim_ : int
    init_ : {"random", "synthetic"}
        What the encoder started from.
    channel_names_in_ : array of str
        Where X names its channels.
    device_ : torch.device
    config_ : tsmae.nn.TimeMAEConfig
    readout_ : dict
        What `series_encoder_` pools, of the `pooling` parameters.
    model_ : tsmae.nn.TimeMAE
    series_encoder_ : tsmae.nn.SeriesEncoder

    References
    ----------
    .. [1] M. Cheng, Q. Liu, Z. Liu, H. Zhang, R. Zhang, E. Chen. TimeMAE: Self-Supervised
       Representations of Time Series with Decoupled Masked Autoencoders. arXiv 2303.00320.
    .. [2] T. Chen, S. Kornblith, M. Norouzi, G. Hinton. A Simple Framework for Contrastive
       Learning of Visual Representations. ICML 2020.
    .. [3] A. Dempster, D. F. Schmidt, G. I. Webb. HYDRA: Competing Convolutional Kernels for
       Fast and Accurate Time Series Classification. DMKD 37, 2023.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import Pipeline
    >>> from sktime.datasets import load_unit_test
    >>> from tsmae import TimeMAETransformer
    >>> X, y = load_unit_test(split="train", return_type="numpy3D")
    >>> pipeline = Pipeline([("mae", TimeMAETransformer()), ("lr", LogisticRegression())])
    >>> pipeline = pipeline.set_params(mae__max_epochs=1, mae__d_model=16)
    >>> pipeline.fit(X, y).predict(X).shape
    (20,)
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
    _kept_by_reset = ("_embedded",)  # set before `fit`

    def __init__(
        self,
        window_length: int | str = "auto",
        d_model: int = 128,
        n_heads: int = 4,
        n_layers: int = 4,
        n_decoupled_layers: int = 2,
        dropout: float | str = "auto",
        mask_ratio: float = 0.6,
        n_codewords: int = 192,
        temperature: float = 1.0,
        momentum: float = 0.99,
        mrr_weight: float = 0.0,
        mcc_weight: float | str = "auto",
        label_smoothing: float = 0.2,
        codeword_gradient: bool = True,
        pooling: str | Sequence[str] = (
            "max",
            "std",
            "quarters",
            "autocorrelation",
            "cross_correlation",
            "winners",
        ),
        scaling: str | None = "auto",
        max_epochs: int | str = "auto",
        batch_size: int | str = "auto",
        lr: float | str = "auto",
        weight_decay: float = 0.05,
        lr_schedule: str | None = "one_cycle",
        encoder: Callable[..., torch.nn.Module] | None = None,
        callbacks: Sequence | None = None,
        compile: bool = False,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int | bool = 0,
        *,
        block: str = "pre_norm",
        decoupled_dropout: float | None = None,
        stem: str = "conv",
        window_statistics: bool = True,
        mask_per: str = "series",
        decoupled: bool = True,
        tokenizer: str = "random_projection",
        n_codebooks: int = 4,
        mrr_target: str = "raw",
        reconstruction_weight: float = 0.0,
        spectral_weight: float = 0.0,
        contrast_weight: float | str = "auto",
        contrast_temperature: float = 0.2,
        init: str = "auto",
        train_stem: bool = True,
        augment: bool = False,
        jitter: float = 0.0,
        pooling_layers: str = "ends",
        pooling_resolutions: Sequence[int] = (1, 2, 4),
        pooling_slopes: Sequence[int] = (2, 4),
        pooling_shifts: int = 2,
        standardize: bool = True,
        validation_fraction: float | None = None,
        patience: int | None = None,
        precision: str = "auto",
    ) -> None:
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
        self.contrast_weight = contrast_weight
        self.contrast_temperature = contrast_temperature
        self.init = init
        self.train_stem = train_stem
        self.augment = augment
        self.jitter = jitter
        self.pooling_layers = pooling_layers
        self.pooling_resolutions = pooling_resolutions
        self.pooling_slopes = pooling_slopes
        self.pooling_shifts = pooling_shifts
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.precision = precision
        super().__init__()

    # ------------------------------------------------------------------ the two contracts

    def fit(self, X: Any, y: Any = None) -> Self:
        """Pre-train on a panel.

        Parameters
        ----------
        X : panel of n series with C channels
            Numpy array (n, C, T) or (n, T), the latter n univariate series; list of (C, T_i)
            arrays; DataFrame with an (instance, time) MultiIndex, of which the order of time
            is used and not its spacing (uneven spacing is warned of); list of DataFrames; nested
            DataFrame; or another Panel container of sktime. NaN says that a value was not
            observed; points that are NaN in all channels at the end of a series are its end. A
            flat DataFrame is, as in sktime, a single series.
        y : ignored
            Accepted so that pipelines can pass it. Named as the series are, but in another order,
            it is refused.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or X is not what it must be, before anything is trained; or if the
            loss becomes infinite or NaN.
        """
        with self._fresh_fit():
            self._check_parameters()
            check_is_no_table(X, y)
            read = read_panel(X)
            check_order(y, read.instances)  # for what comes behind in a pipeline
            warn_of_lost_shapes(read.lost)
            super().fit(read.values)
            self._remember_input(read)
        return self

    def transform(self, X: Any, y: Any = None) -> pd.DataFrame:
        """Embed each series.

        Parameters
        ----------
        X : panel
            As in `fit`, with the same channels. Other lengths than in `fit` are taken: on
            series like HAR's, any stretch of which shows the class, a linear probe keeps its
            accuracy up to four times the length, loses one to three points at half of it, and more
            below. Where the shape of the whole series counts, a quarter cut off already costs much.
        y : ignored

        Returns
        -------
        pandas.DataFrame of shape (n, embedding_dim_), float32
            A row a series, under its name where X has names.

        Raises
        ------
        ValueError, TypeError
            If X is not what it must be, or has other channels than in `fit`.
        NotFittedError
            Before `fit`.
        """
        self.check_is_fitted()
        read = read_panel(X)
        self._check_matches_fit(read)
        embeddings = super().transform(read.values)
        embeddings.index = read.instances
        return embeddings

    def fit_transform(self, X: Any, y: Any = None) -> pd.DataFrame:
        """`fit`, then `transform` of the same panel.

        The same numbers in less time: what `fit` embeds to standardise is not embedded again.

        Parameters
        ----------
        X, y
            As in `fit`.

        Returns
        -------
        pandas.DataFrame of shape (n, embedding_dim_), float32
            As from `transform`.
        """
        with self._keeping_embeddings():
            return self.fit(X, y).transform(X)

    def _fit_and_embed(self, X: np.ndarray) -> np.ndarray | None:
        """`fit`; the embeddings of X as from `transform`, if it made those of all series."""
        with self._keeping_embeddings() as kept:
            self.fit(X)
        return kept.embeddings

    @contextmanager
    def _keeping_embeddings(self) -> Iterator[_Embedded]:
        self._embedded = _Embedded()
        try:
            yield self._embedded
        finally:
            del self._embedded

    # ------------------------------------------------------------------ fit and transform

    def _fit(self, X, y=None):
        self.device_ = resolve_device(self.device)
        seed = draw_seed(self.random_state)
        panel = Panel.from_array(X)
        statistics = channel_statistics(panel)
        warn_of_lost_shapes(vanishing_channels(panel, statistics[1]))
        self.config_, self.init_ = self._resolve(panel, statistics[1])
        if self.config_.scaling is None:
            warn_of_unscaled(statistics[1])
        if self.max_epochs:
            self._check_learnable(self.config_, panel)
        self.readout_ = readout_of(self)
        generator = new_generator(seed)
        self._build_modules(generator)
        if self.init_ == "synthetic":
            start_from_synthetic(self.model_.backbone)
            self.model_.restart_target()
        self.model_.backbone.scaling.set_statistics(*statistics)
        self.model_.to(self.device_)
        self.series_encoder_.to(self.device_)
        self.embedding_dim_ = self.series_encoder_.embedding_dim

        self.history_ = self._pretrain(panel, seed)
        self.n_epochs_ = len(self.history_)
        calibrate(self.series_encoder_, panel, self.device_, generator)
        if self.standardize:
            encoder = self.series_encoder_
            embeddings = standardize(encoder, panel, self.device_, generator)
            encoder.resize(column_deviation(self.embedding_dim_))
            embedded = vars(self).get("_embedded")
            if embedded is not None and embeddings is not None:
                embedded.panel, embedded.embeddings = X, encoder.standardized(embeddings)
        return self

    def _transform(self, X, y=None):
        embedded = vars(self).get("_embedded")
        if embedded is not None and embedded.is_of(X):
            embeddings = embedded.embeddings
        else:
            embeddings = embed(self.series_encoder_, Panel.from_array(X), self.device_)
        return embedding_frame(embeddings)

    def _resolve(self, panel: Panel, deviations: np.ndarray) -> tuple[TimeMAEConfig, str]:
        """The architecture for a panel with these deviations of its channels, and its `init_`."""
        if self.d_model % self.n_heads:
            raise ValueError(
                f"The 'd_model' parameter must be a multiple of 'n_heads'. Got "
                f"d_model={self.d_model} and n_heads={self.n_heads} instead."
            )
        shared = set(TimeMAEConfig.__dataclass_fields__) & set(self.get_param_names())
        given = {name: getattr(self, name) for name in shared}
        values = {k: v.item() if isinstance(v, np.generic) else v for k, v in given.items()}
        values["n_channels"] = panel.n_channels
        if values["window_length"] == "auto":
            values["window_length"] = _auto.window_length(panel)
        values["n_positions"] = -(-panel.n_points // values["window_length"])
        if values["scaling"] == "auto":
            values["scaling"] = _auto.scaling(panel, deviations)
        init = self._resolve_init(values)
        objective = _auto.objective(panel, values["window_length"], init)
        values |= {name: value for name, value in objective.items() if values[name] == "auto"}
        if values["dropout"] == "auto":
            values["dropout"] = _auto.dropout(any(values[name] for name in PREDICTING))
        return TimeMAEConfig(**values), init

    def _resolve_init(self, architecture: Mapping[str, Any]) -> str:
        """ "random" or "synthetic", as `init` says."""
        wrong = misfit(architecture)
        if self.encoder is not None:
            wrong["encoder"] = self.encoder
        if self.init == "synthetic" and wrong:
            fits = ", ".join(f"{name}={value!r}" for name, value in ARCHITECTURE.items())
            got = ", ".join(f"{name}={value!r}" for name, value in wrong.items())
            raise ValueError(
                f"init='synthetic' has weights for {fits} and no 'encoder' of your own; otherwise "
                f"allowed are 'auto' and 'random'. Got {got}."
            )
        if self.init == "auto":
            return "random" if wrong or architecture["scaling"] is None else "synthetic"
        return self.init

    def _check_learnable(self, config: TimeMAEConfig, panel: Panel) -> None:
        if config.predicts:
            self._check_predictable(panel, config.window_length)
        elif not config.contrast_weight:
            names = [name for name in config.__dataclass_fields__ if name.endswith("_weight")]
            raise ValueError(
                f"At least one of {names} must be positive, or there is nothing to "
                "learn; max_epochs=0 takes the encoder as it starts."
            )
        elif len(panel) < 2:
            raise ValueError(
                f"contrast_weight={config.contrast_weight} needs at least two series in X to tell "
                "apart, where no other weight is positive. Got a single one."
            )
        elif self.batch_size == 1:
            raise ValueError(
                "The 'batch_size' parameter must be at least 2, or 'auto': series are told apart "
                "from others of their batch, the only objective here. Got 1."
            )

    def _check_predictable(self, panel: Panel, window_length: int, which: str = "X") -> None:
        counts = apply(lambda batch: n_windows(batch.x, window_length), panel, torch.device("cpu"))
        if counts.max() < 2:
            raise ValueError(
                f"At least one series in {which} must have observations in two windows: one to "
                "predict, and one to predict it from; a single last point behind whole windows is "
                f"none. The 'window_length' parameter must be smaller. Got window_length="
                f"{window_length} for series of up to {panel.n_points} time points."
            )

    @property
    def _module_names(self) -> tuple[str, ...]:
        return "model_", "series_encoder_"

    def _build_modules(self, generator: torch.Generator | None = None) -> None:
        """Set `model_` and `series_encoder_`, weights drawn from `generator`."""
        generator = new_generator(0) if generator is None else generator
        encoder = self._build_encoder(generator.initial_seed())
        self.model_ = TimeMAE(self.config_, generator, encoder)
        self.series_encoder_ = SeriesEncoder(self.model_.backbone, **self.readout_)
        self.model_.eval()  # a user's encoder may have dropout of its own

    def _build_encoder(self, seed: int) -> torch.nn.Module | None:
        if self.encoder is None:
            return None
        is_module = isinstance(self.encoder, torch.nn.Module)
        module = None
        if not is_module:
            with isolated_global_rng(seed, self.device_):
                module = _call_with_width(self.encoder, self.d_model)
        if not isinstance(module, torch.nn.Module):
            built = "is one" if is_module else f"built a {type(module).__name__}"
            raise TypeError(
                f"The 'encoder' parameter must be a callable that builds a torch.nn.Module. "
                f"Got {self.encoder!r}, which {built}."
            )
        try:
            return copy.deepcopy(module).float()  # it may be one that others train, too
        except Exception as error:  # of any kind: what a module keeps is its own
            raise TypeError(
                f"The 'encoder' parameter must build a module that can be copied. Got a "
                f"{type(module).__name__}, which cannot: {error}"
            ) from error

    def _pretrain(self, panel: Panel, seed: int) -> list[dict]:
        if not self.max_epochs:
            return []
        held_out = None
        if self.validation_fraction is not None:
            panel, held_out = self._hold_out(panel, self.validation_fraction, seed)
        settings = training_settings(self)
        batch_size, n_epochs = self.batch_size, self.max_epochs
        course = _auto.COURSES[self.init_, self.config_.predicts]
        if batch_size == "auto":
            batch_size = _auto.batch_size(panel, course)
        if n_epochs == "auto":
            n_epochs = _auto.n_epochs(len(batch_starts(len(panel), int(batch_size))), course)
        if self.lr == "auto":
            settings["lr"] = _auto.learning_rate(len(panel), course)
        return pretrain(
            self.model_,
            panel,
            held_out,
            n_epochs=int(n_epochs),
            seed=seed,
            batch_size=int(batch_size),
            train_stem=bool(self.train_stem),
            augment=bool(self.augment),
            jitter=float(self.jitter),
            resolutions=self.series_encoder_.resolutions,
            **settings,
        )

    def _hold_out(self, panel: Panel, fraction: float, seed: int) -> tuple[Panel, Panel]:
        """What is trained on, and what is held out."""
        order = torch.randperm(len(panel), generator=new_generator(seed)).numpy()
        n_held_out = round(fraction * len(panel))
        if not 0 < n_held_out < len(panel):
            raise ValueError(
                f"validation_fraction={fraction} of {len(panel)} series leaves none to hold out, "
                "or none to train on."
            )
        held_out, trained_on = panel[order[:n_held_out]], panel[order[n_held_out:]]
        if self.config_.predicts:
            where = f"of X under validation_fraction={fraction}"
            length = self.config_.window_length
            self._check_predictable(trained_on, length, f"the training part {where}")
            self._check_predictable(held_out, length, f"the held-out part {where}")
        elif min(len(trained_on), len(held_out)) < 2:
            raise ValueError(
                f"validation_fraction={fraction} leaves {len(trained_on)} series to train on and "
                f"{len(held_out)} to hold out. Telling series apart, the only objective here, "
                "needs two of each."
            )
        return trained_on, held_out

    # ------------------------------------------------------------------ looking inside

    def codewords(self, X: Any, codebook: int = 0) -> np.ndarray:
        """Codeword of each window, as the tokenizer assigns it without noise.

        Parameters
        ----------
        X : panel
        codebook : int, default=0
            Which of the `n_codebooks`; another is a ValueError.

        Returns
        -------
        (n, N) int64 array
            In 0 … n_codewords-1; -1 where a window holds no observation, or nothing but a
            single last point behind whole windows.
        """
        panel = self._panel(X)
        check_position("codebook", codebook, self.config_.n_codebooks)
        n_places = -(-panel.n_points // self.config_.window_length)

        def assign(batch):
            ids = self.model_.codewords(batch.x, batch.complete)[..., codebook]
            return torch.nn.functional.pad(ids, (0, n_places - ids.shape[1]), value=-1)

        return apply(assign, panel, self.device_)

    def reconstruction_metrics(self, X: Any) -> dict[str, float]:
        """Pretext losses and metrics on held-out series, with fixed masks and no noise.

        Parameters
        ----------
        X : panel

        Returns
        -------
        dict of float
            ``loss``, ``mrr``, ``mcc``, ``reconstruction``, ``contrast``, ``hit_rate``, ``ndcg``
            (at 10), ``distinct_codewords`` and ``perplexity``, as in `history_`: 0 where an
            objective has no weight. But the contrast is that of batches of 128 series (fewer of
            long ones, as `batch_size` says) at the finest resolution: the more series, the harder
            it is to tell one from the others.

        Raises
        ------
        ValueError
            If no series has two windows with observations, or X is a single series and telling
            series apart the only objective.
        """
        panel = self._panel(X)
        if self.config_.predicts:
            self._check_predictable(panel, self.config_.window_length)
        elif len(panel) < 2:
            raise ValueError(
                "X must hold at least two series to tell apart, the only objective here. Got one."
            )
        finest = min(self.series_encoder_.resolutions)
        batch_size = _auto.metrics_batch_size(panel)
        return evaluate_pretext(self.model_, panel, self.device_, batch_size, finest)

    def _panel(self, X) -> Panel:
        self.check_is_fitted()
        read = read_panel(X)
        self._check_matches_fit(read)
        return Panel.from_array(read.values)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict]:
        """Two small settings for sktime's test suite: the paper's, and the defaults' parts."""
        small = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1}
        short = {"window_length": 4, "max_epochs": 1, "n_codewords": 8, "batch_size": 128}
        exact = {"precision": "float32"}
        return [
            {**presets.PAPER, "scaling": "channel", **small, **short, **exact},
            {
                **small,
                **short,
                **exact,
                "n_codebooks": 2,
                "mcc_weight": 1.0,
                "contrast_weight": 1.0,
            },
        ]


class _Embedded:
    """What `fit` embeds to standardise, kept for who needs it next."""

    panel: np.ndarray | None = None  # (n, C, T)
    embeddings: np.ndarray | None = None  # (n, D)

    def is_of(self, panel: np.ndarray) -> bool:
        return self.panel is not None and np.array_equal(self.panel, panel, equal_nan=True)


def _call_with_width(build: Callable, d_model: int) -> object:
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

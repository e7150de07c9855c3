import math
import os
import pickle
import platform
import random
import signal
import subprocess
import sys
import time
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from _panels import TINY, noise, pad, steps_of, transformer
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, LRScheduler
from torch import nn
from tqdm.auto import tqdm

from tsmae import TimeMAEClassifier, TimeMAETransformer, presets
from tsmae.nn import blocks, timemae
from tsmae.panel import Panel
from tsmae.training import device as device_module
from tsmae.training import inference
from tsmae.training.batches import PanelDataset
from tsmae.training.device import uses_bfloat16
from tsmae.training.nets import FineTuningNet, PretrainingNet, codebook_use
from tsmae.training.randomness import new_generator

METRICS = {
    "loss", "mrr", "mcc", "contrast", "hit_rate", "ndcg", "distinct_codewords", "perplexity",
}  # fmt: skip
OBJECTIVES = ("mrr", "mcc", "contrast")

STILL = {"lr": 1e-12, "weight_decay": 0.0, "lr_schedule": None, "precision": "float32"}


class Decay(Callback):
    """Notes the weight decay that the optimiser has."""

    def on_train_begin(self, net, **kwargs):
        self.seen = {group["weight_decay"] for group in net.optimizer_.param_groups}


def test__history__one_row_an_epoch__all_metrics(panel, small):
    X, _ = panel
    transformer = TimeMAETransformer(**{**small, "max_epochs": 3}).fit(X)
    assert transformer.n_epochs_ == len(transformer.history_) == 3
    assert [row["epoch"] for row in transformer.history_] == [1, 2, 3]
    for row in transformer.history_:
        assert set(row) >= METRICS | {"duration"}
        assert all(math.isfinite(value) for value in row.values())
        expected = sum(getattr(transformer, f"{n}_weight") * row[n] for n in OBJECTIVES)
        assert row["loss"] == pytest.approx(expected, rel=1e-5)
        assert 1 <= row["perplexity"] <= row["distinct_codewords"] + 1e-9
        assert row["distinct_codewords"] <= 8


def test__fit__more_epochs__pretext_is_learned(panel, small):
    X, _ = panel
    settings = {**small, "max_epochs": 60, "lr": 5e-3, "label_smoothing": 0.0}
    transformer = TimeMAETransformer(**settings).fit(X)
    first, last = transformer.history_[0], transformer.history_[-1]
    assert last["loss"] < 0.9 * first["loss"]
    assert last["ndcg"] > first["ndcg"]
    assert transformer.reconstruction_metrics(X)["ndcg"] > first["ndcg"]


def test__fitted_attributes__describe_panel_and_model(panel, small):
    X, _ = panel
    transformer = TimeMAETransformer(**small).fit(X)
    assert transformer.n_channels_in_ == 3
    assert transformer.series_length_ == 40
    assert transformer.transform(X).shape == (24, transformer.embedding_dim_)
    assert transformer.device_ == torch.device("cpu")
    embedding = transformer.transform(X).to_numpy()
    np.testing.assert_allclose(embedding.mean(0), 0, atol=1e-4)
    deviation = np.sqrt(100 / transformer.embedding_dim_)
    np.testing.assert_allclose(embedding.std(0), deviation, rtol=1e-3)
    np.testing.assert_allclose(np.square(embedding).sum(1).mean(), 100, rtol=1e-3)


def test__standardize_off__raw_embeddings(panel, small):
    X, _ = panel
    raw = TimeMAETransformer(**{**small, "standardize": False}).fit_transform(X).to_numpy()
    standard = TimeMAETransformer(**small).fit_transform(X).to_numpy()
    expected = (raw - raw.mean(0)) / raw.std(0) * np.sqrt(100 / raw.shape[1])
    np.testing.assert_allclose(expected, standard, atol=1e-3)
    assert np.abs(raw.mean(0)).max() > 1e-2


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("standardized", [True, False])
def test__fit_transform__as_fit_and_transform_but_embeds_once(
    panel, small, monkeypatch, standardized, sampled
):
    X, _ = panel
    X = np.where(np.arange(40) < 40 - np.arange(24)[:, None, None], X, np.nan)
    if sampled:
        monkeypatch.setattr("tsmae.training.inference._STANDARDIZE_ON", 20)
    settings = {**small, "standardize": standardized}
    expected = TimeMAETransformer(**settings).fit(X).transform(X)
    calls = []
    monkeypatch.setattr(
        "tsmae.transformer.embed", lambda *a: calls.append(a) or inference.embed(*a)
    )
    transformer = TimeMAETransformer(**settings)
    pd.testing.assert_frame_equal(transformer.fit_transform(X), expected, check_exact=True)
    assert len(calls) == (0 if standardized and not sampled else 1)
    assert not {"_embedded"} & set(vars(transformer))
    again = TimeMAETransformer(**settings).fit(X).transform(X[:5])
    np.testing.assert_allclose(transformer.transform(X[:5]), again)
    assert not {"_embedded"} & set(vars(TimeMAETransformer(**settings).fit(X)))


class Steps(TimeMAETransformer):
    """Sees differences of series, in `fit` and in `transform`."""

    def fit(self, X, y=None):
        return super().fit(np.diff(X), y)

    def transform(self, X, y=None):
        return super().transform(np.diff(X))


class Halves(TimeMAETransformer):
    """Embeds other series than it was fitted to."""

    def transform(self, X, y=None):
        return super().transform(X[..., ::2])


class Doubled(TimeMAETransformer):
    """Fits another panel than it is given."""

    def _fit(self, X, y=None):
        return super()._fit(2 * X)


@pytest.mark.parametrize("kind", [Steps, Halves, Doubled])
def test__fit_transform__of_a_subclass__as_its_fit_and_its_transform(panel, small, kind):
    X, _ = panel
    expected = kind(**small).fit(X).transform(X)
    found = kind(**small).fit_transform(X)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    ours = TimeMAETransformer(**small).fit_transform(X)
    assert np.abs(found.to_numpy() - ours.to_numpy()).max() > 1e-2


def test__series_encoder__emits_what_transform_does(panel, small):
    X, _ = panel
    transformer = TimeMAETransformer(**small).fit(X)
    with torch.no_grad():
        shipped = transformer.series_encoder_(torch.from_numpy(X), complete=True).numpy()
    np.testing.assert_allclose(shipped, transformer.transform(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "width"),
    [("mean", 8), (("mean", "max", "std"), 24), (("min", "last"), 16), ("none", 80)],
)
def test__pooling__width_of_the_embedding(panel, small, pooling, width):
    X, _ = panel
    one_view = {
        "pooling_layers": "last",
        "pooling_resolutions": (1,),
        "pooling_slopes": (),
        "pooling_shifts": 1,
    }
    transformer = TimeMAETransformer(**{**small, **one_view, "pooling": pooling}).fit(X)
    assert transformer.embedding_dim_ == width
    assert transformer.transform(X).shape == (24, width)


def test__codewords__ids_in_range__every_codebook(panel, small):
    X, _ = panel
    transformer = TimeMAETransformer(**small).fit(X)
    ids = transformer.codewords(X)
    assert ids.shape == (24, 10)
    assert ids.dtype == np.int64
    assert ids.min() >= 0 and ids.max() < 8
    np.testing.assert_array_equal(ids, transformer.codewords(X))
    with pytest.raises(ValueError, match="codebook=7"):
        transformer.codewords(X, codebook=7)


def test__random_state__same_same_other_other(panel, small):
    X, _ = panel
    first, second = (TimeMAETransformer(**small).fit_transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    other = TimeMAETransformer(**{**small, "random_state": 1}).fit_transform(X)
    assert not np.allclose(first, other)
    shared = np.random.RandomState(0)
    third, fourth = (
        TimeMAETransformer(**{**small, "random_state": shared}).fit_transform(X) for _ in range(2)
    )
    assert not np.allclose(third, fourth)


def test__fit_and_transform__global_generators__untouched(panel, small):
    X, y = panel
    numpy_state = np.random.get_state
    states = random.getstate(), numpy_state()[1].copy(), torch.get_rng_state()
    settings = {**small, "random_state": None}
    TimeMAEClassifier(TimeMAETransformer(**settings), fine_tune="all", max_epochs=1).fit(
        X, y
    ).predict(X)
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(numpy_state()[1], states[1])
    assert torch.equal(torch.get_rng_state(), states[2])


def test__transform__batch_mates_and_batch_size__do_not_matter(panel, small, monkeypatch):
    X, _ = panel
    transformer = TimeMAETransformer(**small).fit(X)
    together = transformer.transform(X).to_numpy()
    alone = np.concatenate([transformer.transform(x[None]) for x in X])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(transformer.transform(X[::-1])[::-1], together, atol=1e-5)
    monkeypatch.setattr("tsmae.training.inference._EMBEDDING_BATCH", 5)
    np.testing.assert_allclose(transformer.transform(X), together, atol=1e-5)


# ---------------------------------------------------------------------------- training


class Count(Callback):
    def initialize(self):
        self.epochs_ = self.batches_ = 0
        return self

    def on_epoch_end(self, net, **kwargs):
        self.epochs_ += 1

    def on_batch_end(self, net, training=False, **kwargs):
        self.batches_ += training


def test__callbacks__of_the_user__are_called(panel, small):
    X, _ = panel
    count = Count()
    settings = {**small, "max_epochs": 2, "batch_size": 10, "callbacks": [("count", count)]}
    TimeMAETransformer(**settings).fit(X)
    assert (count.epochs_, count.batches_) == (2, 6)


class Interrupt(Callback):
    """Raises what Ctrl-C raises, in the middle of an epoch and not from skorch's notify."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            step = net.step

            def interrupted(batch):
                raise KeyboardInterrupt

            net.step = interrupted
            self.step_ = step


def test__ctrl_c__keeps_what_was_learned_and_warns(panel, small):
    X, _ = panel
    settings = {**small, "max_epochs": 50, "lr_schedule": None}
    with pytest.warns(UserWarning, match="Interrupted in epoch 3 of 50"):
        transformer = TimeMAETransformer(**settings, callbacks=[Interrupt()]).fit(X)
    assert transformer.n_epochs_ == 2
    two = TimeMAETransformer(**{**settings, "max_epochs": 2}).fit(X)
    np.testing.assert_array_equal(transformer.transform(X), two.transform(X))
    assert np.isfinite(transformer.transform(X)).all(axis=None)


class Slow(Callback):
    """A person presses Ctrl-C while a callback works."""

    def on_batch_end(self, net, training=False, **kwargs):
        if training and len(net.history) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)


def test__ctrl_c__in_a_callback__warns_too(panel, small):
    settings = {**small, "max_epochs": 50, "lr_schedule": None}
    with pytest.warns(UserWarning, match="Interrupted in epoch 2 of 50"):
        transformer = TimeMAETransformer(**settings, callbacks=[Slow()]).fit(panel[0])
    assert transformer.n_epochs_ == 1


class Limit(Callback):
    """Stops a fit in the way of skorch's callbacks, in the middle of a validation pass."""

    def on_batch_begin(self, net, training=False, **kwargs):
        if not training and len(net.history) == 3:
            raise KeyboardInterrupt


def test__callbacks__stop_in_validation__only_finished_epochs_recorded(panel, small):
    settings = {**small, "max_epochs": 5, "validation_fraction": 0.3, "callbacks": [Limit()]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transformer = TimeMAETransformer(**settings).fit(panel[0])
    assert [row["epoch"] for row in transformer.history_] == [1, 2]
    assert all("valid_loss" in row for row in transformer.history_)


def test__callbacks__keep_neither_optimiser_nor_weights(panel, small):
    X, _ = panel
    callbacks = [
        LRScheduler("StepLR", step_size=1), EarlyStopping(monitor="train_loss", load_best=True)
    ]  # fmt: skip
    settings = {**small, "max_epochs": 2, "lr_schedule": None}
    transformer = TimeMAETransformer(**settings, callbacks=callbacks).fit(X)
    data = pickle.dumps(transformer)
    assert b"torch._utils" not in data and b"AdamW" not in data
    assert joblib.hash(pickle.loads(data)) == joblib.hash(transformer)
    assert callbacks[1].best_epoch_ in (1, 2)  # what they say of the fit stays


@pytest.mark.parametrize(
    ("callback", "monitor"),
    [
        (EarlyStopping(), "valid_loss"),
        (Checkpoint(), "valid_loss_best"),
        (LRScheduler("ReduceLROnPlateau", monitor="valid_loss"), "valid_loss"),
    ],
)
def test__callbacks__wait_for_held_out_series__says_so_before_training(
    panel, small, callback, monitor, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where a checkpoint goes
    own = {"callbacks": [("own", callback)]}
    words = f"'callbacks'.*'{monitor}': set 'validation_fraction'"
    for estimator in (TimeMAETransformer(**small, **own), TimeMAEClassifier(**own)):
        with pytest.raises(ValueError, match=words):
            estimator.fit(*panel)
    TimeMAETransformer(**small, **own, validation_fraction=0.3).fit(panel[0])


@pytest.mark.parametrize("patience", [None, 9])
def test__callbacks__stop_at_the_best_epoch__its_weights_stay(panel, small, patience):
    weights = []

    class StopAfterThree(Callback):
        def on_epoch_end(self, net, **kwargs):
            weights.append([w.detach().clone() for w in net.module_.parameters()])
            if len(net.history) == 3:
                raise KeyboardInterrupt

    settings = {**small, "max_epochs": 5, "callbacks": [StopAfterThree()], "patience": patience}
    fitted = TimeMAETransformer(**settings, validation_fraction=0.3).fit(panel[0])
    valid = [row["valid_loss"] for row in fitted.history_]
    assert int(np.argmin(valid)) == 2 == len(valid) - 1
    kept = list(fitted.model_.parameters())
    assert all(map(torch.equal, kept, weights[2])) and not all(map(torch.equal, kept, weights[1]))


def test__encoder__that_keeps_what_it_computed__can_be_fine_tuned_on_longer_series(panel, small):
    class Growing(nn.Module):
        """Computes positions when first they are needed."""

        def __init__(self, d_model):
            super().__init__()
            self.linear = nn.Linear(d_model, d_model)
            self.positions = torch.zeros(0, d_model)

        def forward(self, x):
            if x.shape[1] > len(self.positions):
                places = torch.arange(x.shape[1])[:, None] * torch.ones_like(x[0, :1])
                self.positions = places.cos()
            return self.linear(x * self.positions[: x.shape[1]])

    X, y = panel
    short = TimeMAETransformer(**small, encoder=Growing).fit(X[:, :, :20])
    tuned = TimeMAEClassifier(FrozenEstimator(short), fine_tune="all", max_epochs=1).fit(X, y)
    assert np.isfinite(tuned.predict_proba(X)).all()


def test__verbose__fit_that_fails__leaves_no_bar_behind(panel, small, monkeypatch):
    bars = []
    monkeypatch.setattr(
        "tsmae.training.callbacks.tqdm", lambda *a, **k: bars.append(tqdm(*a, **k)) or bars[-1]
    )
    with pytest.raises(ValueError, match="diverged"):
        TimeMAETransformer(**{**small, "lr": 1e30, "max_epochs": 9}, verbose=1).fit(panel[0])
    assert len(bars) == 1 and bars[0].disable  # closed


def test__verbose__bar_with_loss_and_time_left(panel, small, capsys):
    X, _ = panel
    TimeMAETransformer(**{**small, "max_epochs": 2}, verbose=1).fit(X)
    shown = capsys.readouterr().err
    assert "pre-training" in shown and "2/2" in shown and "train_loss=" in shown
    TimeMAETransformer(**small).fit(X)
    assert capsys.readouterr() == ("", "")


def test__validation_fraction__held_out_loss_recorded_and_best_restored(panel, small):
    X, _ = panel
    settings = {**small, "max_epochs": 25, "lr": 0.05, "batch_size": 4, "lr_schedule": None}
    transformer = TimeMAETransformer(**settings, validation_fraction=0.25, patience=2).fit(X)
    valid = [row["valid_loss"] for row in transformer.history_]
    best = int(np.argmin(valid)) + 1
    assert len(valid) < 25
    settings["max_epochs"] = best
    stopped = TimeMAETransformer(**settings, validation_fraction=0.25, patience=2).fit(X)
    np.testing.assert_allclose(stopped.transform(X), transformer.transform(X), atol=1e-4)


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", None])
def test__lr_schedule__changes_training(panel, small, schedule):
    X, _ = panel
    rates = []

    class Record(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    settings = {**small, "max_epochs": 5, "batch_size": 6, "lr": 0.01, "lr_schedule": schedule}
    TimeMAETransformer(**settings, callbacks=[Record()]).fit(X)
    assert len(rates) == 20
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    if schedule is None:
        assert len(set(rates)) == 1
    else:
        assert rates[-1] < 1e-3
    if schedule == "one_cycle":
        assert rates[0] < 1e-3


def test__precision_bfloat16__close_to_float32(panel, small):
    X, _ = panel
    settings = {**small, "max_epochs": 3}
    exact = TimeMAETransformer(**settings).fit(X)
    fast = TimeMAETransformer(**{**settings, "precision": "bfloat16"}).fit(X)
    assert fast.history_[-1]["loss"] == pytest.approx(exact.history_[-1]["loss"], rel=0.05)
    assert fast.history_[-1]["loss"] != exact.history_[-1]["loss"]
    assert all(p.dtype == torch.float32 for p in fast.model_.parameters())


def test__precision_bfloat16_on_a_cpu__fused_attention_in_float32(panel, small, monkeypatch):
    attend, seen = torch.nn.functional.scaled_dot_product_attention, set()

    def spy(*parts, **settings):
        mixed = attend(*parts, **settings)
        seen.add((parts[0].dtype, mixed.dtype))
        return mixed

    monkeypatch.setattr(blocks, "_FEW_KEYS", 0)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    settings = {**small, "max_epochs": 1, "precision": "bfloat16"}
    TimeMAETransformer(**settings).fit(panel[0])
    assert seen == {(torch.float32, torch.float32)}


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, True),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True, "amx_bf16": False}, True),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": False, "amx_bf16": False}, False),
        ({"architecture": "arm64", "bf16": True}, False),
        ({}, False),
    ],
)
def test__precision_auto__bfloat16_where_products_are_faster(monkeypatch, cpu, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    assert uses_bfloat16("auto", torch.device("cpu")) is expected
    assert uses_bfloat16("bfloat16", torch.device("cpu"))
    assert not uses_bfloat16("float32", torch.device("cpu"))


# ---------------------------------------------------------------------------- encoder swap


class Mixer(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        self.gru = nn.GRU(d_model, d_model, batch_first=True)

    def forward(self, x):
        return self.gru(x)[0]


class PaddedMixer(Mixer):
    def forward(self, x, padding_mask=None):
        if padding_mask is not None:
            x = x.masked_fill(padding_mask[..., None], 0.0)
        return x + x.cumsum(1)


class InPlace(Mixer):
    def forward(self, x, padding_mask=None):
        if padding_mask is not None:
            x[padding_mask] = 0.0
        x += 1.0
        return self.gru(x)[0]


class Transformer(nn.Module):
    def __init__(self, d_model):
        super().__init__()
        layer = nn.TransformerEncoderLayer(d_model, 2, 2 * d_model, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)

    def forward(self, x, padding_mask=None):
        return self.layers(x, src_key_padding_mask=padding_mask)


def build_without_argument():
    return Mixer(8)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("build", [InPlace, Transformer])
def test__encoder__in_place_or_of_torch__trains_and_embeds(panel, small, build, precision):
    X, y = panel
    X = X.astype(np.float32)
    X[::2, :, -9:] = np.nan
    settings = {**small, "encoder": build, "validation_fraction": 0.3, "mrr_weight": 1.0}
    fitted = TimeMAETransformer(**settings | {"precision": precision}).fit(X)
    together = fitted.transform(X)
    np.testing.assert_allclose(fitted.transform(X[:3]), together[:3], atol=1e-3)
    tuned = TimeMAEClassifier(
        FrozenEstimator(fitted), "all", 1, validation_fraction=0.3, precision=precision
    ).fit(X, y)
    assert np.isfinite(tuned.predict_proba(X)).all()


@pytest.mark.parametrize("build", [Mixer, build_without_argument, PaddedMixer])
def test__encoder__any_module__trains_embeds_and_pickles(panel, small, build):
    X, _ = panel
    settings = {**small, "encoder": build, "max_epochs": 2}
    transformer = TimeMAETransformer(**settings).fit(X)
    fresh = TimeMAETransformer(**{**settings, "max_epochs": 0}).fit(X)
    trained = dict(transformer.model_.backbone.encoder.named_parameters())
    for name, start in fresh.model_.backbone.encoder.named_parameters():
        assert build is PaddedMixer or not torch.equal(start, trained[name])
    again = TimeMAETransformer(**settings).fit(X)
    np.testing.assert_array_equal(transformer.transform(X), again.transform(X))
    copy = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(transformer.transform(X), copy.transform(X))


def test__encoder__gaps__need_a_padding_mask(panel, small):
    X, _ = panel
    X = X.copy()
    X[3, :, 20:] = np.nan
    with pytest.raises(ValueError, match="padding_mask"):
        TimeMAETransformer(**small, encoder=Mixer).fit(X)
    assert np.isfinite(TimeMAETransformer(**small, encoder=PaddedMixer).fit_transform(X)).all(
        axis=None
    )


def test__encoder__gap_within_windows__needs_no_padding_mask(panel, small):
    X, _ = panel
    X = X.copy()
    X[3, 0, 5] = np.nan
    transformer = TimeMAETransformer(**small, encoder=Mixer).fit(X)
    assert np.isfinite(transformer.transform(X)).all(axis=None)


def test__encoder__tail_that_no_series_has__needs_no_padding_mask(panel, small):
    X = panel[0][:, :, :33].copy()  # a single point behind eight windows
    complete = TimeMAETransformer(**small, encoder=Mixer).fit(X)
    X[3, 0, 5] = np.nan
    embeddings = complete.transform(X)
    others = np.arange(24) != 3
    whole = complete.transform(panel[0][:, :, :33])[others]
    np.testing.assert_allclose(embeddings[others], whole, atol=1e-5)
    assert np.isfinite(TimeMAETransformer(**small, encoder=Mixer).fit_transform(X)).all(axis=None)
    X[3, :, 20:] = np.nan
    with pytest.raises(ValueError, match="padding_mask"):
        complete.transform(X)


class Halved(Mixer):
    """Computes in bfloat16."""

    def forward(self, x):
        return super().forward(x).bfloat16()


def test__encoder__of_another_type__embeddings_are_float32(panel, small):
    X, _ = panel
    settings = {**small, "pooling": ("mean", "winners"), "pooling_layers": "last"}
    embedding = TimeMAETransformer(**settings, encoder=Halved).fit(X).transform(X)
    assert (embedding.dtypes == np.float32).all() and np.isfinite(embedding).all(axis=None)


class Strict(Mixer):
    """Refuses series without a position, and keeps a buffer as long as its input."""

    def __init__(self, d_model):
        super().__init__(d_model)
        self.register_buffer("seen", torch.zeros(0))

    def forward(self, x, padding_mask=None):
        assert padding_mask is None or not padding_mask.all(1).any()
        self.seen = torch.zeros(x.shape[1])
        return super().forward(x)


@pytest.mark.parametrize("decoupled", [True, False])
def test__encoder__target_and_mask_tokens__always_something_to_attend_to(panel, small, decoupled):
    X, _ = panel
    X = X.copy()
    X[3, :, 4:] = np.nan  # one window, which is not masked
    settings = {**small, "mrr_weight": 1.0, "mcc_weight": 1.0, "decoupled": decoupled}
    assert TimeMAETransformer(**settings, encoder=Strict).fit(X).n_epochs_ == 1


class Normed(nn.Module):
    """Keeps statistics of its own, in buffers."""

    def __init__(self, d_model):
        super().__init__()
        self.norm = nn.BatchNorm1d(d_model)

    def forward(self, x):
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


def test__target_encoder__moves_after_steps_of_training_alone(panel, small, monkeypatch):
    calls, update = [], timemae.TimeMAE.update_target
    monkeypatch.setattr(timemae.TimeMAE, "update_target", lambda m: calls.append(m) or update(m))
    settings = {**small, "mrr_weight": 1.0, "batch_size": 6, "validation_fraction": 0.25}
    TimeMAETransformer(**settings | {"max_epochs": 2}).fit(panel[0])
    assert len(calls) == 2 * 3  # of 18 series; the six held out are not trained on


def test__encoder__with_buffers_or_without_weights__target_encoder_follows(panel, small):
    X, _ = panel
    settings = {**small, "mrr_weight": 1.0, "max_epochs": 3}
    model = TimeMAETransformer(**settings, encoder=Normed).fit(X).model_
    online, target = model.backbone.encoder.module.norm, model.target_encoder.module.norm
    assert online.running_mean.abs().max() > 0
    torch.testing.assert_close(target.running_mean, online.running_mean)
    torch.testing.assert_close(target.running_var, online.running_var)
    assert TimeMAETransformer(**settings, encoder=nn.Identity).fit(X).n_epochs_ == 3


def test__encoder__wrong_shape_or_type__clear_error(panel, small):
    X, _ = panel
    with pytest.raises(ValueError, match=r"must map \(B, N, d\) to the same shape"):
        TimeMAETransformer(**small, encoder=lambda d: nn.Linear(d, d + 1)).fit(X)
    with pytest.raises(TypeError, match=r"encoder=LSTM must return one tensor.*a tuple"):
        TimeMAETransformer(**small, encoder=lambda d: nn.LSTM(d, d, batch_first=True)).fit(X)
    with pytest.raises(TypeError, match=r"builds a torch\.nn\.Module"):
        TimeMAETransformer(**small, encoder=lambda d: "bert").fit(X)


# ---------------------------------------------------------------------------- device


def test__device__by_name_or_object__same(panel, small):
    X, _ = panel
    expected = TimeMAETransformer(**small).fit_transform(X)
    for device in ("cpu", torch.device("cpu"), "auto"):
        transformer = TimeMAETransformer(**small, device=device).fit(X)
        if transformer.device_.type == "cpu":
            np.testing.assert_array_equal(transformer.transform(X), expected)


@pytest.mark.parametrize("device", ["cuda:7", "tpu", "cpu:x"])
def test__device__not_there__error_lists_what_is(panel, small, device):
    X, _ = panel
    with pytest.raises(ValueError, match=rf"device='{device}'.*'cpu'"):
        TimeMAETransformer(**small, device=device).fit(X)
    with pytest.raises(ValueError, match="device"):
        TimeMAEClassifier(TimeMAETransformer(**small), device=device).fit(X, panel[1])


def test__device__auto__takes_cuda_and_not_what_was_never_run(monkeypatch):
    monkeypatch.setattr(device_module, "available_devices", lambda: ["cpu", "mps"])
    assert device_module.resolve_device("auto").type == "cpu"
    assert device_module.resolve_device("mps").type == "mps"
    monkeypatch.setattr(device_module, "available_devices", lambda: ["cpu", "cuda", "cuda:0"])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for name in ("auto", "cuda"):  # the current one, which may be another one later
        assert device_module.resolve_device(name) == torch.device("cuda:0")
    assert device_module.resolve_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ValueError, match="cuda:1"):
        device_module.resolve_device("cuda:1")


def test__pickle__fitted_on_cuda__loads_on_the_cpu_where_there_is_none(panel, small, monkeypatch):
    """A fit on CUDA is faked: the recorded device."""
    X, y = panel
    monkeypatch.setattr(device_module, "available_devices", lambda: ["cpu"])
    classifier = TimeMAEClassifier(
        TimeMAETransformer(**small), fine_tune="all", max_epochs=1, random_state=0
    )
    classifier.fit(X, y)
    expected = classifier.predict_proba(X)
    for estimator in (classifier, classifier.transformer_):
        estimator.device_ = torch.device("cuda:1")
    data = pickle.dumps(classifier)
    assert b"torch._utils" not in data  # no tensor, which would ask for its device: only arrays
    with pytest.warns(UserWarning, match="was fitted on cuda:1, which is not available"):
        loaded = pickle.loads(data)
    assert loaded.device_ == loaded.transformer_.device_ == torch.device("cpu")
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test__cuda__fit_embeds_and_pickles_as_on_the_cpu(panel, small, tmp_path):
    X, y = panel
    transformer = TimeMAETransformer(**small, device="cuda").fit(X)
    assert next(transformer.model_.parameters()).device.type == "cuda"
    embedding = transformer.transform(X).to_numpy()
    copy = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(copy.transform(X), embedding)
    copy._to_device(torch.device("cpu"))
    np.testing.assert_allclose(copy.transform(X), embedding, atol=1e-4)
    transformer.save(tmp_path / "model")
    loaded = TimeMAETransformer.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(X), embedding)
    classifier = TimeMAEClassifier(
        TimeMAETransformer(**small), device="cuda", fine_tune="all", max_epochs=2
    )
    assert classifier.fit(X, y).predict(X).shape == (24,)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test__cuda__classifier_of_a_frozen_transformer__pickles_on_either_device(panel, small, device):
    X, y = panel
    X = X.copy()
    X[:6, :, -10:] = np.nan
    frozen = FrozenEstimator(TimeMAETransformer(**small, device="cuda").fit(X))
    marked = np.where(np.arange(len(y)) % 6 == 5, -1, y)
    settings = {"unlabeled": -1, "self_training": 0.75, "class_weight": "balanced", "max_epochs": 1}
    classifier = TimeMAEClassifier(
        frozen, fine_tune="all", validation_fraction=0.3, device=device, **settings
    )
    expected = classifier.fit(X, marked).predict_proba(X)
    loaded = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)


@pytest.mark.slow
def test__compile__same_as_eager_within_tolerance_and_pickles(panel, small):
    X, _ = panel
    settings = {**small, "dropout": 0.0, "max_epochs": 2, "jitter": 0.3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = TimeMAETransformer(**settings, compile=True).fit(X)
    eager = TimeMAETransformer(**settings).fit(X)
    expected = eager.transform(X).to_numpy()
    np.testing.assert_allclose(compiled.transform(X), expected, atol=0.05 * expected.std())
    copy = pickle.loads(pickle.dumps(compiled))
    np.testing.assert_array_equal(copy.transform(X), compiled.transform(X))


@pytest.mark.slow
def test__compile__of_fine_tuning__same_as_eager_within_tolerance(panel, small):
    X, y = panel
    frozen = FrozenEstimator(TimeMAETransformer(**{**small, "dropout": 0.0}).fit(X))
    settings = {"fine_tune": "all", "max_epochs": 2, "jitter": 0.3, "precision": "float32"}
    compiled, eager = (
        TimeMAEClassifier(frozen, **settings, compile=compile, random_state=0).fit(X, y)
        for compile in (True, False)
    )
    probabilities = [c.predict_proba(X) for c in (compiled, eager)]
    np.testing.assert_allclose(*probabilities, atol=0.02)


def test__callbacks__checkpoint_and_names_of_our_own__work(panel, small, tmp_path):
    X, _ = panel
    settings = {**small, "max_epochs": 3, "validation_fraction": 0.5}
    keep = Checkpoint(dirname=str(tmp_path))
    names = ["early_stopping", "progress", "target_update", "lr_schedule"]
    callbacks = [keep, *((name, Count()) for name in names)]
    transformer = TimeMAETransformer(**settings, callbacks=callbacks).fit(X)
    assert (tmp_path / "params.pt").exists()
    assert all(count.epochs_ == 3 for _, count in callbacks[1:])
    assert not any(name.endswith("_best") for row in transformer.history_ for name in row)


def test__reconstruction_metrics__one_series_and_only_the_contrast__says_so(panel, small):
    X, _ = panel
    told_apart = {**small, "mcc_weight": 0.0, "mrr_weight": 0.0, "contrast_weight": 1.0}
    transformer = TimeMAETransformer(**told_apart).fit(X)
    with pytest.raises(ValueError, match="X must hold at least two series"):
        transformer.reconstruction_metrics(X[:1])
    assert transformer.reconstruction_metrics(X[:2])["contrast"] > 0


def test__reconstruction_metrics__all_weights_frozen__the_same(panel, small):
    X, _ = panel
    transformer = TimeMAETransformer(**small).fit(X)
    expected = transformer.reconstruction_metrics(X)
    transformer.model_.requires_grad_(False)
    assert transformer.reconstruction_metrics(X) == expected


def test__reconstruction_metrics__contrast_at_the_finest_resolution_of_training(
    panel, small, monkeypatch
):
    settings = {**small, "contrast_weight": 1.0, "pooling_resolutions": (4, 2)}
    transformer = TimeMAETransformer(**settings).fit(panel[0])
    seen = []
    average = timemae.average_down
    monkeypatch.setattr(
        timemae, "average_down", lambda x, r, complete: seen.append(r) or average(x, r, complete)
    )
    transformer.reconstruction_metrics(panel[0])
    assert set(seen) == {2}


def test__reconstruction_metrics__values_far_from_those_in_fit__says_so(panel, small):
    X, _ = panel
    transformer = TimeMAETransformer(**small).fit(X)
    with pytest.raises(ValueError, match=r"The loss on X is not finite. Its values, up to 1e\+30"):
        transformer.reconstruction_metrics(np.full_like(X, 1e30))


def test__batch_size__one_and_only_the_contrast__says_so(panel, small):
    X, _ = panel
    told_apart = {**small, "mcc_weight": 0.0, "mrr_weight": 0.0, "contrast_weight": 1.0}
    with pytest.raises(ValueError, match="'batch_size' parameter must be at least 2"):
        TimeMAETransformer(**{**told_apart, "batch_size": 1}).fit(X)
    random = TimeMAETransformer(**{**told_apart, "batch_size": 1, "max_epochs": 0})
    assert np.isfinite(random.fit_transform(X).to_numpy()).all()


def test__validation_fraction__nothing_to_predict_in_what_is_held_out__says_so(panel, small):
    X, _ = panel
    predicting = {**small, "mcc_weight": 1.0, "contrast_weight": 0.0, "window_length": 8}
    short = X.copy()
    short[1:, :, 8:] = np.nan  # all but one have a single window
    words = r"the (training|held-out) part of X under validation_fraction=0.5 must have"
    with pytest.raises(ValueError, match=words):
        TimeMAETransformer(**predicting, validation_fraction=0.5).fit(short)


# ---------------------------------------------------------------------------- surroundings


def test__gradients_switched_off_or_another_default_dtype__as_without(panel, small):
    X, y = panel
    classifier = TimeMAEClassifier(
        TimeMAETransformer(**{**small, "contrast_weight": 1.0}), "all", 1, random_state=0
    )
    expected = classifier.fit(X, y).predict_proba(X)
    with torch.inference_mode():
        np.testing.assert_array_equal(classifier.fit(X, y).predict_proba(X), expected)
    holed = np.where(np.arange(X.shape[2]) % 3 == 0, X, np.nan)
    before = TimeMAETransformer(**small).fit(X)
    embedded = before.transform(holed)
    try:
        torch.set_default_dtype(torch.bfloat16)
        np.testing.assert_array_equal(before.transform(holed), embedded)
        torch.set_default_dtype(torch.float64)
        found = classifier.fit(X, y)
        assert found.predict_proba(X).shape == expected.shape
        assert (found.transform(X).dtypes == np.float32).all()
        assert all(p.dtype == torch.float32 for p in found.transformer_.model_.parameters())
        longer = np.tile(X, 2)
        assert np.isfinite(found.predict_proba(longer)).all()
        assert np.isfinite(list(found.transformer_.reconstruction_metrics(longer).values())).all()
    finally:
        torch.set_default_dtype(torch.float32)


def test__history__another_default_dtype__counts_every_codeword(small):
    X = np.random.default_rng(0).normal(size=(200, 1, 40))
    few = {**small, "n_codewords": 2, "mcc_weight": 1.0}  # each more often than bfloat16 can count

    def counted():
        row = TimeMAETransformer(**few).fit(X).history_[-1]
        return row["perplexity"], row["distinct_codewords"]

    expected = counted()
    try:
        torch.set_default_dtype(torch.bfloat16)
        assert counted() == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test__transform__one_long_series__leaves_batches_of_short_ones_large(monkeypatch, small):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(1, 20)).astype(np.float32) for _ in range(40)]
    fitted = TimeMAETransformer(**{**small, "max_epochs": 0}).fit(X)
    alone = fitted.transform(X)
    monkeypatch.setattr("tsmae.training.inference._CACHED_POINTS", 200)
    sizes, forward = [], type(fitted.series_encoder_).forward

    def spy(self, x, *args):
        sizes.append(len(x))
        return forward(self, x, *args)

    monkeypatch.setattr(type(fitted.series_encoder_), "forward", spy)
    beside = fitted.transform([*X, rng.normal(size=(1, 300)).astype(np.float32)])
    assert sorted(sizes) == [1, 10, 10, 10, 10]
    np.testing.assert_allclose(beside[:40], alone, atol=1e-4)


# ---------------------------------------------------------------------------- metrics


def test__metrics__windows_and_series__each_a_mean_over_its_own(small):
    """Half of the series have a single window: they are contrasted, and nothing is predicted."""
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(1, 40)) for _ in range(8)] + [rng.normal(size=(1, 4)) for _ in range(8)]
    settings = {**small, "mrr_weight": 0.0, "mcc_weight": 1.0, "window_length": 4}
    found = []
    for weight in (0.0, 1.0):
        for size in (8, 16):
            fitted = TimeMAETransformer(**{**settings, "contrast_weight": weight}).fit(X)
            net = PretrainingNet(fitted.model_, device="cpu", batch_size=size).initialize()
            net.history.new_epoch()
            iterator = net.get_iterator(PanelDataset(Panel.from_array(pad(X, 40))), training=False)
            net.run_single_epoch(iterator, False, "valid", net.validation_step)
            row = net.history[-1]
            total = row["valid_mcc"] + weight * row["valid_contrast"]
            assert row["valid_loss"] == pytest.approx(total, rel=1e-5)
            found.append((row["valid_mcc"], row["valid_hit_rate"]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    # crops draw other masks then; counted as windows, the short series would take 14 % off
    assert found[2][0] == pytest.approx(found[3][0], rel=0.05)


def test__valid_loss__class_weight__same_in_batches_of_any_size(panel, small):
    X, y = panel
    y = np.where(np.arange(24) < 20, 0, 1)
    losses = []
    for size in (24, 5, 1):
        fitted = TimeMAEClassifier(TimeMAETransformer(**small), "head", random_state=0).fit(X, y)
        weight = torch.tensor([0.6, 3.0])
        net = FineTuningNet(fitted.model_, class_weight=weight, batch_size=size, device="cpu")
        net.initialize().history.new_epoch()
        iterator = net.get_iterator(PanelDataset(Panel.from_array(X), y), training=False)
        net.run_single_epoch(iterator, False, "valid", net.validation_step)
        losses.append(net.history[-1, "valid_loss"])
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-4)


@pytest.mark.parametrize("standardize", [True, False])
def test__winners__units_are_those_of_the_panel(panel, small, standardize):
    X, _ = panel
    settings = {**small, "pooling": ("max", "winners"), "standardize": standardize}
    encoder = TimeMAETransformer(**settings).fit(X).series_encoder_
    with torch.no_grad():
        moments = encoder.moments(torch.from_numpy(X).float(), complete=True).numpy()
    means, deviations = moments[:, :, :, 0], moments[:, :, :, 1]
    np.testing.assert_allclose(encoder.unit_location, means.mean(0), atol=1e-5)
    scale = np.sqrt(np.square(deviations).mean(0) + means.var(0))
    np.testing.assert_allclose(encoder.unit_scale, scale, rtol=1e-4)


def test__batches__on_a_device__smaller_the_more_channels():
    sizes = []
    for n_channels in (1, 63, 128):
        panel = Panel.from_array(np.zeros((300, n_channels, 2**13), np.float32))
        batches = inference._batches_by_length(panel, torch.device("meta"))
        sizes.append(batches[0].stop)
    assert sizes == [128, 128, 32]


_FAULTS = """
import resource, numpy as np, torch
from skorch.callbacks import Callback
from tsmae import TimeMAETransformer, presets

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

class AtEpochs(Callback):
    def on_epoch_begin(self, net, **kwargs):
        counts.append(faults())

torch.set_num_threads(1)
X, counts = np.zeros((1024, 9, 128), np.float32), []
paper = {**presets.PAPER, "callbacks": [AtEpochs()]}
"""
_OF_TRAINING = "TimeMAETransformer(**{**paper, 'max_epochs': 5}).fit(X)"
_OF_EMBEDDING = """
transformer = TimeMAETransformer(**{**paper, "max_epochs": 0}).fit(X[:2])
for _ in range(4):
    transformer.transform(X)
    counts.append(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="its allocator")
@pytest.mark.parametrize("work", [_OF_TRAINING, _OF_EMBEDDING], ids=["training", "embedding"])
def test__batches__memory_of_one_is_there_for_the_next(work):
    """In a fresh process, since a large block that anything else freed has the same effect."""
    script = _FAULTS + work + "\nprint(counts[-1] - counts[1])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 3000  # pages


def test__held_out_loss__same_masks_and_crops_in_each_epoch(panel, small):
    settings = {**small, **STILL, "max_epochs": 3, "validation_fraction": 0.5, "momentum": 1.0}
    history = TimeMAETransformer(**settings).fit(panel[0]).history_
    held_out, trained = ([row[name] for row in history] for name in ("valid_loss", "loss"))
    assert held_out == pytest.approx(3 * held_out[:1], rel=1e-6)
    assert np.ptp(trained) > 1e-3


def test__augment__held_out_series_are_not_cropped(panel, small):
    settings = {**small, **STILL, "validation_fraction": 0.5, "contrast_weight": 0.0}
    cropped, whole = (
        TimeMAETransformer(**settings | {"augment": augment}).fit(panel[0]).history_[0]
        for augment in (True, False)
    )
    assert cropped["valid_loss"] == pytest.approx(whole["valid_loss"], rel=1e-6)
    assert abs(cropped["loss"] - whole["loss"]) > 1e-3


def test__metrics__use_of_codebooks__against_numpy():
    counts = torch.tensor([[2, 2, 0, 0], [3, 1, 0, 0], [5, 0, 0, 0], [0, 0, 0, 0]])
    use = codebook_use(counts)
    assert use["distinct_codewords"] == (2 + 2 + 1 + 0) / 4
    uneven = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert use["perplexity"] == pytest.approx((2 + uneven + 1 + 0) / 4)


def test__weight_decay__is_that_of_the_optimiser(panel, small):
    X, y = panel
    own, tuning = Decay(), Decay()
    transformer = TimeMAETransformer(**small | {"weight_decay": 0.3}, callbacks=[own]).fit(X)
    TimeMAEClassifier(
        FrozenEstimator(transformer), "all", 1, weight_decay=0.0, callbacks=[tuning]
    ).fit(X, y)
    assert (own.seen, tuning.seen) == ({0.3}, {0.0})


def test__hold_out__at_random_and_apart_from_what_is_trained_on(monkeypatch):
    seen = steps_of(monkeypatch, "x")
    X, held_out = noise(20), []
    for seed in (0, 1):
        seen.clear()
        settings = {"max_epochs": 1, "validation_fraction": 0.3, "random_state": seed}
        TimeMAETransformer(**TINY, **settings).fit(X)
        parts = {t: torch.cat([x for k, x in seen if k == t])[:, 0, 0].tolist() for t in (0, 1)}
        assert sorted(parts[0] + parts[1]) == sorted(X[:, 0, 0].tolist())
        assert len(parts[0]) == 6
        held_out.append(set(parts[0]))
    assert held_out[0] != held_out[1]


def test__sample__at_random():
    panel = Panel.from_array(np.arange(100.0).reshape(100, 1, 1))
    one, other = (inference._sample(panel, 10, new_generator(s)).values.ravel() for s in (0, 1))
    assert len(set(one)) == 10 and set(one) != set(other)
    assert one.max() > 50
    assert inference._sample(panel, 100, new_generator(0)) is panel


def test__codewords__of_a_codebook__are_its_own(panel):
    X, _ = panel
    small = TimeMAETransformer.get_test_params()[1]
    transformer = TimeMAETransformer(**{**small, "max_epochs": 0, "random_state": 0}).fit(X)
    ids = transformer.model_.codewords(torch.from_numpy(X)).numpy()
    for codebook in (0, 1):
        np.testing.assert_array_equal(transformer.codewords(X, codebook), ids[..., codebook])
    assert (ids[..., 0] != ids[..., 1]).any()


def test__pooling_none__coarser_reading__a_place_for_each_window():
    X = np.random.default_rng(0).normal(size=(6, 1, 20))  # five windows; three of the means
    fitted = transformer(pooling="none", pooling_resolutions=(1, 2), max_epochs=0)
    assert fitted.fit_transform(X).shape == (6, (5 + 3) * 8)


@torch.no_grad()
def test__slope_scale__without_winners__of_the_panel(panel, small):
    X, _ = panel
    settings = {**small, "pooling": "mean", "pooling_slopes": (1, 2), "max_epochs": 0}
    encoder = TimeMAETransformer(**settings).fit(X).series_encoder_
    squares, counts = encoder.squared_slopes(torch.from_numpy(X), True).sum(0).unbind(1)
    torch.testing.assert_close(encoder.slope_scale, (squares / counts).sqrt())


def test__encoder__argument_with_a_default__keeps_it(panel, small):
    depths = []

    def with_a_depth(depth=3):
        depths.append(depth)
        return nn.Identity()

    TimeMAETransformer(**{**small, "encoder": with_a_depth, "max_epochs": 0}).fit(panel[0])
    assert depths == [3]


def test__memory_for_speed__not_there__is_done_without(monkeypatch):
    asked = []

    def refused(n_bytes, **kwargs):
        asked.append(n_bytes)
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(torch, "UntypedStorage", refused)
    device_module.keep_freed_memory()
    assert asked


def test__paper__what_its_docstring_says_in_numbers():
    said = {"mrr_weight": 5.0, "decoupled_dropout": 0.1, "codeword_gradient": False}
    said |= {"mask_per": "batch", "scaling": None, "block": "timemae", "standardize": True}
    assert said.items() <= presets.PAPER.items()
    said = {"weight_decay": 0.0, "label_smoothing": 0.1, "fine_tune": "all"}
    assert said.items() <= presets.PAPER_FINE_TUNING.items()


def test__verbose__bar_shows_the_held_out_loss_too(panel, small, capsys):
    X, _ = panel
    TimeMAETransformer(**small, verbose=1, validation_fraction=0.25).fit(X)
    shown = capsys.readouterr().err
    assert "train_loss=" in shown and "valid_loss=" in shown


def test__encoder__of_the_user__starts_with_its_own_weights(panel, small):
    X, _ = panel

    def build(d_model):
        layer = torch.nn.Linear(d_model, d_model)
        torch.nn.init.constant_(layer.weight, 0.25)
        return layer

    fitted = TimeMAETransformer(**{**small, "max_epochs": 0}, encoder=build).fit(X)
    (layer,) = [m for m in fitted.model_.backbone.encoder.modules() if type(m) is torch.nn.Linear]
    assert (layer.weight == 0.25).all()


def test__sample__of_one_seed__the_same_again():
    panel = Panel.from_array(np.arange(100.0).reshape(100, 1, 1))
    one, again = (inference._sample(panel, 10, new_generator(0)).values for _ in range(2))
    np.testing.assert_array_equal(one, again)

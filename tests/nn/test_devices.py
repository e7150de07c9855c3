"""Every tensor that the modules make is on the device of what they were given.

torch's default device is "meta" here, one without numbers: a tensor that is made on it instead
of the input's device cannot meet the others. So it is known of any device, without a GPU.
"""

import numpy as np
import pytest
import torch
from _panels import architecture
from torch.utils._python_dispatch import TorchDispatchMode

from tsmae.nn import SeriesClassifier, SeriesEncoder, TimeMAE
from tsmae.nn.pooling import STATISTICS
from tsmae.training.augmentation import crop_and_stretch
from tsmae.training.batches import Batch
from tsmae.training.nets import FineTuningNet
from tsmae.training.randomness import new_generator

SETTINGS = {
    "learned": {"tokenizer": "learned", "mrr_weight": 1.0, "mask_per": "batch"},
    "projection": {"tokenizer": "random_projection", "n_codebooks": 2, "stem": "conv"},
    "statistics": {"window_statistics": True, "block": "pre_norm", "contrast_weight": 1.0},
    "reconstruction": {"reconstruction_weight": 1.0, "spectral_weight": 1.0, "mcc_weight": 0.0},
    "coupled": {"decoupled": False, "mrr_weight": 1.0, "mrr_target": "layer_norm"},
    "per series": {"scaling": "instance", "dropout": 0.2, "decoupled_dropout": 0.2},
}


def build(**settings) -> TimeMAE:
    small = {"d_model": 16, "n_heads": 2, "n_layers": 1, "n_decoupled_layers": 1}
    config = architecture(
        **{"n_channels": 3, "n_positions": 10, "window_length": 4, "n_codewords": 12}
        | small
        | settings
    )
    return TimeMAE(config, new_generator(0)).train()


@pytest.fixture(params=[True, False], ids=["complete", "gaps and tails"])
def batch(request):
    """(B, C, T) and whether nothing is missing in it."""
    x = np.random.default_rng(0).normal(size=(6, 3, 40)).astype(np.float32)
    if not request.param:
        x[:2, :, 23:] = np.nan
        x[3, 1, 5:19] = np.nan
    return torch.from_numpy(x), request.param


@pytest.fixture(params=[False, True], ids=["float32", "bfloat16"])
def precision(request):
    return torch.autocast("cpu", torch.bfloat16, enabled=request.param, cache_enabled=False)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test__pre_training__makes_tensors_where_the_batch_is(settings, batch, precision):
    model = build(n_positions=7, **settings)  # fewer than the series have
    (x, complete), generator = batch, new_generator(0)
    with torch.device("meta"), precision:
        views = crop_and_stretch(x, generator), crop_and_stretch(x, generator)
        pretext = model(x, generator, complete, views, resolution=2, jitter_deviation=0.1)
        pretext.loss.backward()
        model.update_target()
        codewords = model.codewords(x, complete)
    assert pretext.loss.isfinite()
    tensors = [value for value in (*pretext, codewords) if isinstance(value, torch.Tensor)]
    assert {value.device.type for value in tensors} == {"cpu"}


class Waits(TorchDispatchMode):
    """Counts the operations for which a GPU would be waited for."""

    n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "_index_put_impl_") else []
        masks = [i for i in indices if i is not None and i.dtype in (torch.bool, torch.uint8)]
        self.n += len(masks) + (name in ("_local_scalar_dense", "nonzero"))
        return function(*args, **(kwargs or {}))


def test__pre_training__waits_for_no_gpu_but_to_count_windows_with_gaps(batch):
    (x, complete), generator = batch, new_generator(0)
    model = build(**SETTINGS["projection"], mrr_weight=1.0, reconstruction_weight=1.0)
    with Waits() as waits:
        model(x, generator, complete).loss.backward()
    assert waits.n == (0 if complete else 3)  # masked, visible, and which of the former are real


def test__fine_tuning_and_readout__make_tensors_where_the_batch_is(batch, precision):
    encoder = SeriesEncoder(build().backbone, STATISTICS, "ends", (1, 2), 2, (2,))
    classifier, (x, complete), generator = SeriesClassifier(encoder, 3), batch, new_generator(0)
    settings = {"label_smoothing": 0.1, "augment": True, "jitter": 0.1, "generator": generator}
    net = FineTuningNet(classifier, class_weight=torch.ones(3), **settings).initialize()
    labels = torch.ones(len(x), dtype=torch.long)
    with torch.device("meta"), precision, Waits() as waits:
        loss = net.train_step_single(Batch(x, labels, complete))["loss"].detach()
    assert waits.n == (0 if complete else 6)  # lengths for "none", by layer and reading
    with torch.device("meta"), precision:
        squares = encoder.squared_slopes(x, complete)
        moments = encoder.moments(x, complete)
    for value in (loss, squares, moments):
        assert value.device.type == "cpu" and value.isfinite().all()

"""The same numbers bit for bit: after storage, refits and in threads; no trace on global RNGs."""

import copy
import os
import pickle
import random
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread, get_ident
from unittest import mock

import joblib
import numpy as np
import pandas as pd
import pytest
import sktime.base
import torch
from _panels import classifier, embed, pad, ragged, transformer
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import EpochTimer

from tsmae import TimeMAEClassifier, TimeMAETransformer
from tsmae.panel import Panel
from tsmae.training import inference
from tsmae.training.device import SETTING_THREADS, n_torch_threads
from tsmae.training.randomness import isolated_global_rng

SERIES, LABELS = ragged()
SERIES[4][:, 2:11] = np.nan
COMPLETE = np.stack([s[:, -8:] for s in pad(SERIES, 40)[3:, :, :8]]).astype(np.float64)
COMPLETE[np.isnan(COMPLETE)] = 0


class DropoutEncoder(torch.nn.Module):
    """A user's encoder with dropout, which draws from the global generator."""

    def __init__(self, d_model):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(d_model, d_model), torch.nn.Dropout(0.5), torch.nn.Tanh()
        )

    def forward(self, x, padding_mask=None):
        return self.layers(x)


def build_transformer(which, **parameters):
    return transformer(which, **parameters)


def build_classifier(which, **parameters):
    seed = parameters.pop("random_state", 0)
    return classifier(which, random_state=None, **parameters).set_params(random_state=seed)


BUILDS = {"transformer": build_transformer, "classifier": build_classifier}


def outputs(estimator, X=SERIES):
    numbers = [embed(estimator, X)]
    if hasattr(estimator, "predict_proba"):
        numbers += [estimator.predict_proba(X), estimator.predict(X)]
    else:
        metrics = estimator.reconstruction_metrics(X)
        numbers += [estimator.codewords(X), np.array(list(metrics.values()))]
    return numbers


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        assert_array_equal(a, b)


def through_pickle(estimator, directory):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator, directory):
    joblib.dump(estimator, directory / "model.joblib", compress=3)
    return joblib.load(directory / "model.joblib")


def through_memory_map(estimator, directory):
    joblib.dump(estimator, directory / "model.joblib")
    return joblib.load(directory / "model.joblib", mmap_mode="r")


def through_sktime_memory(estimator, directory):
    return sktime.base.load(estimator.save())


def through_sktime_file(estimator, directory):
    estimator.save(directory / "model")
    return sktime.base.load(directory / "model.zip")


def through_file(estimator, directory):
    estimator.save(directory / "model.v1")
    return type(estimator).load(directory / "model.v1")


def through_deepcopy(estimator, directory):
    return copy.deepcopy(estimator)


def through_two_files(estimator, directory):
    return through_file(through_pickle(through_file(estimator, directory), directory), directory)


STORAGE = [value for name, value in sorted(globals().items()) if name.startswith("through_")]


@pytest.fixture(scope="module", params=[0, 1], ids=["paper", "defaults"])
def which(request):
    return request.param


@pytest.fixture(scope="module", params=BUILDS)
def build(request):
    return BUILDS[request.param]


@pytest.fixture(scope="module")
def fitted(build, which):
    return build(which).fit(SERIES, LABELS)


@pytest.mark.parametrize("store", STORAGE)
def test__stored__same_numbers_and_attributes(fitted, tmp_path, store):
    again = store(fitted, tmp_path)
    assert type(again) is type(fitted)
    assert_same(outputs(again), outputs(fitted))
    assert_same(outputs(again, COMPLETE), outputs(fitted, COMPLETE))
    attributes = {name for name in vars(fitted) if name.endswith("_") and name[0] != "_"}
    assert attributes == {name for name in vars(again) if name.endswith("_") and name[0] != "_"}
    assert again.history_ == fitted.history_
    assert str(again.get_params()) == str(fitted.get_params())


@pytest.mark.parametrize("store", [through_pickle, through_joblib, through_deepcopy, through_file])
def test__stored__same_key_to_joblib(fitted, tmp_path, store):
    if store is through_file:  # of series and labels it does not keep sktime's notes
        fitted = getattr(fitted, "transformer_", fitted)
    key = joblib.hash(fitted)
    assert joblib.hash(store(fitted, tmp_path)) == key
    other = through_deepcopy(fitted, None)
    with torch.no_grad():
        next(other.model_.parameters()).flatten()[0] += 1
    assert joblib.hash(other) != key


@pytest.mark.parametrize("store", [through_pickle, through_file])
def test__stored__configuration_of_sktime__stays(build, tmp_path, store):
    estimator = build(0).set_config(display="text", warnings="off").fit(SERIES, LABELS)
    again = store(estimator, tmp_path)
    assert again.get_config() == estimator.get_config()
    assert again.get_config()["display"] == "text"


class TiedEncoder(torch.nn.Module):
    """Uses one weight twice, freezes another, and has a tensor that is no buffer."""

    def __init__(self, d_model):
        super().__init__()
        self.first = torch.nn.Linear(d_model, d_model)
        self.second = torch.nn.Linear(d_model, d_model)
        self.second.weight = self.first.weight
        self.second.bias.requires_grad_(False)
        self.register_buffer("share", torch.full((d_model,), 0.5))
        self.shift = torch.arange(float(d_model))

    def forward(self, x, padding_mask=None):
        return self.second(self.first(x).tanh()) * self.share + self.shift


@pytest.mark.parametrize("store", [through_pickle, through_memory_map, through_deepcopy])
def test__stored__shared_and_frozen_weights__stay_so(build, tmp_path, store):
    estimator = build(0, encoder=TiedEncoder).fit(SERIES, LABELS)
    original = next(m for m in estimator.model_.modules() if isinstance(m, TiedEncoder))
    original.share = original.share.bfloat16()  # which numpy does not have
    again = store(estimator, tmp_path)
    if store is not through_memory_map:  # whose other arrays are of another class
        assert joblib.hash(again) == joblib.hash(estimator) == joblib.hash(estimator)
    assert_same(outputs(again), outputs(estimator))
    encoder = next(m for m in again.model_.modules() if isinstance(m, TiedEncoder))
    assert encoder.second.weight is encoder.first.weight
    assert [p.requires_grad for p in encoder.parameters()] == [True, True, False]
    assert isinstance(encoder.first.weight, torch.nn.Parameter)
    assert encoder.share.dtype == torch.bfloat16
    with torch.no_grad():  # of its own
        encoder.first.weight += 1
    assert not torch.equal(original.first.weight, encoder.first.weight)


@pytest.mark.parametrize("store", STORAGE)
def test__stored_transformer__fine_tunes_as_the_original(which, tmp_path, store):
    pretrained = transformer(which).fit(SERIES)

    def fine_tuned(frozen):
        settings = {"fine_tune": "all", "max_epochs": 3, "lr": 0.01, "random_state": 0}
        return TimeMAEClassifier(FrozenEstimator(frozen), **settings).fit(SERIES, LABELS)

    expected = fine_tuned(pretrained)
    assert_same(outputs(fine_tuned(store(pretrained, tmp_path))), outputs(expected))
    trained = expected.model_.encoder.backbone.feature_encoder.project.weight
    before = pretrained.model_.backbone.feature_encoder.project.weight
    assert (trained - before).abs().max() > 1e-3  # the encoder too, not only the head


@pytest.mark.parametrize("store", [through_pickle, through_file])
def test__stored__refit_gives_the_same_numbers(fitted, tmp_path, store):
    again = store(fitted, tmp_path).fit(SERIES, LABELS)
    assert_same(outputs(again), outputs(fitted))


def test__refit_and_clone__same_numbers(build, which, fitted):
    assert_same(outputs(clone(fitted).fit(SERIES, LABELS)), outputs(fitted))
    again = build(which).fit(COMPLETE, LABELS[3:])
    assert_same(outputs(again.fit(SERIES, LABELS)), outputs(fitted))


def test__random_state__other_seed_other_numbers(build, which, fitted):
    other = build(which, random_state=1).fit(SERIES, LABELS)
    assert abs(embed(other, SERIES) - embed(fitted, SERIES)).max() > 1e-3
    if hasattr(other, "predict_proba"):
        difference = other.predict_proba(SERIES) - fitted.predict_proba(SERIES)
        assert abs(difference).max() > 1e-3


def test__random_state__generator__drawn_from_once_a_fit(build, which):
    one = build(which, random_state=np.random.RandomState(3)).fit(SERIES, LABELS)
    two = build(which, random_state=np.random.RandomState(3)).fit(SERIES, LABELS)
    assert_same(outputs(one), outputs(two))
    two.fit(SERIES, LABELS)  # the next draw of the same generator
    assert abs(embed(one, SERIES) - embed(two, SERIES)).max() > 1e-3


def test__random_state__larger_than_numpys__one_that_counts_whole(build, which):
    seeds = (2**200, 2**200 + 1, 2**199, 2**200)
    one, *others, again = (build(which, random_state=s).fit(SERIES, LABELS) for s in seeds)
    assert_same(outputs(one), outputs(again))
    for other in others:
        assert abs(embed(one, SERIES) - embed(other, SERIES)).max() > 1e-3


def test__random_state__set_by_sktime__fits():
    estimator = build_classifier(0, random_state=None)
    estimator.set_random_state(7, self_policy="new")
    assert estimator.random_state > 2**32 and estimator.transformer.random_state > 2**32
    assert_same(
        outputs(clone(estimator).fit(SERIES, LABELS)), outputs(estimator.fit(SERIES, LABELS))
    )


def test__random_state__none__differs_from_fit_to_fit(build, which):
    one, two = (build(which, random_state=None).fit(SERIES, LABELS) for _ in range(2))
    assert abs(embed(one, SERIES) - embed(two, SERIES)).max() > 1e-3


def global_states():
    numpy_state = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), str(numpy_state), random.getstate()


@pytest.mark.parametrize("seed", [0, None])
def test__every_method__global_generators_untouched(build, which, seed, tmp_path):
    states = global_states()
    estimator = build(which, random_state=seed).fit(SERIES, LABELS)
    assert global_states() == states, "fit"
    outputs(estimator)
    assert global_states() == states, "transform and predict"
    for store in STORAGE:
        outputs(store(estimator, tmp_path))
        assert global_states() == states, store.__name__


@pytest.mark.parametrize("max_epochs", [0, 2])
def test__encoder_with_dropout__reproducible_and_global_generators_untouched(build, max_epochs):
    settings = {"encoder": DropoutEncoder, "max_epochs": max_epochs}
    one = build(0, **settings)
    states = global_states()
    numbers = outputs(one.fit(SERIES, LABELS))
    assert_same(outputs(one), numbers)
    assert global_states() == states
    torch.rand(7)  # whatever the global generator did before
    assert_same(outputs(build(0, **settings).fit(SERIES, LABELS)), numbers)
    assert_same(outputs(through_pickle(one, None)), numbers)


def test__fit__global_seeds__do_not_matter(build, which, fitted):
    numpy_state = np.random.get_state()  # noqa: NPY002
    states = torch.get_rng_state(), numpy_state, random.getstate()
    try:
        torch.manual_seed(123)
        np.random.seed(123)  # noqa: NPY002
        random.seed(123)
        assert_same(outputs(build(which).fit(SERIES, LABELS)), outputs(fitted))
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])


@pytest.mark.parametrize("store", [through_pickle, through_file])
def test__default_device_of_torch__does_not_matter(build, which, fitted, tmp_path, store):
    try:
        torch.set_default_device("meta")  # any but the CPU, on any machine
        again = store(build(which).fit(SERIES, LABELS), tmp_path)
        numbers = outputs(again) + outputs(again, COMPLETE)
    finally:
        torch.set_default_device(None)
    assert_same(numbers, outputs(fitted) + outputs(fitted, COMPLETE))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test__default_dtype_of_torch__does_not_matter(build, which, fitted, tmp_path, dtype):
    try:
        torch.set_default_dtype(dtype)
        again = through_file(build(which).fit(SERIES, LABELS), tmp_path)
        numbers = outputs(again) + outputs(again, COMPLETE)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same(numbers, outputs(fitted) + outputs(fitted, COMPLETE))


def test__fit__while_another_thread_compiles__same_numbers(build, which, fitted):
    state = torch.get_rng_state()
    with mock.patch.object(torch.compiler, "is_compiling", lambda: True):
        assert_same(outputs(build(which).fit(SERIES, LABELS)), outputs(fitted))
    assert torch.equal(torch.get_rng_state(), state)


def test__load_and_fit__while_an_encoder_of_a_user_trains__do_not_wait(build, which, tmp_path):
    path = tmp_path / "saved"
    alone = build(which).fit(SERIES, LABELS)
    alone.save(path)
    trains, done = Event(), Event()

    def train():
        with isolated_global_rng(0, torch.device("cpu")):
            trains.set()
            done.wait(60)

    with ThreadPoolExecutor(2) as pool:
        training = pool.submit(train)
        trains.wait(60)
        try:
            loaded = pool.submit(type(alone).load, path).result(30)
            again = pool.submit(build(which).fit, SERIES, LABELS).result(30)
        finally:
            done.set()
        training.result()
    for beside in (loaded, again):
        assert_same(outputs(beside), outputs(alone))


def test__encoder__of_another_type__trains_in_float32():
    settings = {"encoder": lambda d_model: DropoutEncoder(d_model).double(), "max_epochs": 1}
    fitted = transformer(0, **settings).fit(SERIES)
    assert {p.dtype for p in fitted.model_.parameters()} == {torch.float32}


def test__encoder__that_cannot_be_copied__is_named():
    class Held(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.kept = torch.nn.Linear(2, 2).weight * 2  # not a leaf

        def forward(self, x):
            return x

    with pytest.raises(TypeError, match="'encoder' parameter must build a module that can be cop"):
        transformer(0, encoder=Held).fit(SERIES)


def test__encoder__one_module_for_all__each_fit_has_its_own():
    shared = DropoutEncoder(8)
    before = copy.deepcopy(shared.state_dict())
    settings = {"encoder": lambda d_model: shared, "d_model": 8, "max_epochs": 3}
    first = transformer(0, **settings).fit(SERIES)
    numbers = outputs(first)
    transformer(0, **settings).fit([series + 1 for series in SERIES])
    assert_same(outputs(first), numbers)
    assert_same(outputs(transformer(0, **settings).fit(SERIES)), numbers)
    assert all(torch.equal(value, before[name]) for name, value in shared.state_dict().items())


@pytest.mark.parametrize("store", [through_pickle, through_file])
def test__storage__read_in_inference_mode__can_be_trained_on(fitted, tmp_path, store):
    with torch.inference_mode():
        again = store(fitted, tmp_path)
    again.model_.train()
    x = torch.zeros(2, len(SERIES[0]), 16)
    network = getattr(again, "series_encoder_", again.model_)
    network(x).sum().backward()
    assert any(p.grad is not None for p in again.model_.parameters())


def test__fit__leaves_no_gradients(fitted):
    assert all(p.grad is None for p in fitted.model_.parameters())


def test__autocast_of_the_caller__does_not_matter(build, which, fitted):
    with torch.autocast("cpu", torch.bfloat16):
        again = build(which).fit(SERIES, LABELS)
        numbers = outputs(again) + outputs(again, COMPLETE)
    assert_same(numbers, outputs(fitted) + outputs(fitted, COMPLETE))


@pytest.mark.parametrize("encoder", [None, DropoutEncoder])
def test__fit__in_threads__same_numbers_as_one_by_one(build, encoder):
    seeds = [0, 1, 0, 1, 2, 2]

    def run(seed):
        estimator = build(0, random_state=seed, encoder=encoder, max_epochs=3)
        return outputs(estimator.fit(SERIES, LABELS))

    states = global_states()
    threaded = joblib.Parallel(n_jobs=3, backend="threading")(
        joblib.delayed(run)(seed) for seed in seeds
    )
    assert global_states() == states
    for seed, numbers in zip(seeds, threaded, strict=True):
        assert_same(numbers, run(seed))


@pytest.mark.parametrize("fine_tuned", [False, True])
def test__fit__in_threads_in_bfloat16__same_numbers_as_one_by_one(fine_tuned):
    # series with gaps are embedded twice a step, and read out at two resolutions
    series = [np.where(np.arange(s.shape[1]) % 7 == 3, np.nan, s) for s in SERIES]
    settings = {"max_epochs": 8, "batch_size": 2, "precision": "bfloat16"}

    def run(seed):
        estimator = transformer(1, random_state=seed, **settings)
        if fine_tuned:
            estimator = TimeMAEClassifier(
                transformer(1), "all", pooling_resolutions=(1, 2), random_state=seed, **settings
            )
        return embed(estimator.fit(series, LABELS), series)

    threaded = joblib.Parallel(n_jobs=3, backend="threading")(
        joblib.delayed(run)(seed) for seed in (0, 0, 0, 1, 1, 1)
    )
    for seed, numbers in zip((0, 0, 0, 1, 1, 1), threaded, strict=True):
        assert_array_equal(numbers, run(seed))


def test__transform__in_threads__same_numbers(fitted):
    expected = outputs(fitted)
    threaded = joblib.Parallel(n_jobs=3, backend="threading")(
        joblib.delayed(outputs)(fitted) for _ in range(6)
    )
    for numbers in threaded:
        assert_same(numbers, expected)


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


def test__transform__batches_on_several_threads__same_numbers(fitted, monkeypatch, two_threads):
    monkeypatch.setattr(inference, "_CACHED_POINTS", 50)  # batches of a few series
    seen = set()
    run = inference._run_torch_alone
    monkeypatch.setattr(inference, "_run_torch_alone", lambda *a: (seen.add(get_ident()), run(*a)))
    several = embed(fitted, SERIES)
    assert len(seen) >= 2 and get_ident() not in seen
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert_array_equal(several, embed(fitted, SERIES))


def test__transform__other_threads_begin_meanwhile__keep_their_number(fitted, two_threads):
    starts, stop = inference._run_torch_alone, Event()

    def slowly(ready):
        starts(ready)
        time.sleep(0.01)  # a thread that began now would find a single one

    def serve():
        while not stop.is_set():
            embed(fitted, SERIES)

    with mock.patch.multiple(inference, _run_torch_alone=slowly, _EMBEDDING_BATCH=2):
        server = Thread(target=serve)
        server.start()
        found = []
        try:
            for _ in range(40):
                thread = Thread(target=lambda: found.append(n_torch_threads()))
                thread.start()
                thread.join()
        finally:
            stop.set()
            server.join()
    assert found == [2] * 40


def test__fit__begins_while_another_thread_embeds__keeps_its_number(build, two_threads):
    found = []

    def run():
        build(0, max_epochs=1).fit(SERIES, LABELS)
        found.append(torch.get_num_threads())

    thread = Thread(target=run)
    with SETTING_THREADS:
        torch.set_num_threads(1)  # as the workers of an embedding do
        thread.start()
        thread.join(1)
        torch.set_num_threads(2)
    thread.join()
    assert found == [2]


def test__apply__error_on_one_of_several_threads__reaches_the_caller(two_threads):
    caller = get_ident()

    def fail(batch):
        assert get_ident() != caller
        raise RuntimeError("inside")

    panel = Panel.from_array(np.zeros((1000, 1, 100)))
    with pytest.raises(RuntimeError, match="inside"):
        inference.apply(fail, panel, torch.device("cpu"))
    assert torch.get_num_threads() == 2


def test__apply__thread_refused_by_the_system__error_reaches_the_caller(two_threads, monkeypatch):
    start, started = Thread.start, []

    def start_one(thread):
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(Thread, "start", start_one)
    panel = Panel.from_array(np.zeros((1000, 1, 100)))
    with pytest.raises(RuntimeError, match="can't start new thread"):
        inference.apply(lambda batch: batch.x, panel, torch.device("cpu"))
    assert not started[0].is_alive()
    monkeypatch.undo()
    with ThreadPoolExecutor(1) as pool:  # each new thread had one
        assert pool.submit(torch.get_num_threads).result() == 2


def test__save__file_mode__as_of_any_new_file(tmp_path):
    transformer().fit(ragged()[0]).save(tmp_path / "model")
    (tmp_path / "other").touch()
    assert (tmp_path / "model.zip").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.zip", "other"]


def test__fit_and_load__generators_of_other_devices_untouched(which, tmp_path, monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    monkeypatch.setattr(torch.cuda, "manual_seed", seeded.append)
    fitted = transformer(which, device="cpu").fit(SERIES)
    through_file(fitted, tmp_path)
    assert seeded == []


class Derived(type(transformer())):
    pass


def test__save__subclass__comes_back_or_says_so(tmp_path):
    derived = Derived(**transformer(1).get_params()).fit(SERIES)
    derived.save(tmp_path / "derived")
    loaded = Derived.load(tmp_path / "derived")
    assert type(loaded) is Derived
    assert_array_equal(embed(loaded, SERIES), embed(derived, SERIES))
    inside = TimeMAEClassifier(FrozenEstimator(derived), fine_tune="head").fit(SERIES, LABELS)
    with pytest.raises(TypeError, match="not a Derived"):
        inside.save(tmp_path / "inside")
    assert not list(tmp_path.glob("inside*"))


def test__save__several_outputs__says_to_pickle(tmp_path):
    y = pd.DataFrame({"a": LABELS, "b": np.asarray(LABELS)[::-1]})
    estimator = classifier().fit(SERIES, y)
    with pytest.raises(TypeError, match=r"of several outputs.*Use pickle"):
        estimator.save(tmp_path / "several")
    assert not list(tmp_path.iterdir())
    copy = pickle.loads(pickle.dumps(estimator))
    assert_array_equal(copy.predict(SERIES), estimator.predict(SERIES))


def test__save__in_threads_to_one_path__each_writes_a_whole_file(tmp_path):
    estimator = transformer().fit(SERIES)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: estimator.save(tmp_path / "same").close(), range(24)))
    assert os.listdir(tmp_path) == ["same.zip"]
    again = TimeMAETransformer.load(tmp_path / "same")
    assert_array_equal(embed(again, SERIES), embed(estimator, SERIES))


def test__save__settings_from_numpy__as_plain_ones(tmp_path):
    given = {
        "window_length": np.int64(8), "d_model": np.int32(8), "mask_ratio": np.float64(0.5),
        "decoupled": np.bool_(True), "train_stem": np.bool_(True), "max_epochs": np.int64(1),
        "lr_schedule": "one_cycle",
    }  # fmt: skip
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in given.items()}
    estimator = transformer(**given).fit(SERIES)
    estimator.save(tmp_path / "model")
    for other in (TimeMAETransformer.load(tmp_path / "model"), transformer(**plain).fit(SERIES)):
        assert_array_equal(embed(other, SERIES), embed(estimator, SERIES))
        assert other.config_ == estimator.config_
    tuned = classifier()
    tuned.set_params(max_epochs=np.int64(1), lr_schedule="one_cycle").fit(SERIES, LABELS)
    assert tuned.n_epochs_ == 1


@pytest.mark.parametrize("fine_tune", ["all", "head"])
@pytest.mark.parametrize("since", ["fitted anew", "reset", "of other channels"])
def test__save__given_transformer_changed_since__the_classifier_as_it_is(
    since, fine_tune, tmp_path
):
    given = transformer(scaling="channel").fit(SERIES)
    estimator = classifier(fine_tune=fine_tune).set_params(transformer=FrozenEstimator(given))
    before = outputs(estimator.fit(SERIES, LABELS))
    given.set_params(scaling="instance", n_heads=4)
    if since != "reset":
        given.fit(SERIES if since == "fitted anew" else [s[:1] for s in SERIES])
    assert_same(outputs(through_file(estimator, tmp_path)), before)


def test__save__container_of_outputs__stays_as_set(tmp_path):
    estimator = transformer().fit(SERIES).set_output(transform="pandas")
    estimator.save(tmp_path / "model")
    loaded = TimeMAETransformer.load(tmp_path / "model")
    assert loaded._sklearn_output_config == clone(estimator)._sklearn_output_config


def test__save__parameters_assigned_after_fit__are_of_the_next_fit(tmp_path):
    for estimator, assigned in (
        (transformer(pooling=("max",)), {"pooling": ("min",), "window_length": 3}),
        (classifier(), {"pooling": ("max",), "pooling_shifts": 2, "average_probe": False}),
        (classifier(fine_tune="head"), {"fine_tune": "all", "average_probe": True}),
    ):
        before = outputs(estimator.fit(SERIES, LABELS))
        vars(estimator).update(assigned)
        loaded = through_file(estimator, tmp_path)
        assert_same(outputs(loaded), before)
        assert {name: getattr(loaded, name) for name in assigned} == assigned


def test__isolated_global_rng__on_mps__seeds_and_restores_its_generator(monkeypatch):
    calls = []
    for name in ("get_rng_state", "manual_seed", "set_rng_state"):
        record = lambda *args, name=name: calls.append((name, *args)) or "before"  # noqa: E731
        monkeypatch.setattr(torch.mps, name, record)
    with isolated_global_rng(7, torch.device("mps")):
        calls.append("within")
    assert calls == [("get_rng_state",), ("manual_seed", 7), "within", ("set_rng_state", "before")]


@pytest.mark.parametrize("name", ["current.zip", f"{'long' * 60}.zip"])
def test__save__through_a_link__writes_what_it_names(tmp_path, name):
    (tmp_path / "versions").mkdir()
    target = tmp_path / "versions" / "first.zip"
    target.touch()
    (tmp_path / name).symlink_to(target)
    transformer().fit(SERIES).save(tmp_path / name)
    assert (tmp_path / name).is_symlink() and target.stat().st_size > 1000
    assert os.listdir(target.parent) == ["first.zip"]


def test__save__callbacks_inside__error_names_where(tmp_path):
    estimator = classifier(fine_tune="head").set_params(transformer__callbacks=[EpochTimer()])
    estimator.fit(SERIES, LABELS)
    with pytest.raises(TypeError, match=r"None to the attribute transformer\.callbacks"):
        estimator.save(tmp_path / "model")
    estimator.transformer.callbacks = None
    with pytest.raises(TypeError, match=r"None to the attribute transformer_\.callbacks"):
        estimator.save(tmp_path / "model")
    estimator.transformer_.callbacks = None
    estimator.save(tmp_path / "model")
    loaded = TimeMAEClassifier.load(tmp_path / "model")
    assert_array_equal(loaded.predict_proba(SERIES), estimator.predict_proba(SERIES))


def test__save__disk_full__leaves_what_was_there(panel, small, tmp_path, monkeypatch):
    X, _ = panel
    transformer = TimeMAETransformer(**{**small, "max_epochs": 0}).fit(X)
    transformer.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()

    def full(weights):
        raise OSError("no space left on device")

    monkeypatch.setattr("tsmae.persistence.save_tensors", full)
    with pytest.raises(OSError, match="no space left"):
        transformer.save(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model.zip"]
    assert (tmp_path / "model.zip").read_bytes() == before


def test__save__in_memory__as_cloudpickle_where_pickle_cannot(panel, small):
    pytest.importorskip("cloudpickle")
    X, _ = panel
    own = {**small, "max_epochs": 0, "encoder": lambda d_model: torch.nn.Identity()}
    transformer = TimeMAETransformer(**own).fit(X)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        transformer.save()
    cls, data = transformer.save(serialization_format="cloudpickle")
    again = cls.load_from_serial(data)
    np.testing.assert_array_equal(again.transform(X), transformer.transform(X))


@pytest.mark.parametrize("kind", ["int16", "float32", "<U9", "bool"])
def test__save__labels__of_the_type_they_had(panel, small, tmp_path, kind):
    X, y = panel
    labels = y.astype(kind)
    settings = {**small, "max_epochs": 0}
    classifier = TimeMAEClassifier(TimeMAETransformer(**settings), "head").fit(X, labels)
    classifier.save(tmp_path / "model")
    again = TimeMAEClassifier.load(tmp_path / "model")
    assert again.predict(X).dtype == classifier.predict(X).dtype
    assert again.classes_.dtype == classifier.classes_.dtype == np.dtype(kind)


def test__save__names_with_a_dot__no_ending_but_zip_is_replaced(tmp_path):
    first, second = (transformer(max_epochs=0, random_state=seed).fit(SERIES) for seed in (0, 1))
    first.save(tmp_path / "model.v1")
    second.save(tmp_path / "model.v2")
    assert sorted(os.listdir(tmp_path)) == ["model.v1.zip", "model.v2.zip"]
    loaded = TimeMAETransformer.load(tmp_path / "model.v1")
    assert_array_equal(embed(loaded, SERIES), embed(first, SERIES))


def test__save__transformer_that_is_not_fitted__stays_so(tmp_path):
    estimator = classifier(fine_tune="head").fit(SERIES, LABELS)
    assert not estimator.transformer.is_fitted
    loaded = through_file(estimator, tmp_path)
    assert loaded.transformer_.is_fitted and not loaded.transformer.is_fitted


def test__random_state__seeds_what_an_encoder_draws_in_training():
    seeds = []

    class Draws(torch.nn.Module):
        def forward(self, x, padding_mask=None):
            seeds.extend([torch.initial_seed()] * self.training)
            return x

    for random_state in (0, 1):
        transformer(encoder=Draws, max_epochs=1, random_state=random_state).fit(COMPLETE)
    assert len(set(seeds)) == 2

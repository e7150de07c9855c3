import re

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch

pytest.importorskip("matplotlib")

from tsmae import TimeMAEClassifier, TimeMAETransformer
from tsmae.plotting import plot_codewords, plot_embedding, plot_history


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test__plot_embedding__a_point_a_series_in_its_class(method, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 10)
    figure = plot_embedding(rng.normal(size=(30, 5)), labels, method=method)
    collections = figure.axes[0].collections
    assert [len(c.get_offsets()) for c in collections] == [10, 10, 10]
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["a", "b", "c"]
    figure.savefig(tmp_path / "embedding.png")
    assert (tmp_path / "embedding.png").stat().st_size > 1000


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test__plot_embedding__sklearn_told_to_give_frames__the_same(method):
    embedding = np.random.default_rng(0).normal(size=(30, 5))
    points = [c.get_offsets() for c in plot_embedding(embedding, method=method).axes[0].collections]
    with sklearn.config_context(transform_output="pandas"):
        figure = plot_embedding(embedding, method=method)
    np.testing.assert_array_equal([c.get_offsets() for c in figure.axes[0].collections], points)


@pytest.mark.parametrize("missing", [None, np.nan])
@pytest.mark.parametrize("kind", [list, pd.Series])
@pytest.mark.parametrize("labels", [("b", "a"), (2, 1)])
def test__plot_embedding__missing_labels__in_grey(missing, kind, labels):
    embedding = np.random.default_rng(0).normal(size=(12, 5))
    axes = plot_embedding(embedding, kind([missing, *labels] * 4)).axes[0]
    assert [len(c.get_offsets()) for c in axes.collections] == [4, 4, 4]
    names = [text.get_text().removesuffix(".0") for text in axes.get_legend().get_texts()]
    assert names == ["no label", *sorted(map(str, labels))]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (torch.tensor([2, 1, 2]), ["1", "2"]),
        ([2, 1, None], ["no label", "1", "2"]),
        (pd.Categorical(["b", "a", "b"], ["b", "a"]), ["b", "a"]),
    ],
)
def test__plot_embedding__any_container_of_labels__named_as_given(labels, expected):
    legend = plot_embedding(np.eye(3), labels).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == expected


def test__plot_embedding__labels_named_in_another_order__refused():
    embedding = pd.DataFrame(np.eye(3), index=list("abc"))
    labels = pd.Series([0, 1, 1], index=list("cab"))
    with pytest.raises(ValueError, match=r"labels has the names of the series in embedding"):
        plot_embedding(embedding, labels)
    assert len(plot_embedding(embedding, labels.loc[list("abc")]).axes[0].collections) == 2


def test__plot_embedding__names_of_matplotlib_s_own__in_the_legend(tmp_path):
    figure = plot_embedding(np.eye(4), ["_x", "a$", "b$^$", "y"])
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert [t.strip("\N{ZERO WIDTH SPACE}") for t in texts] == ["_x", r"a\$", r"b\$^\$", "y"]
    figure.savefig(tmp_path / "embedding.png")


@pytest.mark.filterwarnings("error")
def test__plot_embedding__all_the_same__no_variance():
    axes = plot_embedding(np.ones((4, 3))).axes[0]
    assert axes.get_xlabel() == "component 1 (0% of variance)"


@pytest.mark.parametrize("labels", ["abc", np.zeros((3, 1)), pd.DataFrame({"a": [1, 2, 3]}), 1])
def test__plot_embedding__labels_of_another_shape__error_names_them(labels):
    with pytest.raises(ValueError, match="labels has the shape"):
        plot_embedding(np.eye(3), labels)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test__plot_embedding__many_columns__same_again_and_global_generator_untouched(method):
    embedding = np.random.default_rng(0).normal(size=(60, 600))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, other = (
        plot_embedding(embedding, method=method).axes[0].collections[0].get_offsets()
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test__plot_embedding__pca__shares_of_variance():
    x = np.random.default_rng(0).normal(size=(50, 2)) * [3.0, 1.0]
    figure = plot_embedding(x)
    share = x.var(0)[0] / x.var(0).sum()
    assert f"{share:.0%}"[:1] in figure.axes[0].get_xlabel()
    assert len(figure.axes[0].collections[0].get_offsets()) == 50


def test__plot_embedding__bad_input__says_what():
    with pytest.raises(ValueError, match="method='umap' must be"):
        plot_embedding(np.zeros((3, 2)), method="umap")
    for shape in ((1, 2), (3, 1), (3,)):
        with pytest.raises(ValueError, match=re.escape(f"embedding has the shape {shape}")):
            plot_embedding(np.zeros(shape))
    with pytest.raises(ValueError, match=r"labels has the shape \(2,\); expected \(3,\)"):
        plot_embedding(np.zeros((3, 2)), [0, 1])


def test__plot_history__all_zero__still_a_curve():
    figure = plot_history([{"epoch": 1, "loss": 0.0}, {"epoch": 2, "loss": 0.0}])
    assert [axes.get_title() for axes in figure.axes] == ["loss"]


def test__plot_history__a_curve_for_each_metric(panel, small):
    X, _ = panel
    transformer = TimeMAETransformer(**{**small, "max_epochs": 2}, validation_fraction=0.25).fit(X)
    figure = plot_history(transformer.history_)
    titles = [axes.get_title() for axes in figure.axes]
    assert {"loss", "mcc", "ndcg", "perplexity"} <= set(titles)
    assert ("mrr" in titles) == (transformer.mrr_weight > 0)
    for axes in figure.axes:
        training, held_out = axes.lines
        assert list(training.get_xdata()) == list(held_out.get_xdata()) == [1, 2]
        assert training.get_marker() == "."  # a line of one epoch would not show
    with pytest.raises(ValueError, match="history is empty"):
        plot_history([])
    with pytest.raises(TypeError, match="history is a TimeMAETransformer; expected `history_`"):
        plot_history(transformer)


def test__plot_history__reconstruction__has_a_curve(panel, small):
    X, _ = panel
    history = TimeMAETransformer(**{**small, "reconstruction_weight": 1.0}).fit(X).history_
    assert "reconstruction" in [axes.get_title() for axes in plot_history(history).axes]


def test__plot_history__of_a_classifier__loss_and_accuracy(panel, small):
    classifier = TimeMAEClassifier(TimeMAETransformer(**small), "all", max_epochs=2).fit(*panel)
    titles = [axes.get_title() for axes in plot_history(classifier.history_).axes]
    assert titles == ["loss", "accuracy"]


def test__plot_history__contrast_alone__no_curve_of_codewords(panel):
    X, _ = panel
    history = TimeMAETransformer(d_model=8, n_heads=2, max_epochs=2, random_state=0).fit(X).history_
    assert [axes.get_title() for axes in plot_history(history).axes] == ["loss", "contrast"]


def test__plot_codewords__windows_coloured_by_codeword(panel, small):
    X, _ = panel
    X = X[:3].copy()
    X[0, :, 20:24] = np.nan  # one window of ten is lost
    transformer = TimeMAETransformer(**small).fit(panel[0])
    figure = plot_codewords(transformer, X)
    assert [len(axes.patches) for axes in figure.axes] == [9, 10, 10]
    ids = transformer.codewords(X)[1]
    colours = [patch.get_facecolor() for patch in figure.axes[1].patches]
    for i in range(10):
        for j in range(10):
            assert (colours[i] == colours[j]) == (ids[i] == ids[j])


@pytest.mark.parametrize("channel", [-1, 3, 1.0, True, None])
def test__plot_codewords__no_such_channel__says_what_there_is(panel, small, channel):
    transformer = TimeMAETransformer(**small).fit(panel[0])
    with pytest.raises(ValueError, match=rf"channel={channel!r} must be an int in 0 … 2"):
        plot_codewords(transformer, panel[0][:2], channel=channel)


def test__plot_embedding__labelled_points__where_those_without_labels_are():
    embedding = np.random.default_rng(0).normal(size=(30, 5)) * [9, 3, 1, 1, 1]
    plain = plot_embedding(embedding).axes[0].collections[0].get_offsets()
    labels = np.arange(30) % 3
    parts = plot_embedding(embedding, labels).axes[0].collections
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(part.get_offsets(), plain[labels == i])
    missing = plot_embedding(embedding, [None, *labels[1:]]).axes[0].collections[0]
    np.testing.assert_array_equal(missing.get_offsets(), plain[:1])
    assert np.ptp(plain[:, 0]) > np.ptp(plain[:, 1])


@pytest.mark.parametrize("n_classes", [10, 11, 40])
def test__plot_embedding__any_number_of_classes__each_of_its_colour(n_classes):
    embedding = np.random.default_rng(0).normal(size=(40, 3))
    parts = plot_embedding(embedding, np.arange(40) % n_classes).axes[0].collections
    assert len({tuple(part.get_facecolor()[0]) for part in parts}) == n_classes


def test__plot_history__curves__are_of_training_and_held_out():
    history = [{"epoch": e, "loss": 3.0 - e, "valid_loss": 4.0 - e} for e in (1, 2)]
    training, held_out = plot_history(history).axes[0].lines
    assert (training.get_label(), held_out.get_label()) == ("training", "held out")
    assert list(training.get_ydata()) == [2, 1] and list(held_out.get_ydata()) == [3, 2]


def test__plot_codewords__of_a_channel_and_a_codebook__at_their_places(panel):
    from matplotlib import colormaps

    X, _ = panel
    small = TimeMAETransformer.get_test_params()[1]
    transformer = TimeMAETransformer(**{**small, "max_epochs": 0, "random_state": 0}).fit(X)
    axes = plot_codewords(transformer, X[:1], channel=2, codebook=1).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), X[0, 2])
    edges = [(p.get_x(), p.get_width()) for p in axes.patches]
    assert edges == [(4 * i - 0.5, 4) for i in range(10)]  # borders between points
    ids = transformer.codewords(X[:1], codebook=1)[0]
    colours = [colormaps["hsv"](word * 0.618 % 1)[:3] for word in ids]
    assert [p.get_facecolor()[:3] for p in axes.patches] == colours


def test__plot_history__0_in_the_first_epoch__has_a_curve():
    history = [{"epoch": e, "loss": 1.0, "accuracy": (e - 1) / 2} for e in (1, 2)]
    assert [axes.get_title() for axes in plot_history(history).axes] == ["loss", "accuracy"]


def test__plot_embedding__tsne__fewer_neighbours_of_few_series(monkeypatch):
    from sklearn import manifold

    perplexities = []

    class Noting(manifold.TSNE):
        def fit_transform(self, X, y=None):
            perplexities.append(self.perplexity)
            return X[:, :2]

    monkeypatch.setattr(manifold, "TSNE", Noting)
    for n in (4, 31, 100, 200):
        plot_embedding(np.random.default_rng(0).normal(size=(n, 5)), method="tsne")
    assert perplexities == [1, 10, 30, 30]


def test__plot_embedding__pca__axes_say_their_shares():
    x = np.random.default_rng(0).normal(size=(50, 2)) * [3.0, 1.0]
    axes = plot_embedding(x).axes[0]
    variances = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    expected = [
        f"component {i} ({v / variances.sum():.0%} of variance)" for i, v in enumerate(variances, 1)
    ]
    assert [axes.get_xlabel(), axes.get_ylabel()] == expected
    axes = plot_embedding(np.eye(4), method="tsne").axes[0]
    assert [axes.get_xlabel(), axes.get_ylabel()] == ["t-SNE 1", "t-SNE 2"]


def test__plot_history__legend__only_where_two_curves_are():
    history = [{"epoch": 1, "loss": 2.0, "valid_loss": 3.0, "mcc": 1.0}]
    loss, mcc = plot_history(history).axes
    assert [t.get_text() for t in loss.get_legend().get_texts()] == ["training", "held out"]
    assert mcc.get_legend() is None

"""Pictures of a fitted transformer. Needs matplotlib, which the extra ``plot`` installs.

Each function draws with matplotlib's object interface and returns the Figure: nothing is
shown, and no global state is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from tsmae._parameters import check_position
from tsmae._reading import check_order, read_panel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tsmae.transformer import TimeMAETransformer

_CURVES = (
    "loss", "mrr", "mcc", "reconstruction", "contrast", "hit_rate", "ndcg", "distinct_codewords",
    "perplexity", "accuracy",
)  # fmt: skip
_MANY_CLASSES = 10


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("tsmae.plotting needs matplotlib: pip install matplotlib") from error
    return Figure(figsize=(width, height), layout="constrained")


def plot_embedding(
    embedding: np.ndarray | pd.DataFrame,
    labels: Any = None,
    method: str = "pca",
    random_state: int | np.random.RandomState | None = 0,
) -> Figure:
    """Embeddings in two dimensions, coloured by label.

    Parameters
    ----------
    embedding : (n, D) array or DataFrame
    labels : (n,) array, optional
        Missing ones (None, NaN) are drawn in grey.
    method : {"pca", "tsne"}, default="pca"
        PCA is linear, quick and shows distances as they are; t-SNE shows neighbourhoods.
    random_state : int, RandomState instance or None, default=0
        Of t-SNE, and of PCA, which is randomised where embeddings are many and wide.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are fewer than two series or columns, another number of labels than of series,
        labels named as the embeddings are in another order, or `method` is another one.
    ImportError
        Without matplotlib.
    """
    if isinstance(embedding, pd.DataFrame):
        check_order(labels, embedding.index, "labels", "embedding")
    embedding = np.asarray(embedding)
    if embedding.ndim != 2 or min(embedding.shape) < 2:
        raise ValueError(
            f"embedding has the shape {embedding.shape}; a plane needs two series and two columns "
            "or more."
        )
    if method == "pca":
        reduced = PCA(2, random_state=random_state)
        with np.errstate(invalid="ignore"):  # where all are the same
            plane = np.asarray(reduced.fit_transform(embedding))  # a frame, if sklearn was told so
        share = np.nan_to_num(reduced.explained_variance_ratio_)
        names = [f"component {i + 1} ({s:.0%} of variance)" for i, s in enumerate(share)]
    elif method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(embedding) - 1) / 3)
        reduced = TSNE(perplexity=perplexity, random_state=random_state)
        plane = np.asarray(reduced.fit_transform(embedding))
        names = ["t-SNE 1", "t-SNE 2"]
    else:
        raise ValueError(f"method={method!r} must be 'pca' or 'tsne'.")
    figure = _figure(6, 5)
    axes = figure.add_subplot()
    if labels is None:
        axes.scatter(plane[:, 0], plane[:, 1], s=12)
    else:
        if np.shape(labels) != (len(embedding),):
            raise ValueError(
                f"labels has the shape {np.shape(labels)}; expected ({len(embedding)},), one for "
                "each embedding."
            )
        if not isinstance(labels, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
            labels = np.asarray(labels, dtype=object)  # pandas knows no tensors, and 1 beside None
        codes, classes = pd.factorize(pd.Index(labels), sort=True)
        from matplotlib import colormaps

        colours = colormaps["tab10" if len(classes) <= _MANY_CLASSES else "gist_ncar"]
        if (codes < 0).any():
            part = plane[codes < 0]
            axes.scatter(part[:, 0], part[:, 1], s=12, color="lightgrey", label="no label")
        for i, label in enumerate(classes):
            at = i if len(classes) <= _MANY_CLASSES else i / len(classes)
            part = plane[codes == i]
            axes.scatter(part[:, 0], part[:, 1], s=12, color=colours(at), label=_literal(label))
        axes.legend(title="class", fontsize="small", ncols=1 + len(classes) // 16)
    axes.set(xlabel=names[0], ylabel=names[1])
    return figure


def _literal(label: Any) -> str:
    """As a legend shows it: `$` begins a formula there, and `_` hides a name."""
    text = str(label).replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def plot_history(history: list[dict]) -> Figure:
    """Curves of training: losses, codeword prediction and the codebook's use, or accuracy.

    Parameters
    ----------
    history : list of dict
        `history_` of a fitted :class:`~tsmae.TimeMAETransformer`, or of a fine-tuned
        :class:`~tsmae.TimeMAEClassifier`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If it is no list, or empty.
    ImportError
        Without matplotlib.
    """
    if not isinstance(history, list):
        raise TypeError(f"history is a {type(history).__name__}; expected `history_` of a fit.")
    if not history:
        raise ValueError("history is empty: nothing was trained by gradient.")
    curves = [name for name in _CURVES if any(row.get(name) for row in history)] or ["loss"]
    figure = _figure(3.2 * len(curves), 2.8)
    for axes, name in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        for prefix, label in (("", "training"), ("valid_", "held out")):
            if prefix + name in history[0]:
                epochs = [row["epoch"] for row in history]
                values = [row[prefix + name] for row in history]
                axes.plot(epochs, values, marker=".", label=label)
        axes.set(title=name.replace("_", " "), xlabel="epoch")
        if f"valid_{name}" in history[0]:
            axes.legend(fontsize="small")
    return figure


def plot_codewords(
    transformer: TimeMAETransformer, X: Any, channel: int = 0, codebook: int = 0
) -> Figure:
    """Series with each window coloured by its codeword.

    Parameters
    ----------
    transformer : fitted TimeMAETransformer
    X : panel
        A few series; each gets a row.
    channel : int, default=0
    codebook : int, default=0

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError, TypeError
        If X is not what it must be, or has no such channel, or the transformer no such codebook.
    ImportError
        Without matplotlib.
    """
    ids = transformer.codewords(X, codebook=codebook)
    values = read_panel(X).values
    check_position("channel", channel, values.shape[1])
    values = values[:, channel]
    length = transformer.config_.window_length
    figure = _figure(9, 1.3 * len(values) + 0.4)
    from matplotlib import colormaps

    colours = colormaps["hsv"]
    rows = figure.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
    for axes, series, words in zip(rows, values, ids, strict=True):
        axes.plot(np.arange(len(series)), series, color="black", linewidth=0.8)
        for place, word in enumerate(words):
            if word >= 0:
                left = place * length - 0.5
                # neighbouring ids get distant colours
                colour = colours(word * 0.618 % 1)
                axes.axvspan(left, left + length, color=colour, alpha=0.35, linewidth=0)
        axes.set_yticks([])
        axes.margins(x=0)
    rows[-1].set_xlabel("time point")
    return figure

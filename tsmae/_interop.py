"""Where the contracts of sktime and scikit-learn are known and reconciled.

Parameters are checked, errors are known to both, and what scikit-learn keeps on an estimator
survives sktime's reset.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import pandas as pd
import sklearn.exceptions
import sktime.exceptions
import torch
from sklearn.utils import Tags, TransformerTags
from sklearn.utils._param_validation import validate_parameter_constraints

from tsmae._parameters import check_callbacks, readout_of
from tsmae._reading import NamedPanel
from tsmae.training.device import cpu_by_default, n_torch_threads, no_autocast

# What scikit-learn stores on an estimator from outside, before and between fits.
_SKLEARN_BOOKKEEPING = (
    "_parent_callback_ctx",
    "_skl_callbacks",
    "_callback_fit_ctx",
    "_skl_callbacks_to_teardown",
    "_sklearn_output_config",
    "_metadata_request",
)


class Bridge:
    """The left-most base of our estimators: one object, two contracts."""

    _parameter_constraints: dict[str, Any]
    _kept_by_reset: tuple[str, ...] = ()  # private attributes
    is_fitted: bool
    embedding_dim_: int
    get_params: Any  # of sktime
    get_param_names: Any
    callbacks: Any
    random_state: Any
    validation_fraction: float | None

    def __hash__(self) -> int:
        """Equal for equal estimators, which sktime compares by their parameters."""
        return hash(type(self))

    def set_params(self, **params: Any) -> Self:
        """Set parameters, and forget the fit if there was one, as all sktime estimators do.

        Raises
        ------
        ValueError
            If there is no parameter of a name; before any is set.
        """
        known = set(self.get_params())
        for part, value in params.items():  # one that is replaced has other parameters
            known = {name for name in known if not name.startswith(f"{part}__")}
            if hasattr(value, "get_params") and not isinstance(value, type):
                known |= {f"{part}__{name}" for name in value.get_params()}
        for name in params:  # sktime would look only after it has set the others
            in_parts = sum(full.endswith(f"__{name}") for full in known)
            if name not in known and in_parts != 1:
                raise ValueError(
                    f"Invalid parameter {name!r} for {type(self).__name__}; there are "
                    f"{self.get_param_names()}."
                )
        return super().set_params(**params)  # type: ignore[misc]

    def reset(self) -> Self:
        """Forget the fit, as sktime's ``reset``, but keep scikit-learn's own bookkeeping."""
        names = (*_SKLEARN_BOOKKEEPING, *self._kept_by_reset)
        kept = {name: vars(self)[name] for name in names if name in vars(self)}
        super().reset()  # type: ignore[misc]
        vars(self).update(kept)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return self.is_fitted

    def check_is_fitted(self, method_name: str | None = None) -> None:
        """Raise an error that both libraries know if there was no `fit`."""
        if not self.is_fitted:
            raise NotFittedError(
                f"This {type(self).__name__} instance has not been fitted yet: call `fit` first."
            )

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the embedding's columns: ``timemae0``, ``timemae1``, …"""
        self.check_is_fitted()
        return embedding_names(self.embedding_dim_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags = TransformerTags(preserves_dtype=[])  # float32 in any case
        tags.non_deterministic = self.random_state is None
        return tags

    def _check_parameters(self) -> None:
        """Check every constructor parameter against its declared constraints.

        Raises
        ------
        ValueError, TypeError
            Naming parameter, value and what is allowed.
        """
        validate_parameter_constraints(
            self._parameter_constraints,
            {name: getattr(self, name) for name in self._parameter_constraints},
            type(self).__name__,
        )
        check_callbacks(self.callbacks, held_out=self.validation_fraction is not None)
        readout_of(self)

    @contextmanager
    def _fresh_fit(self) -> Iterator[None]:
        """Forget the last fit, and this one too if it fails: an estimator is never half fitted.

        Gradients are on, autocast is off, and tensors are on the CPU unless they say otherwise,
        whatever the caller set.
        """
        self.reset()
        n_torch_threads()  # found now, and not while another thread embeds
        try:
            with torch.inference_mode(False), torch.enable_grad(), cpu_by_default(), no_autocast():
                yield
        except BaseException:
            self.reset()
            raise

    def _check_matches_fit(self, read: NamedPanel) -> None:
        """Raise unless a panel has the channels of the panel in ``fit``."""
        n_channels = read.values.shape[1]
        if n_channels != self.n_channels_in_:
            flat = read.channels is not None and len(read.values) == 1
            hint = " If the rows of a flat DataFrame are series, pass X.to_numpy()." if flat else ""
            raise ValueError(
                f"X has {n_channels} channels, but {type(self).__name__} was fitted on "
                f"{self.n_channels_in_} channels.{hint}"
            )
        fitted = getattr(self, "channel_names_in_", None)
        if fitted is not None and read.channels is not None and list(fitted) != read.channels:
            raise ValueError(
                f"The channel names of X are {read.channels}, but {type(self).__name__} was "
                f"fitted on {list(fitted)}; same names in the same order are needed."
            )

    def _remember_classes(self, classes: np.ndarray) -> None:
        """Set the fitted attributes that describe the classes, sktime's own too."""
        self.classes_, self.n_classes_ = classes, len(classes)
        self._class_dictionary = {label: i for i, label in enumerate(classes)}

    def _restore_private_state(self) -> None:
        """Set what sktime's `fit` of a single output keeps under private names."""
        self._is_fitted, self._is_vectorized = True, False
        if hasattr(self, "classes_"):
            self._remember_classes(self.classes_)
            self._y_metadata, self._y_inner_mtype = {"is_univariate": True}, "numpy1D"

    def _remember_input(self, read: NamedPanel) -> None:
        """Set the fitted attributes that describe the input."""
        self.n_channels_in_ = read.values.shape[1]
        some = ~np.isnan(read.values).all((0, 1))  # (T,)
        self.series_length_ = int(np.flatnonzero(some)[-1]) + 1
        if read.n_features is not None:
            self.n_features_in_ = read.n_features
        if read.channels is not None:
            self.channel_names_in_ = np.array(read.channels, dtype=object)


class NotFittedError(sktime.exceptions.NotFittedError, sklearn.exceptions.NotFittedError):
    """What either library raises, and catches, for an estimator without a fit."""


def embedding_names(n: int) -> np.ndarray:
    """Names of n embedding columns."""
    return np.array([f"timemae{i}" for i in range(n)], dtype=object)


def embedding_frame(embeddings: np.ndarray, index: pd.Index | None = None) -> pd.DataFrame:
    """Embeddings (n, D) as a DataFrame; the array is not copied."""
    columns = embedding_names(embeddings.shape[1])
    return pd.DataFrame(embeddings, index=index, columns=columns, copy=False)

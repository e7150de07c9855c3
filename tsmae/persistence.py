"""Saving fitted estimators as tensors and JSON: nothing that is executed on loading.

A saved estimator is a zip archive of ``estimator.json`` (class, version, parameters, fitted
attributes), ``weights.safetensors``, and sktime's ``_metadata``, which names the class to
:func:`sktime.base.load` and is not read by our own ``load``.
"""

from __future__ import annotations

import copy
import json
import lzma
import os
import pickle
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self
from uuid import uuid4
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from sklearn.frozen import FrozenEstimator
from torch import nn

from tsmae._version import __version__
from tsmae.nn import TimeMAEConfig
from tsmae.nn.blocks import ForeignEncoder
from tsmae.training.device import available_devices, cpu_by_default, resolve_device

_FORMAT = 1
_AS_NUMPY = {  # what is not in it, torch pickles
    **{dtype: dtype for dtype in (
        torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.bool,
        torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    )},
    torch.bfloat16: torch.int16,
}  # fmt: skip
_OF_A_DEVICE = (torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError))
_STORED = "_modules_and_tensors"  # in the state that is pickled


def _zip_path(path: str | os.PathLike) -> Path:
    """The path with the ending ".zip"."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path={path!r} must be a str or a path, not {type(path).__name__}.")
    path = Path(path)
    if not path.name:
        raise ValueError(f"path={str(path)!r} has no file name.")
    return path if path.suffix == ".zip" else path.with_name(path.name + ".zip")


class SavedAsTensors:
    """Pickling, ``save`` and ``load`` for estimators whose weights live in torch modules.

    Subclasses name their modules in `_module_names`, and rebuild them in `_build_modules` from the
    parameters and the other fitted attributes.
    """

    check_is_fitted: Any  # of the estimator
    _parts: tuple[type[SavedAsTensors], ...] = ()  # estimators that may stand inside this one

    @property
    def _module_names(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _build_modules(self) -> None:
        raise NotImplementedError

    # ------------------------------------------------------------------ pickle

    def __getstate__(self) -> dict:
        """The state with the tensors of modules as arrays.

        So it loads where there is no GPU, and what is loaded of one fit is one key to
        :class:`joblib.Memory`: torch pickles a tensor with its address.
        """
        state: dict = dict(super().__getstate__())  # type: ignore[call-overload]
        modules = {name: state.pop(name) for name in self._module_names if name in state}
        if modules:
            state[_STORED] = _take_tensors(modules)
        return state

    def __setstate__(self, state: dict) -> None:
        state = dict(state)
        with torch.inference_mode(False):  # or what is read could not be trained on
            modules = _put_tensors(*state.pop(_STORED)) if _STORED in state else {}
            super().__setstate__({**state, **modules})  # type: ignore[misc]
            if modules:
                self._to_device(self.device_)

    def _to_device(self, wanted: torch.device) -> None:
        """Move the modules to the device they were fitted on, or to the CPU if it is not here."""
        try:
            device = resolve_device(wanted)
        except ValueError:
            warnings.warn(
                f"{type(self).__name__} was fitted on {wanted}, which is not available here "
                f"(there are {available_devices()}): it runs on the CPU now.",
                stacklevel=3,
            )
            device = torch.device("cpu")
        self.device_ = device
        for name in self._module_names:
            if hasattr(self, name):
                getattr(self, name).to(device)

    # ------------------------------------------------------------------ save and load

    def save(
        self, path: str | os.PathLike | None = None, serialization_format: str = "pickle"
    ) -> Any:
        """Save the fitted estimator.

        What it requests of scikit-learn's metadata routing is not kept.

        Parameters
        ----------
        path : str or path, optional
            File to write, ".zip" being appended if it has another or no ending. None returns
            an in-memory object as sktime's ``save`` does, which is a pickle.
        serialization_format : {"pickle", "cloudpickle"}, default="pickle"
            Of the in-memory object only.

        Returns
        -------
        zipfile.ZipFile, or with ``path=None`` an in-memory object for :func:`sktime.base.load`

        Raises
        ------
        NotFittedError
            Before `fit`.
        FileNotFoundError, ValueError
            If `path` is in a folder that does not exist, or has no file name.
        TypeError
            If a parameter holds code or an object that JSON cannot express (`callbacks`, a random
            generator): pickle such an estimator, or assign None to the attribute (`set_params`
            forgets the fit). If it was fitted with an `encoder` or on several outputs: pickle it.
            If `path` is no path.
        """
        if path is None:
            return super().save(None, serialization_format)  # type: ignore[misc]
        self.check_is_fitted()
        path = _zip_path(path)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"path={str(path)!r} is in a directory that does not exist.")
        weights: dict[str, torch.Tensor] = {}
        description = {
            "format": _FORMAT,
            "version": __version__,
            "estimator": _describe(self, "", weights),
        }
        text = json.dumps(description, indent=1)
        # written beside and renamed: a reader never sees half a file, whoever else saves here
        target = path.resolve()  # a link stays one
        temporary = target.with_name(f"{uuid4().hex}.part")
        try:
            with ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
                archive.writestr("_metadata", pickle.dumps(type(self)))
                archive.writestr("estimator.json", text)
                archive.writestr("weights.safetensors", save_tensors(weights))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return ZipFile(path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Load what `save` wrote; nothing in the file is executed.

        Parameters
        ----------
        path : str or path
            With or without ".zip"; what `save` wrote under this name comes first.

        Returns
        -------
        fitted estimator of this class

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged, or holds another class or an unknown format.
        TypeError
            If `path` is no path.

        Warns
        -----
        UserWarning
            If the device of the fit is not available: it runs on the CPU then.
        """
        zipped = _zip_path(path)
        path = Path(path) if Path(path).is_file() and not zipped.is_file() else zipped
        with _damage_as_value_error(path, cls):
            with ZipFile(path) as archive:
                description = json.loads(archive.read("estimator.json"))
                weights = load_tensors(archive.read("weights.safetensors"))
            file_format, version = int(description["format"]), description["version"]
            found = description["estimator"]["class"]
        if file_format > _FORMAT:
            raise ValueError(
                f"{path} has format {file_format}, written by tsmae {version}; this is tsmae "
                f"{__version__}, which reads up to {_FORMAT}."
            )
        if found != cls.__name__:
            raise ValueError(f"{path} holds a {found}, not a {cls.__name__}.")
        with _damage_as_value_error(path, cls), cpu_by_default(), torch.inference_mode(False):
            return _restore(description["estimator"], weights, cls)

    @classmethod
    def load_from_path(cls, serial: str | os.PathLike) -> Self:
        """What :func:`sktime.base.load` calls."""
        return cls.load(serial)


@contextmanager
def _damage_as_value_error(path: Path, cls: type) -> Iterator[None]:
    """One error for whatever a damaged file raises in the libraries that read it."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError, *_OF_A_DEVICE):
        raise
    except (
        ArithmeticError, AttributeError, BadZipFile, EOFError, LookupError, OSError, RuntimeError,
        SafetensorError, SyntaxError, TypeError, ValueError, lzma.LZMAError, zlib.error,
    ) as error:  # fmt: skip
        raise ValueError(
            f"path={str(path)!r} is damaged, or was not written by {cls.__name__}.save: {error}"
        ) from None


def _tensors(modules: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    """All weights of modules by name, shared ones once."""
    container = nn.ModuleDict(modules)
    return {**dict(container.named_parameters()), **dict(container.named_buffers())}


def _shapes(tensors: dict[str, torch.Tensor]) -> set[tuple]:
    return {(name, *tensor.shape) for name, tensor in tensors.items()}


class _Slot:
    """Stands in a module where a tensor belongs."""


def _take_tensors(modules: dict[str, nn.Module]) -> tuple[dict[str, nn.Module], list[tuple]]:
    """A copy of modules with slots for tensors, and of each slot array and kind of tensor."""
    instead: dict[int, _Slot | torch.Tensor] = {}
    stored = []
    for tensor in _all_tensors(modules):
        here = tensor.detach().cpu()
        is_parameter = isinstance(tensor, nn.Parameter)
        kind = (tensor.dtype, is_parameter, is_parameter and tensor.requires_grad)
        if tensor.dtype in _AS_NUMPY:
            instead[id(tensor)] = slot = _Slot()
            stored.append((slot, here.view(_AS_NUMPY[tensor.dtype]).numpy(), *kind))
        else:
            instead[id(tensor)] = _tensor_of(here, *kind)
    return copy.deepcopy(modules, instead), stored  # what is in the memo is not copied


def _put_tensors(modules: dict[str, nn.Module], stored: list[tuple]) -> dict[str, nn.Module]:
    """The modules that `_take_tensors` took apart."""
    tensors: dict[int, torch.Tensor] = {}
    for slot, array, *kind in stored:
        # of its own, even where it was memory-mapped
        tensors[id(slot)] = _tensor_of(torch.from_numpy(np.array(array)), *kind)
    return copy.deepcopy(modules, tensors)


def _tensor_of(
    values: torch.Tensor, dtype: torch.dtype, is_parameter: bool, requires_grad: bool
) -> torch.Tensor:
    values = values.view(dtype)
    return nn.Parameter(values, requires_grad) if is_parameter else values


def _all_tensors(modules: dict[str, nn.Module]) -> list[torch.Tensor]:
    """Parameters, buffers, and what a user's encoder keeps as a plain attribute."""
    tensors = [
        value
        for part in nn.ModuleDict(modules).modules()
        for values in (part._parameters, part._buffers, vars(part))
        for value in values.values()
        if isinstance(value, torch.Tensor)
    ]
    return list({id(tensor): tensor for tensor in tensors}.values())


def _modules_of(estimator) -> dict[str, nn.Module]:
    return {name: vars(estimator)[name] for name in estimator._module_names}


def _describe(estimator, prefix: str, weights: dict[str, torch.Tensor]) -> dict:
    """An estimator as JSON; its tensors are added to `weights`, their names after `prefix`."""

    def encode(value: Any, where: str) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, list):
            return [encode(item, where) for item in value]
        if isinstance(value, tuple):
            return {"tuple": [encode(item, where) for item in value]}
        if isinstance(value, dict):
            return {"dict": [[encode(k, where), encode(v, where)] for k, v in value.items()]}
        if isinstance(value, np.ndarray):
            dtype = "object" if value.dtype == object else value.dtype.str
            return {"array": encode(value.tolist(), where), "dtype": dtype}
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if isinstance(value, TimeMAEConfig):
            return {"config": {name: encode(v, name) for name, v in asdict(value).items()}}
        if isinstance(value, FrozenEstimator):
            return {"frozen": encode(value.estimator, where)}
        if isinstance(value, SavedAsTensors):
            if id(value) in seen:
                return {"same": seen[id(value)]}
            _part(type(estimator), type(value).__name__)
            seen[id(value)] = f"{prefix}{where}."
            return {"estimator": _describe(value, seen[id(value)], weights)}
        raise TypeError(
            f"{type(estimator).__name__} cannot be saved without executable code: {prefix}{where}="
            f"{value!r} is a {type(value).__name__}. Use pickle or joblib, or, if what follows the "
            f"fit can do without, first assign None to the attribute {prefix}{where} (set_params "
            "would forget the fit)."
        )

    if getattr(estimator, "_is_vectorized", False):
        raise TypeError(
            f"A {type(estimator).__name__} of several outputs, one estimator for each, cannot be "
            "saved without executable code. Use pickle or joblib."
        )
    trained = estimator.is_fitted and all(hasattr(estimator, m) for m in estimator._module_names)
    modules = _modules_of(estimator) if trained else {}
    for part in nn.ModuleDict(modules).modules():
        if isinstance(part, ForeignEncoder):
            raise TypeError(
                f"{type(estimator).__name__} cannot be saved without executable code: its encoder "
                f"is a {type(part.module).__name__} of your own. Use pickle or joblib."
            )
    seen: dict[int, str] = {}  # estimators that are a parameter and a fitted attribute
    params = estimator.get_params(deep=False)
    fitted = {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and not name.startswith("_") and name not in estimator._module_names
    }
    for name, tensor in _tensors(modules).items():
        weights[prefix + name] = tensor.detach().cpu().contiguous()
    return {
        "class": type(estimator).__name__,
        "params": {name: encode(value, name) for name, value in params.items()},
        "fitted": {name: encode(value, name) for name, value in fitted.items()},
        "is_fitted": estimator.is_fitted,
        "output": vars(estimator).get("_sklearn_output_config", {}),  # of set_output
        "config": encode(estimator.get_config(), "config"),  # of set_config
        "prefix": prefix,
        "trained": trained,
    }


def _restore(description: dict, weights: dict[str, torch.Tensor], cls: type) -> Any:
    """The estimator of class `cls` that `_describe` described."""

    restored: dict[str, Any] = {}

    def decode(value: Any) -> Any:
        if isinstance(value, list):
            return [decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"tuple": items}:
                return tuple(decode(items))
            case {"dict": items}:
                return {decode(k): decode(v) for k, v in items}
            case {"array": items, "dtype": dtype}:
                return np.array(decode(items), dtype=dtype)
            case {"device": name}:
                return torch.device(name)
            case {"config": fields}:
                return TimeMAEConfig(**fields)
            case {"frozen": inner}:
                return FrozenEstimator(decode(inner))
            case {"estimator": inner}:
                restored[inner["prefix"]] = _restore(inner, weights, _part(cls, inner["class"]))
                return restored[inner["prefix"]]
            case {"same": prefix}:
                return restored[prefix]
        raise ValueError(f"unknown entry {value!r} in a saved estimator.")

    estimator = cls(**{k: decode(value) for k, value in description["params"].items()})
    for name, value in description["fitted"].items():
        setattr(estimator, name, decode(value))
    if description["output"]:
        estimator.set_output(**description["output"])
    estimator.set_config(**decode(description["config"]))
    if description["is_fitted"]:
        estimator._restore_private_state()
    if description["trained"]:
        estimator._build_modules()  # the weights drawn are replaced
        prefix, inner = description["prefix"], tuple(restored)
        stored = {
            name.removeprefix(prefix): tensor
            for name, tensor in weights.items()
            if name.startswith(prefix) and not name.startswith(inner)
        }
        tensors = _tensors(_modules_of(estimator))
        differing = _shapes(tensors) ^ _shapes(stored)
        if differing:
            raise ValueError(f"its weights do not suit its parameters, as {min(differing)} shows.")
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(stored[name])
        estimator._to_device(estimator.device_)
    return estimator


def _part(whole: type[SavedAsTensors], name: str) -> type[SavedAsTensors]:
    """The class of this name that may stand inside an estimator of class `whole`."""
    classes = {part.__name__: part for part in whole._parts}
    if name not in classes:
        raise TypeError(
            f"Inside a {whole.__name__} only {list(classes)} can be saved without executable "
            f"code, not a {name}. Use pickle or joblib."
        )
    return classes[name]

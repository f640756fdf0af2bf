"""Layers outside Keras that a saved model may contain: each backbone declares its own before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


def _no_refusal(_config: Mapping[str, Any]) -> str:
    return ""


@dataclass(frozen=True)
class SavedLayers:
    """The layer classes of one package that the saved models of a backbone may contain.

    Attributes:
        names: Keras's registered names of the classes, such as `keras_hub>ViTBackbone`, or patterns such as
            `keras_hub>*Backbone`.
        module: the module that registers them when it is imported, such as `keras_hub`.
        noun: what they are in a message, such as `a KerasHub backbone`.
        refusal: returns why a layer with this configuration must not be loaded; empty if it may be.
        requirements: the packages that load the layers without dlcli, as pip installs them; empty where only dlcli does.
        operations: the one of them whose operations a SavedModel needs that takes texts.

    Example:
        >>> SavedLayers(("keras_hub>ViTBackbone",), "keras_hub", "a KerasHub backbone").package
        'keras_hub'
    """

    names: tuple[str, ...]
    module: str
    noun: str
    refusal: Callable[[Mapping[str, Any]], str] = _no_refusal
    requirements: tuple[str, ...] = ()
    operations: str = ""

    @property
    def package(self) -> str:
        """The package that a program must import to load such a model."""
        return self.module.partition(".")[0]

    @property
    def needs(self) -> str:
        """The packages that load the layers, in words."""
        return " and ".join(self.requirements) or self.package


_DECLARED: dict[str, SavedLayers] = {}


def declare(layers: SavedLayers) -> None:
    """Allows layers in saved models; declaring them again has no effect."""
    _DECLARED.update(dict.fromkeys(layers.names, layers))


def saved_layers(name: object) -> SavedLayers | None:
    """Returns the declared layers that a class belongs to by its registered name; None if it is none of them."""
    if not isinstance(name, str):
        return None
    return _DECLARED.get(name) or next((layers for pattern, layers in _DECLARED.items() if fnmatchcase(name, pattern)), None)

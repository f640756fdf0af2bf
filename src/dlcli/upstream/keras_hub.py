"""KerasHub: its import, its downloads, and workarounds; `tests/upstream/test_keras_hub.py` says when one may go."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dlcli.errors import DataError, Interrupted
from dlcli.program import install_command
from dlcli.upstream.keras import import_keras

KAGGLE, HUGGING_FACE = "kaggle://", "hf://"
_PATTERNS = ("*.json", "*.txt", "*.model", "*.spm", "*.safetensors", "*.weights.h5", "assets/*")
"""The files of a repository of Hugging Face that KerasHub reads; others are the same weights in other formats."""


def import_keras_hub() -> Any:
    """Imports and returns the package `keras_hub`.

    Raises:
        DataError: it is not installed.
    """
    import warnings

    import_keras()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the packages that it imports
            import keras_hub
    except ImportError as error:
        needed = f"the package {error.name or 'keras_hub'}, which is not installed"
        raise DataError(f"kind: keras_hub needs {needed}: {install_command('text')}") from None
    return keras_hub


def import_tokenizers() -> Any:
    """Imports and returns the package `keras_hub` with what its tokenizers need inside a model.

    Raises:
        DataError: `keras_hub` or `tensorflow_text` is not installed.
    """
    keras_hub = import_keras_hub()
    if "tensorflow_text" not in sys.modules:  # keras_hub imports it where it is installed
        needed = "the package tensorflow-text, which is not installed and does not exist for Windows"
        raise DataError(f"kind: keras_hub needs {needed}: {install_command('text')}")
    return keras_hub


def fetched_preset(handle: str, *, offline: bool) -> Path:
    """Returns the folder of a preset that is named by an address, fetched on first use into the cache of its package.

    Raises:
        DataError: it may not be fetched, or cannot be.
    """
    if offline:
        raise DataError(
            f"model.backbone.preset: {handle} is an address, which --offline forbids; name the folder of a preset instead"
        )
    import_keras_hub()
    try:
        if handle.startswith(KAGGLE):
            import kagglehub

            return Path(kagglehub.model_download(handle.removeprefix(KAGGLE)))
        import huggingface_hub

        return Path(huggingface_hub.snapshot_download(handle.removeprefix(HUGGING_FACE), allow_patterns=list(_PATTERNS)))
    except Interrupted:
        raise
    except Exception as error:  # requests, httpx and both packages have no common class
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"model.backbone.preset: {handle} could not be downloaded: {reason}\n"
            "  the folder of a preset works without a network"
        ) from None


@contextmanager
def saved_vocabularies() -> Iterator[None]:
    """Lets a model be saved inside the block with the vocabularies of its tokenizers in its configuration.

    KerasHub saves a vocabulary as a file beside the configuration. Keras calls the layers of a functional model before it
    loads their files, so that a model with a tokenizer inside cannot be loaded: "No vocabulary has been set"
    (KerasHub 0.32, github.com/keras-team/keras-hub `keras_hub/src/tokenizers/word_piece_tokenizer.py`, `get_config`). Every
    tokenizer also takes its vocabulary as an argument.
    """
    from unittest.mock import patch

    if "keras_hub" not in sys.modules:
        yield
        return
    tokenizers = import_keras_hub().tokenizers
    with ExitStack() as stack:
        for name, arguments in _VOCABULARIES.items():
            owner = getattr(tokenizers, name)
            stack.enter_context(patch.object(owner, "get_config", _with_vocabulary(owner.get_config, arguments)))
        yield


_VOCABULARIES = {
    "WordPieceTokenizer": ("vocabulary",),
    "BytePairTokenizer": ("vocabulary", "merges"),
    "SentencePieceTokenizer": ("proto",),
}
"""The classes of tokenizers with the arguments that hold their vocabulary, which are also their attributes."""


def _with_vocabulary(get_config: Any, arguments: tuple[str, ...]) -> Any:
    import base64

    def changed(tokenizer: Any) -> dict[str, Any]:
        config: dict[str, Any] = dict(get_config(tokenizer))
        for name in arguments:
            value = getattr(tokenizer, name, None)
            config[name] = base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
        return config

    return changed

"""Folders of pretrained networks for KerasHub: its own presets, and folders of Hugging Face, which it converts.

Nothing here imports KerasHub: what a check of a spec needs is in the JSON files of a folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dlcli.errors import DamagedFile, DataError

CONFIG = "config.json"
_OBJECTS = (CONFIG, "tokenizer.json", "preprocessor.json", "image_converter.json")
"""The files of a KerasHub preset that describe objects which KerasHub builds."""
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
_LARGEST = 64 * 2**20


@dataclass(frozen=True)
class PresetFacts:
    """What the files of a preset say, read without KerasHub.

    Attributes:
        reads: what its network takes.
        name: its architecture, such as `BertBackbone` or `bert`.
        channels: the size of the vector of a token; None where it is not known.
        longest: the most tokens of a text; None where there is no limit or it is not known.
        image_size: height and width of the images; None where it is not known.
        any_size: whether it takes images of other sizes too.
    """

    reads: Literal["texts", "images"]
    name: str
    channels: int | None = None
    longest: int | None = None
    image_size: tuple[int, int] | None = None
    any_size: bool = False


def preset_facts(folder: Path) -> PresetFacts:
    """Returns the facts on a preset.

    Raises:
        DataError: the folder is no preset, its files cannot be read, or they name classes that may run code.
    """
    config = _json(folder / CONFIG)
    if "registered_name" in config:
        return _of_keras_hub(folder, config)
    if "model_type" in config:
        return _of_hugging_face(folder, config)
    if "architecture" in config:
        size = _size(config.get("pretrained_cfg", {}).get("input_size", [])[1:])
        return PresetFacts("images", str(config["architecture"]), image_size=size, any_size=True)
    raise DataError(f"{folder / CONFIG} describes neither a preset of KerasHub nor a model of Hugging Face")


def _of_keras_hub(folder: Path, config: dict[str, Any]) -> PresetFacts:
    from dlcli.runtime.keras_file import refuse_code  # a check of another backbone needs no files of Keras

    for name in _OBJECTS:
        if (folder / name).is_file():
            try:
                refuse_code(_json(folder / name), folder / name)
            except DamagedFile as error:
                raise DataError(str(error)) from None
    settings = config.get("config")
    if not isinstance(settings, dict):
        raise DataError(f"{folder / CONFIG} does not describe a network")
    name = str(config.get("class_name"))
    if "image_shape" not in settings and (folder / "tokenizer.json").is_file():
        channels, longest = _number(settings.get("hidden_dim")), _number(settings.get("max_sequence_length"))
        return PresetFacts("texts", name, channels, longest)
    if "image_shape" not in settings:
        raise DataError(f"{folder} has neither a tokenizer (tokenizer.json) nor a network for images: {name}")
    size = _size(settings["image_shape"])
    converter = folder / "image_converter.json"
    usual = _size(_json(converter).get("config", {}).get("image_size")) if converter.is_file() else None
    return PresetFacts("images", name, image_size=size or usual, any_size=size is None)


def _of_hugging_face(folder: Path, config: dict[str, Any]) -> PresetFacts:
    name = str(config["model_type"])
    if any((folder / file).is_file() for file in _TOKENIZERS):
        longest = _number(config.get("max_position_embeddings"))
        if longest is not None and name in ("roberta", "xlm-roberta"):
            longest -= 2  # the first positions belong to padding
        return PresetFacts("texts", name, _number(config.get("hidden_size", config.get("dim"))), longest)
    side = config.get("image_size")
    size = _size(side if isinstance(side, list) else [side, side])
    if size is None:
        raise DataError(f"{folder} has neither the files of a tokenizer nor a network for images: {name}")
    return PresetFacts("images", name, image_size=size)


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path} is too large for a description")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is not valid JSON") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} does not describe an object")
    return content


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _size(value: object) -> tuple[int, int] | None:
    """Returns height and width of a list that begins with them, if both are known."""
    if not isinstance(value, list) or len(value) < 2:
        return None
    height, width = _number(value[0]), _number(value[1])
    return None if height is None or width is None else (height, width)

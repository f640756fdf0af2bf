"""Tiny sets of TensorFlow Datasets, written by TFDS itself, for tests of what real sets look like."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dlcli.upstream.tfds import import_tfds

tfds = import_tfds()


class _Tiny(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    SUPPORTED_VERSIONS: ClassVar[Any] = [tfds.core.Version("10.0.0")]
    pkg_dir_path = Path(__file__).parent
    features: ClassVar[Any]
    keys: ClassVar[Any] = ("image", "label")
    examples: ClassVar[Any]
    skip_registration = True

    def _info(self) -> Any:
        features = tfds.features.FeaturesDict(self.features)
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=self.keys)

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples(), "test": self._generate_examples()}

    def _generate_examples(self) -> Any:
        yield from enumerate(self.examples)


class TinyPhotos(_Tiny):
    """Photos of several sizes, 0 to 3 stored as constant pixels."""

    features: ClassVar[Any] = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=["cat", "dog"]),
    }
    examples: ClassVar[Any] = [{"image": np.full((5 + i, 7, 3), 10 * i, "uint8"), "label": i % 2} for i in range(4)]


class TinyScans(_Tiny):
    """Images of 12 bits stored in 16, from 100 to 4,095."""

    features: ClassVar[Any] = {
        "image": tfds.features.Image(shape=(None, None, 1), dtype=np.uint16, encoding_format="png"),
        "label": tfds.features.ClassLabel(names=["dark", "light"]),
    }
    examples: ClassVar[Any] = [
        {"image": np.full((5 + i % 2, 7, 1), level, "uint16"), "label": i % 2}
        for i, level in enumerate((100, 4095, 1099, 3096))
    ]


class TinyTable(_Tiny):
    """Columns: a number, a text, a named category."""

    features: ClassVar[Any] = {
        "age": np.float32,
        "town": tfds.features.Text(),
        "sex": tfds.features.ClassLabel(names=["male", "female"]),
        "survived": tfds.features.ClassLabel(names=["no", "yes"]),
    }
    keys: ClassVar[Any] = ({"age": "age", "town": "town", "sex": "sex"}, "survived")
    examples: ClassVar[Any] = [
        {"age": 10.0 * i, "town": "Köln" if i else "", "sex": i % 2, "survived": i % 2} for i in range(4)
    ]


class TinyRows(_Tiny):
    """Rows of three numbers with a number as label."""

    features: ClassVar[Any] = {"row": tfds.features.Tensor(shape=(3,), dtype=np.float32), "price": np.float32}
    keys: ClassVar[Any] = ("row", "price")
    examples: ClassVar[Any] = [{"row": np.full(3, i, "float32"), "price": i / 2} for i in range(4)]


class TinyTexts(_Tiny):
    """Sentences."""

    features: ClassVar[Any] = {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(num_classes=2)}
    keys: ClassVar[Any] = ("text", "label")
    examples: ClassVar[Any] = [{"text": "a b", "label": 0}, {"text": "c", "label": 1}]


class TinyUnlabelled(_Tiny):
    """Images whose labels are withheld, -1, as in the test splits of competitions."""

    features: ClassVar[Any] = {"image": tfds.features.Image(shape=(2, 2, 1)), "label": tfds.features.ClassLabel(num_classes=2)}
    examples: ClassVar[Any] = [{"image": np.zeros((2, 2, 1), "uint8"), "label": -1}]


class TinyKeyless(_Tiny):
    """A set without supervised keys."""

    features: ClassVar[Any] = {"image": tfds.features.Image(shape=(2, 2, 1))}
    keys: ClassVar[Any] = None
    examples: ClassVar[Any] = [{"image": np.zeros((2, 2, 1), "uint8")}]


def prepare(folder: Path) -> None:
    """Writes every set, the rows in two versions."""
    for builder in (TinyPhotos, TinyScans, TinyTable, TinyRows, TinyTexts, TinyUnlabelled, TinyKeyless):
        for version in ("1.0.0", "10.0.0") if builder is TinyRows else ("1.0.0",):
            builder(data_dir=folder, version=version).download_and_prepare()

"""The datasets that come with scikit-learn, and a small one of texts: nothing to download."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, row_ids
from dlcli.tasks import Task

_CANCER = ("malignant", "benign")
_TOPICS = ("events", "fees", "hours", "loans", "rooms")
_FACTS = {
    "digits": Facts((8, 8, 1), 10, tuple("0123456789"), ("classification",), image=True, examples=1797),
    "iris": Facts((4,), 3, ("setosa", "versicolor", "virginica"), ("classification",), examples=150),
    "wine": Facts((13,), 3, ("class_0", "class_1", "class_2"), ("classification",), examples=178),
    "breast_cancer": Facts((30,), 2, _CANCER, ("binary", "classification"), examples=569),
    "diabetes": Facts((10,), 1, (), ("regression",), examples=442),
    "library_messages": Facts(None, len(_TOPICS), _TOPICS, ("classification",), examples=880, columns=True, texts=True),
}


class Builtin(SourceSpec):
    """A dataset that is included in scikit-learn, or in dlcli.

    digits: 1,797 images of 8x8; iris: 150 flowers; wine: 178 wines; breast_cancer: 569 tumours; diabetes: 442 patients.
    library_messages: 880 invented messages to a library in five topics, written for dlcli.
    """

    kind: Literal["builtin"]
    name: Literal["digits", "iris", "wine", "breast_cancer", "diabetes", "library_messages"] = Field(
        description="Name of the dataset."
    )

    def facts(self, task: Task) -> Facts:
        """Returns the set's shape and classes."""
        return _FACTS[self.name]

    def stored_bytes(self) -> int:
        """Returns 0: the sets come with the packages, and are small."""
        return 0

    def open(self, request: Request) -> Opened:
        """Returns all examples as one part; digits as images 0 to 255."""
        if self.name == "library_messages":
            return _library_messages()
        import numpy as np

        from dlcli.runtime.image_arrays import fit_arrays
        from dlcli.runtime.inputs import array_inputs
        from dlcli.upstream.sklearn import bundled_table

        if self.name == "diabetes":  # its rows are computed from the file
            from sklearn.datasets import load_diabetes

            rows, values = load_diabetes(return_X_y=True)
            targets = values.astype("float32")[:, None]
        else:
            rows, targets = bundled_table(self.name)  # the class numbers of scikit-learn are those of `facts.classes`
        inputs = np.asarray(rows, dtype="float32")
        if self.name == "digits":
            # The set's 17 grey levels, 0 to 16, spread over the usual 256.
            images = np.rint(rows.reshape(-1, 8, 8, 1) * (255 / 16)).astype("uint8")
            inputs = fit_arrays(images, request.image)
        classes = _FACTS[self.name].classes or ("target",)
        return Opened({"train": Examples(array_inputs(inputs), targets, row_ids("train", len(inputs)))}, classes)


def _library_messages() -> Opened:
    """Returns the messages with their topics."""
    import csv

    import numpy as np

    from dlcli.runtime.inputs import TableColumns
    from dlcli.spec.data.sources.column_kinds import COLUMN_KINDS

    path = Path(__file__).parent / "sets" / "library_messages.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    messages = np.array([row["message"] for row in rows], dtype=object)
    topics = np.array([_TOPICS.index(row["topic"]) for row in rows], dtype="int64")
    inputs = TableColumns({"message": messages}, {"message": COLUMN_KINDS["text"]})
    return Opened({"train": Examples(inputs, topics, row_ids("train", len(rows)))}, _TOPICS)

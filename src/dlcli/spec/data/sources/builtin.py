"""The real datasets that come with scikit-learn: nothing to download."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dlcli.spec.data.sources.base import Examples, Facts, Opened, Request, SourceSpec, row_ids
from dlcli.tasks import Task

_CANCER = ("malignant", "benign")
_FACTS = {
    "digits": Facts((8, 8, 1), 10, tuple("0123456789"), ("classification",), image=True),
    "iris": Facts((4,), 3, ("setosa", "versicolor", "virginica"), ("classification",)),
    "wine": Facts((13,), 3, ("class_0", "class_1", "class_2"), ("classification",)),
    "breast_cancer": Facts((30,), 2, _CANCER, ("binary", "classification")),
    "diabetes": Facts((10,), 1, (), ("regression",)),
}


class Builtin(SourceSpec):
    """A dataset that is included in scikit-learn.

    digits: 1,797 images of 8x8; iris: 150 flowers; wine: 178 wines; breast_cancer: 569 tumours; diabetes: 442 patients.
    """

    kind: Literal["builtin"]
    name: Literal["digits", "iris", "wine", "breast_cancer", "diabetes"] = Field(description="Name of the dataset.")

    def facts(self, task: Task) -> Facts:
        """Returns the set's shape and classes."""
        return _FACTS[self.name]

    def open(self, request: Request) -> Opened:
        """Returns all examples as one part; digits as images 0 to 255."""
        import numpy as np
        from sklearn import datasets

        from dlcli.runtime.images import fit_arrays
        from dlcli.runtime.inputs import array_inputs

        data = getattr(datasets, f"load_{self.name}")()
        inputs = np.asarray(data.data, dtype="float32")
        if self.name == "digits":
            # The set's 17 grey levels, 0 to 16, spread over the usual 256.
            inputs = fit_arrays(np.rint(data.images * (255 / 16)).astype("uint8")[..., None], request.image)
        facts = _FACTS[self.name]
        # The class numbers of scikit-learn are those of `facts.classes`.
        targets = data.target.astype("int64") if facts.classes else data.target.astype("float32")[:, None]
        return Opened(
            {"train": Examples(array_inputs(inputs), targets, row_ids("train", len(inputs)))}, facts.classes or ("target",)
        )

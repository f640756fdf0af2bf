"""Any number of labels for each example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dlcli.tasks.output import Decisions, LossForm

if TYPE_CHECKING:
    from dlcli.arrays import Array


class Labels(Decisions):
    """Any number of labels: targets are 0 or 1, float32 `(n, labels)`; scores are probabilities `(n, labels)`."""

    noun: ClassVar[str] = "label"
    nouns: ClassVar[str] = "labels"
    loss_form: ClassVar[LossForm] = "yes_no"
    reads_columns: ClassVar[bool] = True
    measures: ClassVar[tuple[str, ...]] = ("accuracy", "f1")
    meaning: ClassVar[str] = "the probability of each label; above 0.5 it is predicted."

    def decide(self, scores: Array) -> Array:
        """Returns 1 for every label above 0.5, else 0, int64 `(n, labels)`."""
        return (scores > 0.5).astype("int64")

    def errors(self, truth: Array, predicted: Array) -> Array:
        """Returns the share of wrong labels of each example."""
        import numpy as np

        return np.asarray((np.broadcast_to(predicted, truth.shape) != truth).mean(axis=1))

    def labels(self, targets: Array) -> Array:
        """Returns the targets, float32 `(n, labels)`."""
        return targets.astype("float32").reshape(len(targets), -1)

    def members(self, truth: Array, scores: Array) -> tuple[Array, Array]:
        """Returns which labels each example has."""
        return truth == 1, scores

    def guess(self, names: Sequence[str], data: Mapping[str, Any], examples: int) -> tuple[str, Array | None]:
        """Returns the frequency of each label in the training split."""
        import numpy as np

        counts = np.array([data["counts"]["train"][name] for name in names], dtype="float64")
        share = (counts / data["examples"]["train"]).astype("float32")
        return "label frequencies (no model)", np.tile(share, (examples, 1))

    def counts(self, targets: Array, names: Sequence[str]) -> dict[str, int]:
        """Returns the number of examples with each label."""
        return dict(zip(names, targets.sum(axis=0).astype(int).tolist(), strict=True))

    def groups(self, targets: Array) -> Array:
        """Returns the number of the rarest label of each example; for those without a label the number of labels."""
        import numpy as np

        has_label = targets == 1
        order = np.argsort(has_label.sum(axis=0), kind="stable")
        rarest = order[has_label[:, order].argmax(axis=1)]
        groups: Array = np.where(has_label.any(axis=1), rarest, targets.shape[1]).astype("int64")
        return groups

    def text(self, target: Any, names: Sequence[str]) -> str:
        """Returns the names of an example's labels."""
        return ", ".join(name for name, yes in zip(names, target, strict=True) if yes) or "none"

    def simple_models(self, seed: int, *, texts: bool = False) -> Iterator[tuple[str, Any]]:
        """Yields classifiers of several labels."""
        from dlcli.tasks.simple_models import classifiers_of_labels

        yield from classifiers_of_labels(seed, texts=texts)

    def simple_scores(self, model: Any, inputs: Array, names: Sequence[str]) -> Array:
        """Returns the probabilities `(n, labels)`."""
        from dlcli.tasks.simple_models import label_scores

        return label_scores(model, inputs)

    def fault_of_targets(self, targets: Array, task: str) -> str:
        """Returns the fault of targets other than 0 and 1."""
        import numpy as np

        return "" if np.isin(targets, (0, 1)).all() else f"task: {task} needs one column of 0 and 1 per label"

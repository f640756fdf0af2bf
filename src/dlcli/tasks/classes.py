"""One class of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dlcli.tasks.output import SMALLEST, Decisions, LossForm
from dlcli.visible import listed

if TYPE_CHECKING:
    from dlcli.arrays import Array
    from dlcli.tasks.columns import PredictionColumns, StoredPredictions


class Classes(Decisions):
    """One class of several: targets are class numbers int64 `(n,)`, scores probabilities float32 `(n, classes)`."""

    noun: ClassVar[str] = "class"
    nouns: ClassVar[str] = "classes"
    loss_form: ClassVar[LossForm] = "classes"
    meaning: ClassVar[str] = "the probability of each class."
    ranking_loop: ClassVar[str] = "for label, score in sorted(zip(labels, scores), key=lambda pair: -pair[1])[:5]:"

    def width(self, targets: Array, names: Sequence[str]) -> int:
        """Returns the width of the model's output."""
        return self.units(len(names))

    def decide(self, scores: Array) -> Array:
        """Returns the number of the most probable class of each example; the first of equally probable classes."""
        predicted: Array = scores.argmax(axis=1)
        return predicted

    def errors(self, truth: Array, predicted: Array) -> Array:
        """Returns 1 for each wrong class, else 0."""
        import numpy as np

        return np.asarray((np.broadcast_to(predicted, truth.shape) != truth).astype("float64"))

    def labels(self, targets: Array) -> Array:
        """Returns the class numbers."""
        return targets.astype("int32")

    def members(self, truth: Array, scores: Array) -> tuple[Array, Array]:
        """Returns each class against the rest."""
        import numpy as np

        members: Array = np.arange(scores.shape[1]) == truth[:, None]
        return members, scores

    def claims(self, truth: Array, scores: Array) -> tuple[Array, Array]:
        """Returns the probability of the predicted class, and whether the prediction is right."""
        import numpy as np

        predicted = self.decide(scores)
        return scores[np.arange(len(scores)), predicted].astype("float64"), predicted == truth

    def brier(self, truth: Array, scores: Array) -> float:
        """Returns the mean squared error, summed over the classes: from 0 to 2, as scikit-learn's `brier_score_loss`."""
        import numpy as np

        shares = scores.astype("float64")
        right = shares[np.arange(len(shares)), truth]
        return float((1 - 2 * right + (shares**2).sum(axis=1)).mean())

    def calibrated(self, scores: Array, temperature: float) -> Array:
        """Returns the softmax of the logarithms divided by the temperature, float64 `(n, classes)`."""
        import numpy as np
        from scipy.special import softmax

        return np.asarray(softmax(np.log(np.clip(scores.astype("float64"), SMALLEST, 1.0)) / temperature, axis=1))

    def log_loss(self, truth: Array, scores: Array) -> float:
        """Returns the mean of the negative logarithm of the right class's probability."""
        import numpy as np

        return float(-np.log(np.maximum(scores[np.arange(len(scores)), truth], SMALLEST)).mean())

    def guess(self, names: Sequence[str], data: Mapping[str, Any], examples: int) -> tuple[str, Array | None]:
        """Returns the frequencies of the classes in the training split, named by the most frequent class."""
        import numpy as np

        counts = np.array([data["counts"]["train"][name] for name in names], dtype="float64")
        shares = counts / counts.sum()
        return f"always {names[int(shares.argmax())]!r}", np.tile(shares, (examples, 1))

    def counts(self, targets: Array, names: Sequence[str]) -> dict[str, int]:
        """Returns the number of examples of each class."""
        import numpy as np

        return dict(zip(names, np.bincount(targets, minlength=len(names)).tolist(), strict=True))

    def strata(self, targets: Array) -> Array | None:
        """Returns the class numbers."""
        return targets

    def text(self, target: Any, names: Sequence[str]) -> str:
        """Returns the class's name."""
        return names[int(target)]

    def caption(self, scores: Array, names: Sequence[str], place: int) -> str:
        """Returns the predicted class, and the explained class if it is another one, with their probabilities."""
        predicted = int(self.decide(scores[None])[0])
        explained = f", {names[place]} {scores[place]:.3f}" if place != predicted else ""
        return f"predicted {names[predicted]} {scores[predicted]:.3f}{explained}"

    def columns(self, truth: Array, scores: Array, names: Sequence[str]) -> dict[str, Array]:
        """Returns `label`, `predicted`, `probability` and, of up to 1,000 classes, the probability of each."""
        import numpy as np

        from dlcli.tasks.columns import MANY_CLASSES

        texts, predicted = np.array(names, dtype=object), self.decide(scores)
        columns = {"label": texts[truth], "predicted": texts[predicted]}
        columns["probability"] = scores[np.arange(len(predicted)), predicted]
        named_classes = names if len(names) <= MANY_CLASSES else ()
        return columns | {f"p_{name}": scores[:, place] for place, name in enumerate(named_classes)}

    def read_columns(self, columns: PredictionColumns, names: Sequence[str]) -> StoredPredictions:
        """Returns the class numbers; of more than 1,000 classes without probabilities."""
        import numpy as np

        from dlcli.tasks.columns import MANY_CLASSES, StoredPredictions

        label, predicted = (columns.class_numbers(word, names) for word in ("label", "predicted"))
        if len(names) > MANY_CLASSES:
            return StoredPredictions(tuple(names), label, None, predicted)
        return StoredPredictions(tuple(names), label, np.stack([columns.numbers(f"p_{name}") for name in names], axis=1))

    def simple_models(self, seed: int, *, texts: bool = False) -> Iterator[tuple[str, Any]]:
        """Yields classifiers."""
        from dlcli.tasks.simple_models import classifiers, text_classifiers

        yield from text_classifiers() if texts else classifiers(seed)

    def simple_scores(self, model: Any, inputs: Array, names: Sequence[str]) -> Array:
        """Returns the probabilities `(n, classes)`."""
        from dlcli.tasks.simple_models import class_scores

        return class_scores(model, inputs, len(names))

    def fault_of_classes(self, classes: Sequence[str], present: int, task: str) -> str:
        """Returns the fault of a training split of one class."""
        if present < 2:
            return f"all examples are of one class ({listed(classes)}), so there is nothing to classify"
        return ""

    def fault_of_count(self, count: int | None, names: Sequence[str], task: str) -> tuple[tuple[str, ...], str] | None:
        """Returns the fault of a source of one class."""
        if count != 1 or not names:
            return None
        return ("data", "source"), f"the source has a single class, {names[0]}, so there is nothing to classify"


class TwoClasses(Classes):
    """One of two classes: the model outputs the probability of the second class `(n, 1)`, scores hold both `(n, 2)`."""

    loss_form: ClassVar[LossForm] = "yes_no"
    measures: ClassVar[tuple[str, ...]] = ("accuracy", "auc")
    meaning: ClassVar[str] = "the probability of the second label of `{labels}`."
    # The only output is the second class's probability.
    ranking_loop: ClassVar[str] = (
        "for label, score in sorted(zip(labels, (1 - scores[0], scores[0])), key=lambda pair: -pair[1]):"
    )

    def units(self, names: int) -> int:
        """Returns 1: one sigmoid gives the probability of the second class."""
        return 1

    def scores(self, output: Array) -> Array:
        """Returns the probabilities of both classes."""
        import numpy as np

        return np.concatenate([1 - output, output], axis=1)

    def model_output(self, scores: Array) -> Array:
        """Returns the probability of the second class `(n, 1)`."""
        return scores[:, 1:]

    def labels(self, targets: Array) -> Array:
        """Returns 0 or 1 for each example, float32 `(n, 1)`."""
        return targets.astype("float32").reshape(len(targets), 1)

    def members(self, truth: Array, scores: Array) -> tuple[Array, Array]:
        """Returns the second class against the first."""
        return truth[:, None] == 1, scores[:, 1:]

    def member_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Returns the name of the second class."""
        return tuple(names[-1:])

    def claims(self, truth: Array, scores: Array) -> tuple[Array, Array]:
        """Returns the probability of the second class, and whether the example is of it."""
        return Decisions.claims(self, truth, scores)

    def brier(self, truth: Array, scores: Array) -> float:
        """Returns the mean squared error of the second class's probability."""
        return Decisions.brier(self, truth, scores)

    def calibrated(self, scores: Array, temperature: float) -> Array:
        """Returns the probabilities of both classes, float64 `(n, 2)`, with the second's logit divided by the temperature."""
        return self.scores(Decisions.calibrated(self, scores[:, 1:], temperature))

    def log_loss(self, truth: Array, scores: Array) -> float:
        """Returns the mean cross-entropy of the second class's probability."""
        return Decisions.log_loss(self, truth, scores)

    def unit_score(self, output: Any, place: int, *, is_probability: bool) -> Any:
        """Returns the single unit for the second class, and its complement for the first."""
        if place == 1:
            return output[:, 0]
        return 1 - output[:, 0] if is_probability else -output[:, 0]

    def fault_of_classes(self, classes: Sequence[str], present: int, task: str) -> str:
        """Returns the fault of a number of classes other than two."""
        return "" if len(classes) == 2 else f"task: {task} needs two classes, found {len(classes)}: {listed(classes)}"

    def fault_of_count(self, count: int | None, names: Sequence[str], task: str) -> tuple[tuple[str, ...], str] | None:
        """Returns the fault of a number of classes other than two."""
        if count in (None, 2):
            return None
        return ("task",), f"{task} needs two classes, but the source has {count}; use `task: classification`"

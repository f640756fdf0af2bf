"""scikit-learn classifiers as heads, turned into plain Keras layers once they are fitted.

So `model.keras` holds everything, loads with Keras alone, and is evaluated and exported like any other model. Keras
computes in float32 where scikit-learn uses float64, so two classes whose shares differ by less than float32's rounding
may change places.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from dlcli.errors import DataError
from dlcli.runtime.classifier_layers import (
    centred,
    columns,
    dense,
    forest_tables,
    from_decisions,
    from_pairs,
    lookup,
    nearest,
    normalized,
    pairs_of,
)
from dlcli.spec.base import Count, NotNegative, Positive, Spec, dump
from dlcli.upstream.keras import import_keras
from dlcli.upstream.sklearn import kernel_gamma, neighbor_classes, neighbor_rows

_C = "Inverse of the regularisation strength."
_BALANCED = "`balanced`: all classes have the same total weight."


def _word_or_number(value: Any, words: tuple[str, str], most: float, what: str) -> str | float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and 0 < value <= most:
        return float(value)
    if value in words:
        return value  # type: ignore[no-any-return]
    raise PydanticCustomError("expected", "expected {what}", {"what": f"{what}, `{words[0]}` or `{words[1]}`"})


Gamma = Annotated[
    str | float,
    PlainValidator(
        lambda value: _word_or_number(value, ("scale", "auto"), 1e300, "a number above 0"),
        json_schema_input_type=Literal["scale", "auto"] | Positive,
    ),
]
MaxFeatures = Annotated[
    str | float,
    PlainValidator(
        lambda value: _word_or_number(value, ("sqrt", "log2"), 1, "a fraction above 0 and up to 1"),
        json_schema_input_type=Literal["sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)],
    ),
]


class ClassifierSpec(Spec):
    """A classifier on the backbone's features. Fields have scikit-learn's names and defaults, but more iterations."""

    kind: str
    standardize: bool = Field(
        default=True, description="Whether features are scaled to mean 0 and standard deviation 1 on the training split."
    )

    def fit(self, features: Any, labels: Any, seed: int) -> Any:
        """Returns the fitted classifier with its scaling.

        Args:
            features: float32 `(n, f)`.
            labels: class numbers int64 `(n,)`.
            seed: of everything random in the fit.

        Raises:
            DataError: there are examples of one class only, or features that are not finite.
        """
        import numpy as np
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, StandardScaler

        if len(np.unique(labels)) < 2:
            raise DataError(f"`{self.kind}` is a classifier, but the training split has only one class")
        if not np.isfinite(features).all():
            raise DataError(f"`{self.kind}` needs finite features; some are infinite or NaN: check the backbone's weights")
        scaling = StandardScaler().fit(features) if self.standardize else FunctionTransformer()
        # Not the pipeline's own `fit`, which would fit the scaling again.
        return make_pipeline(scaling, self.estimator(seed).fit(scaling.transform(features), labels))

    def estimator(self, seed: int) -> Any:
        """Returns the scikit-learn classifier, not fitted."""
        raise NotImplementedError

    def graph(self, fitted: Any, *, classes: int, binary: bool) -> Any:
        """Returns the Keras model `head` of the fitted classifier: features `(batch, f)` to class shares.

        Shares are float32 `(batch, classes)`, or `(batch, 1)`, the second class's, where `binary`. A class without a
        training example has a share of 0.
        """
        keras = import_keras()
        scaling, estimator = fitted[0], fitted[-1]
        entry = keras.Input((estimator.n_features_in_,), name="features", dtype="float32")
        scaled = normalized(entry, scaling.mean_, scaling.scale_) if self.standardize else entry
        shares = self.shares(estimator, scaled)
        output = columns(shares, [int(label) for label in estimator.classes_], classes, binary)
        head = keras.Model(entry, output, name="head")
        head.trainable = False
        return head

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns a share for each class that the fitted estimator knows, for scaled features."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """Returns the estimator's own settings."""
        return {name: value for name, value in dump(self).items() if name not in ("kind", "standardize")}


class LogisticRegression(ClassifierSpec):
    """A linear classifier with probabilities: the usual first choice."""

    kind: Literal["logistic_regression"]
    C: Positive = Field(default=1.0, description=_C)
    max_iter: Count = Field(default=1000, description="Maximum number of iterations of the solver.")
    class_weight: Literal["balanced"] | None = Field(default=None, description=_BALANCED)

    def estimator(self, seed: int) -> Any:
        """Returns scikit-learn's logistic regression."""
        from sklearn.linear_model import LogisticRegression as Estimator

        return Estimator(**self.settings(), random_state=seed)

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns the probabilities: a softmax over linear functions, of two classes a sigmoid of one."""
        return from_decisions(dense(tensor, estimator.coef_.T, estimator.intercept_))


class LinearSVC(ClassifierSpec):
    """A linear support vector machine. Its scores rank the classes but are not calibrated probabilities."""

    kind: Literal["linear_svc"]
    C: Positive = Field(default=1.0, description=_C)
    max_iter: Count = Field(default=10000, description="Maximum number of iterations of the solver.")
    class_weight: Literal["balanced"] | None = Field(default=None, description=_BALANCED)

    def estimator(self, seed: int) -> Any:
        """Returns scikit-learn's linear support vector machine."""
        from sklearn.svm import LinearSVC as Estimator

        return Estimator(**self.settings(), random_state=seed)

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns the softmax (of two classes the sigmoid) of the distances from the planes."""
        return from_decisions(dense(tensor, estimator.coef_.T, estimator.intercept_))


class SVC(ClassifierSpec):
    """A support vector machine with a kernel. Its scores rank the classes but are not calibrated probabilities.

    Ties are broken by the decision function (`break_ties` of scikit-learn).
    """

    kind: Literal["svc"]
    C: Positive = Field(default=1.0, description=_C)
    kernel: Literal["rbf", "linear", "poly"] = Field(default="rbf", description="Kernel function.")
    gamma: Gamma = Field(
        default="scale", description="Coefficient of the rbf and poly kernels; larger values make them narrower."
    )
    degree: Count = Field(default=3, description="Degree of the poly kernel.")
    coef0: NotNegative = Field(default=0.0, description="Independent term of the poly kernel.")
    class_weight: Literal["balanced"] | None = Field(default=None, description=_BALANCED)

    def estimator(self, seed: int) -> Any:
        """Returns scikit-learn's support vector machine."""
        from sklearn import svm

        return svm.SVC(**self.settings(), decision_function_shape="ovr", break_ties=True, random_state=seed)

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns the softmax of the votes of all pairs of classes, the sums of their decisions breaking ties."""
        weights, offsets, pairs = pairs_of(estimator)
        decisions = dense(self._kernel(estimator, tensor), weights, offsets)
        if len(estimator.classes_) == 2:
            return from_decisions(decisions)
        return from_pairs(decisions, pairs, len(estimator.classes_))

    def _kernel(self, estimator: Any, tensor: Any) -> Any:
        """Returns the kernel's value of every row with every support vector: `(batch, supports)`."""
        import numpy as np

        ops = import_keras().ops
        supports, gamma = estimator.support_vectors_, kernel_gamma(estimator)
        none = np.zeros(len(supports))
        if self.kernel == "linear":
            return dense(tensor, supports.T, none)
        if self.kernel == "poly":
            return ops.power(dense(tensor, gamma * supports.T, none + self.coef0), float(self.degree))
        # exp(-g |x - s|^2) = exp(2 g x.s - g |s|^2 - g |x|^2)
        tensor, supports = centred(tensor, supports)
        products = dense(tensor, 2 * gamma * supports.T, -gamma * (supports**2).sum(axis=1))
        return ops.exp(products - gamma * ops.sum(ops.square(tensor), axis=-1, keepdims=True))


class RandomForest(ClassifierSpec):
    """Decision trees on random subsets of the examples and features."""

    kind: Literal["random_forest"]
    # TensorFlow Lite scales by a product where Keras divides, and so puts features on another side of a threshold.
    standardize: bool = Field(
        default=False,
        description="Whether features are scaled to mean 0 and standard deviation 1; trees do not need it and are exact"
        " without it.",
    )
    n_estimators: Count = Field(default=100, description="Trees.")
    max_depth: Count | None = Field(default=None, description="Maximum depth of a tree; unlimited if not set.")
    min_samples_leaf: Count = Field(default=1, description="Minimum number of training examples in a leaf.")
    max_features: MaxFeatures = Field(
        default="sqrt",
        description="Number of random features to consider at each split; a number is a fraction of all features.",
    )
    class_weight: Literal["balanced"] | None = Field(default=None, description=_BALANCED)

    def estimator(self, seed: int) -> Any:
        """Returns scikit-learn's random forest."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(**self.settings(), random_state=seed)

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns the mean of all trees' leaf shares, each found by walking its tree in tables."""
        ops = import_keras().ops
        nodes, leaves, roots, depth = forest_tables(estimator)
        table = lookup(nodes)
        place = ops.zeros_like(tensor[:, :1], dtype="int32") + ops.convert_to_tensor(roots.astype("int32"))
        for _ in range(depth):
            node = table(place)  # (batch, trees, 4): feature, threshold, left, right
            value = ops.take_along_axis(tensor, ops.cast(node[..., 0], "int32"), axis=1)
            goes_left = value <= node[..., 1]
            place = ops.cast(ops.where(goes_left, node[..., 2], node[..., 3]), "int32")
        return ops.mean(lookup(leaves)(place), axis=1)


class KNN(ClassifierSpec):
    """Nearest neighbours. The model stores the features of all training examples twice, so it can become large."""

    kind: Literal["knn"]
    n_neighbors: Count = Field(default=5, description="Number of neighbours that vote.")
    weights: Literal["uniform", "distance"] = Field(
        default="uniform", description="Weights of the votes: equal, or 1 / distance."
    )

    def fit(self, features: Any, labels: Any, seed: int) -> Any:
        """Returns the training examples with their scaling.

        Raises:
            DataError: there are fewer examples than neighbours, or any that other classifiers refuse too.
        """
        if len(features) < self.n_neighbors:
            raise DataError(f"`n_neighbors` is {self.n_neighbors}, but the training split has {len(features)} examples")
        return super().fit(features, labels, seed)

    def estimator(self, seed: int) -> Any:
        """Returns scikit-learn's nearest neighbours."""
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(**self.settings(), algorithm="brute")

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns each class's share of the votes of the nearest training rows."""
        import numpy as np

        ops = import_keras().ops
        negative, places = nearest(tensor, neighbor_rows(estimator), self.n_neighbors)
        votes = lookup(np.eye(len(estimator.classes_))[neighbor_classes(estimator)])(places)
        if self.weights == "uniform":
            return ops.mean(votes, axis=1)
        # Where training rows are the same as the example, only they vote.
        same = ops.cast(ops.equal(negative, 0), "float32")
        weights = ops.where(ops.max(same, axis=1, keepdims=True) > 0, same, 1 / ops.sqrt(same - negative))
        return ops.sum(votes * ops.expand_dims(weights / ops.sum(weights, axis=1, keepdims=True), -1), axis=1)

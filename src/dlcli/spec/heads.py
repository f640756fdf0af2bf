"""scikit-learn classifiers as heads, turned into plain Keras layers once they are fitted.

So `model.keras` holds everything, loads with Keras alone, and is evaluated and exported like any other model. The
learned arrays are weights of stock layers: `Dense` for products, `Embedding` as a table to look rows up in.

Keras computes in float32 where scikit-learn uses float64, so two classes whose shares differ by less than float32's
rounding may change places.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from dlcli.errors import DataError
from dlcli.spec.base import Count, NotNegative, Positive, Spec, dump
from dlcli.upstream import import_keras

_C = "Inverse of the regularisation's strength."
_BALANCED = "`balanced`: classes weigh the same, however many examples each has."
_SPARE = 16
"""Neighbours beyond those asked for that are measured again exactly: rounding may have mixed up their order."""


class ClassifierSpec(Spec):
    """A classifier on the backbone's features. Fields have scikit-learn's names and defaults, but more iterations."""

    kind: str
    standardize: bool = Field(
        default=True, description="Whether features get mean 0 and deviation 1, those of the training part."
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
        from sklearn.preprocessing import FunctionTransformer

        if len(np.unique(labels)) < 2:
            raise DataError(f"`{self.kind}` tells classes apart, but the training part has examples of one class only")
        if not np.isfinite(features).all():
            raise DataError(
                f"`{self.kind}` needs finite features; some are infinite or no number: look at the backbone's weights"
            )
        scaling = _scaling(features) if self.standardize else FunctionTransformer()
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
        scaled = _normalized(entry, scaling.mean_, scaling.scale_) if self.standardize else entry
        shares = self.shares(estimator, scaled)
        output = _columns(shares, [int(one) for one in estimator.classes_], classes, binary)
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
    """A linear classifier with probabilities: the first to try."""

    kind: Literal["logistic_regression"]
    C: Positive = Field(default=1.0, description=_C)
    max_iter: Count = Field(default=1000, description="Most iterations of the solver.")
    class_weight: Literal["balanced"] | None = Field(default=None, description=_BALANCED)

    def estimator(self, seed: int) -> Any:
        """Returns scikit-learn's logistic regression."""
        from sklearn.linear_model import LogisticRegression as Estimator

        return Estimator(**self.settings(), random_state=seed)

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns the probabilities: a softmax over linear functions, of two classes a sigmoid of one."""
        return _from_decisions(_dense(tensor, estimator.coef_.T, estimator.intercept_))


class LinearSVC(ClassifierSpec):
    """A linear support vector machine. Its shares order the classes rightly, but are no calibrated probabilities."""

    kind: Literal["linear_svc"]
    C: Positive = Field(default=1.0, description=_C)
    max_iter: Count = Field(default=10000, description="Most iterations of the solver.")
    class_weight: Literal["balanced"] | None = Field(default=None, description=_BALANCED)

    def estimator(self, seed: int) -> Any:
        """Returns scikit-learn's linear support vector machine."""
        from sklearn.svm import LinearSVC as Estimator

        return Estimator(**self.settings(), random_state=seed)

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns the softmax (of two classes the sigmoid) of the distances from the planes."""
        return _from_decisions(_dense(tensor, estimator.coef_.T, estimator.intercept_))


class SVC(ClassifierSpec):
    """A support vector machine with a kernel. Its shares order the classes rightly, but are no calibrated probabilities.

    Of classes with as many votes, the one with the clearest decisions wins: scikit-learn's `break_ties`.
    """

    kind: Literal["svc"]
    C: Positive = Field(default=1.0, description=_C)
    kernel: Literal["rbf", "linear", "poly"] = Field(default="rbf", description="How two rows of features are compared.")
    gamma: Literal["scale", "auto"] | Positive = Field(
        default="scale", description="Factor of the rbf and poly kernels: the larger, the narrower."
    )
    degree: Count = Field(default=3, description="Degree of the poly kernel.")
    coef0: NotNegative = Field(default=0.0, description="Added to the products of the poly kernel.")
    class_weight: Literal["balanced"] | None = Field(default=None, description=_BALANCED)

    def estimator(self, seed: int) -> Any:
        """Returns scikit-learn's support vector machine."""
        from sklearn import svm

        return svm.SVC(**self.settings(), decision_function_shape="ovr", break_ties=True, random_state=seed)

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns the softmax of the votes of all pairs of classes, the sums of their decisions breaking ties."""
        weights, offsets, pairs = _pairs_of(estimator)
        decisions = _dense(self._kernel(estimator, tensor), weights, offsets)
        if len(estimator.classes_) == 2:
            return _from_decisions(decisions)
        return _from_pairs(decisions, pairs, len(estimator.classes_))

    def _kernel(self, estimator: Any, tensor: Any) -> Any:
        """Returns the kernel's value of every row with every support vector: `(batch, supports)`."""
        import numpy as np

        ops = import_keras().ops
        supports, gamma = estimator.support_vectors_, float(estimator._gamma)
        none = np.zeros(len(supports))
        if self.kernel == "linear":
            return _dense(tensor, supports.T, none)
        if self.kernel == "poly":
            return ops.power(_dense(tensor, gamma * supports.T, none + self.coef0), float(self.degree))
        # exp(-g |x - s|^2) = exp(2 g x.s - g |s|^2 - g |x|^2)
        tensor, supports = _centred(tensor, supports)
        products = _dense(tensor, 2 * gamma * supports.T, -gamma * (supports**2).sum(axis=1))
        return ops.exp(products - gamma * ops.sum(ops.square(tensor), axis=-1, keepdims=True))


class RandomForest(ClassifierSpec):
    """Many decision trees on random parts of the examples and features."""

    kind: Literal["random_forest"]
    n_estimators: Count = Field(default=100, description="Trees.")
    max_depth: Count | None = Field(default=None, description="Deepest a tree may grow; as deep as it takes if not given.")
    min_samples_leaf: Count = Field(default=1, description="Fewest training examples in a leaf.")
    max_features: Literal["sqrt", "log2"] | Annotated[float, Field(gt=0, le=1)] = Field(
        default="sqrt", description="How many features a split may choose from, drawn at random; a number is a share of all."
    )
    class_weight: Literal["balanced"] | None = Field(default=None, description=_BALANCED)

    def estimator(self, seed: int) -> Any:
        """Returns scikit-learn's random forest."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(**self.settings(), random_state=seed)

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns the mean of all trees' leaf shares, each found by walking its tree in tables."""
        ops = import_keras().ops
        nodes, leaves, roots, depth = _forest_tables(estimator)
        table = _lookup(nodes)
        place = ops.zeros_like(tensor[:, :1], dtype="int32") + ops.convert_to_tensor(roots.astype("int32"))
        for _ in range(depth):
            node = table(place)  # (batch, trees, 4): feature, threshold, left, right
            value = ops.take_along_axis(tensor, ops.cast(node[..., 0], "int32"), axis=1)
            goes_left = value <= node[..., 1]
            place = ops.cast(ops.where(goes_left, node[..., 2], node[..., 3]), "int32")
        return ops.mean(_lookup(leaves)(place), axis=1)


class KNN(ClassifierSpec):
    """The classes of the nearest training examples. The model holds all their features, twice: large for many."""

    kind: Literal["knn"]
    n_neighbors: Count = Field(default=5, description="Neighbours that vote.")
    weights: Literal["uniform", "distance"] = Field(
        default="uniform", description="Whether each vote counts the same, or by 1 / its distance."
    )

    def fit(self, features: Any, labels: Any, seed: int) -> Any:
        """Returns the training examples with their scaling.

        Raises:
            DataError: there are fewer examples than neighbours, or any that other classifiers refuse too.
        """
        if len(features) < self.n_neighbors:
            raise DataError(f"`n_neighbors` is {self.n_neighbors}, but the training part has {len(features)} examples")
        return super().fit(features, labels, seed)

    def estimator(self, seed: int) -> Any:
        """Returns scikit-learn's nearest neighbours."""
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier(**self.settings(), algorithm="brute")

    def shares(self, estimator: Any, tensor: Any) -> Any:
        """Returns each class's share of the votes of the nearest training rows."""
        import numpy as np

        ops = import_keras().ops
        known = estimator._fit_X
        near = _nearest(tensor, known, min(self.n_neighbors + _SPARE, len(known)))
        gaps = ops.expand_dims(tensor, 1) - _lookup(known)(near)
        negative, order = ops.top_k(-ops.sum(ops.square(gaps), axis=-1), self.n_neighbors)
        votes = _lookup(np.eye(len(estimator.classes_))[estimator._y])(ops.take_along_axis(near, order, axis=1))
        if self.weights == "uniform":
            return ops.mean(votes, axis=1)
        # Where training rows are the same as the example, only they vote.
        same = ops.cast(ops.equal(negative, 0), "float32")
        weights = ops.where(ops.max(same, axis=1, keepdims=True) > 0, same, 1 / ops.sqrt(same - negative))
        return ops.sum(votes * ops.expand_dims(weights / ops.sum(weights, axis=1, keepdims=True), -1), axis=1)


Classifier = LogisticRegression | LinearSVC | SVC | RandomForest | KNN


def _dense(tensor: Any, kernel: Any, bias: Any) -> Any:
    """Returns `tensor @ kernel + bias` by a Dense layer, in float32 also under mixed precision."""
    layer = import_keras().layers.Dense(kernel.shape[1], dtype="float32", trainable=False)
    output = layer(tensor)
    layer.set_weights([kernel.astype("float32"), bias.astype("float32")])
    return output


def _lookup(table: Any) -> Any:
    """Returns an Embedding layer that gives the rows of a table."""
    layer = import_keras().layers.Embedding(*table.shape, dtype="float32", trainable=False)
    layer.build()
    layer.set_weights([table.astype("float32")])
    return layer


def _scaling(features: Any) -> Any:
    """Returns a fitted StandardScaler that leaves features alone which hardly vary.

    Keras's Normalization raises deviations to 1e-7 at least, scikit-learn's only those of 0.
    """
    import numpy as np
    from sklearn.preprocessing import StandardScaler

    scaling = StandardScaler().fit(features)
    scaling.scale_ = np.where(scaling.scale_ < 1e-6, 1.0, scaling.scale_)
    return scaling


def _normalized(tensor: Any, mean: Any, deviation: Any) -> Any:
    """Returns `(tensor - mean) / deviation`; with StandardScaler's figures bit for bit what it returns."""
    mean, variance = mean.astype("float32"), deviation.astype("float32") ** 2
    return import_keras().layers.Normalization(mean=mean, variance=variance, dtype="float32")(tensor)


def _centred(tensor: Any, rows: Any) -> tuple[Any, Any]:
    """Returns both moved so that the rows are around 0, where squares of distances lose fewer digits.

    They move by whole numbers, which changes no digit of features that are whole numbers.
    """
    import numpy as np

    centre = np.round(rows.mean(axis=0))
    return (_normalized(tensor, centre, np.ones_like(centre)) if centre.any() else tensor), rows - centre


def _nearest(tensor: Any, rows: Any, count: int) -> Any:
    """Returns the places `(batch, count)` of the nearest rows, up to rounding."""
    tensor, rows = _centred(tensor, rows.astype("float64"))
    # |x|^2 is the same for every row, so the order needs only 2 x.s - |s|^2.
    return import_keras().ops.top_k(_dense(tensor, 2 * rows.T, -(rows**2).sum(axis=1)), count)[1]


def _from_decisions(decisions: Any) -> Any:
    """Returns shares of linear decisions `(batch, classes)`; of two classes `(batch, 1)`, the second's side of one plane."""
    ops = import_keras().ops
    if decisions.shape[-1] > 1:
        return ops.softmax(decisions)
    share = ops.sigmoid(decisions)
    return ops.concatenate([1 - share, share], axis=-1)


def _from_pairs(decisions: Any, pairs: list[tuple[int, int]], classes: int) -> Any:
    """Returns the softmax of each class's votes from the decisions `(batch, pairs)` of all pairs.

    As scikit-learn's `_ovr_decision_function`: votes, and of the sums of decisions less than half a vote.
    """
    import numpy as np

    ops = import_keras().ops
    first, second = np.zeros((2, len(pairs), classes))
    for index, (one, other) in enumerate(pairs):
        first[index, one] = 1
        second[index, other] = 1
    none = np.zeros(classes)
    won = ops.cast(decisions > 0, "float32")
    votes = _dense(won, first, none) + _dense(1 - won, second, none)
    sums = _dense(decisions, first - second, none)
    return ops.softmax(votes + sums / (3 * (ops.abs(sums) + 1)))


def _columns(shares: Any, known: list[int], classes: int, binary: bool) -> Any:
    """Returns the shares with a column for every class of the task."""
    import numpy as np

    if binary:
        return shares[:, 1:]
    if known == list(range(classes)):
        return shares
    spread = np.zeros((len(known), classes))
    spread[np.arange(len(known)), known] = 1
    return _dense(shares, spread, np.zeros(classes))


def _pairs_of(estimator: Any) -> tuple[Any, Any, list[tuple[int, int]]]:
    """Returns weights `(supports, pairs)`, offsets `(pairs,)` and the pairs of classes of a fitted SVC.

    libsvm keeps the coefficients of a pair in two rows (scikit-learn's user guide, "Details on multi-class strategies").
    The decision of a pair is above 0 where the first class wins; of two classes in all, where the second does.
    """
    import numpy as np

    counts = estimator.n_support_
    ends = np.cumsum(counts)
    starts = ends - counts
    pairs = [(one, other) for one in range(len(counts)) for other in range(one + 1, len(counts))]
    weights = np.zeros((int(ends[-1]), len(pairs)))
    for index, (one, other) in enumerate(pairs):
        weights[starts[one] : ends[one], index] = estimator.dual_coef_[other - 1, starts[one] : ends[one]]
        weights[starts[other] : ends[other], index] = estimator.dual_coef_[one, starts[other] : ends[other]]
    return weights, estimator.intercept_, pairs


def _forest_tables(estimator: Any) -> tuple[Any, Any, Any, int]:
    """Returns all trees' nodes `(n, 4)`, leaf shares `(n, classes)`, the roots' places, and the deepest tree's depth.

    Thresholds are rounded down to float32, so that `x <= threshold` is the same for float32 features. A leaf leads to
    itself.

    Raises:
        DataError: there are more nodes than float32 can count.
    """
    import numpy as np

    nodes, leaves, roots, start = [], [], [], 0
    for member in estimator.estimators_:
        tree = member.tree_
        own = np.arange(tree.node_count)
        is_leaf = tree.children_left < 0
        threshold = tree.threshold.astype("float32")
        threshold = np.where(threshold > tree.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold)
        left, right = (np.where(is_leaf, own, side) + start for side in (tree.children_left, tree.children_right))
        nodes.append(np.stack([np.where(is_leaf, 0, tree.feature), threshold, left, right], axis=1))
        leaves.append(tree.value[:, 0] / tree.value[:, 0].sum(axis=1, keepdims=True))
        roots.append(start)
        start += tree.node_count
    if start >= 2**24:
        raise DataError(f"the forest has {start:,} nodes, more than can be kept; set `max_depth` or `min_samples_leaf`")
    depth = max(member.tree_.max_depth for member in estimator.estimators_)
    return np.concatenate(nodes), np.concatenate(leaves), np.array(roots), depth

"""Building blocks of fitted classifiers in Keras: learned arrays as weights of standard layers.

`Dense` for products, `Embedding` as a table to look rows up in, `Normalization` for scaling.
"""

from typing import Any

from dlcli.errors import DataError
from dlcli.upstream.keras import import_keras

_SPARE = 4
"""Extra candidates for the nearest neighbours, measured again exactly: rounding may have changed their order."""


def dense(tensor: Any, kernel: Any, bias: Any) -> Any:
    """Returns `tensor @ kernel + bias` by a Dense layer, in float32 also under mixed precision."""
    layer = import_keras().layers.Dense(kernel.shape[1], dtype="float32", trainable=False)
    output = layer(tensor)
    layer.set_weights([kernel.astype("float32"), bias.astype("float32")])
    return output


def lookup(table: Any) -> Any:
    """Returns an Embedding layer that looks up the rows of a table."""
    layer = import_keras().layers.Embedding(*table.shape, dtype="float32", trainable=False)
    layer.build()
    layer.set_weights([table.astype("float32")])
    return layer


def normalized(tensor: Any, mean: Any, deviation: Any) -> Any:
    """Returns `(tensor - mean) / deviation`; with StandardScaler's mean and deviation equal to its result bit for bit."""
    import numpy as np

    layers = import_keras().layers
    # Keras divides by at least 1e-7, and the features of an untrained backbone may vary less. They are first multiplied by
    # a power of two, which is exact, so that all deviations exceed 1e-7.
    lift = 2.0 ** np.clip(np.ceil(np.log2(1e-6 / deviation.min())), 0, 60)
    if lift > 1:
        tensor = layers.Rescaling(float(lift), dtype="float32")(tensor)
    mean, variance = (lift * mean).astype("float32"), (lift * deviation).astype("float32") ** 2
    return layers.Normalization(mean=mean, variance=variance, dtype="float32")(tensor)


def centred(tensor: Any, rows: Any) -> tuple[Any, Any]:
    """Returns both shifted so that the rows are centred at 0, where squared distances lose fewer digits.

    The shift is a whole number, which is exact for features that are whole numbers.
    """
    import numpy as np

    centre = np.round(rows.mean(axis=0))
    return (normalized(tensor, centre, np.ones_like(centre)) if centre.any() else tensor), rows - centre


def nearest(tensor: Any, rows: Any, count: int) -> tuple[Any, Any]:
    """Returns the negative squared distances and the places of the nearest rows: both `(batch, count)`."""
    ops = import_keras().ops
    shifted, shifted_rows = centred(tensor, rows.astype("float64"))
    # |x|^2 is the same for every row, so the order needs only 2 x.s - |s|^2.
    scores = dense(shifted, 2 * shifted_rows.T, -(shifted_rows**2).sum(axis=1))
    candidates = ops.top_k(scores, min(count + _SPARE, len(rows)))[1]
    gaps = ops.expand_dims(tensor, 1) - lookup(rows)(candidates)
    negative, order = ops.top_k(-ops.sum(ops.square(gaps), axis=-1), count)
    return negative, ops.take_along_axis(candidates, order, axis=1)


def from_decisions(decisions: Any) -> Any:
    """Returns class shares from linear decisions: `(batch, classes)`, or `(batch, 1)` of two classes for the second."""
    ops = import_keras().ops
    if decisions.shape[-1] > 1:
        return ops.softmax(decisions)
    share = ops.sigmoid(decisions)
    return ops.concatenate([1 - share, share], axis=-1)


def from_pairs(decisions: Any, pairs: list[tuple[int, int]], classes: int) -> Any:
    """Returns the softmax of each class's votes from the decisions `(batch, pairs)` of all pairs.

    As in scikit-learn's `_ovr_decision_function`, ties of votes are broken by the sums of decisions.
    """
    import numpy as np

    ops = import_keras().ops
    first, second = np.zeros((2, len(pairs), classes))
    for index, (low, high) in enumerate(pairs):
        first[index, low] = 1
        second[index, high] = 1
    none = np.zeros(classes)
    won = ops.cast(decisions > 0, "float32")
    votes = dense(won, first, none) + dense(1 - won, second, none)
    sums = dense(decisions, first - second, none)
    return ops.softmax(votes + sums / (3 * (ops.abs(sums) + 1)))


def columns(shares: Any, present_classes: list[int], classes: int, binary: bool) -> Any:
    """Returns the shares with a column for every class of the task, also for those without training examples."""
    import numpy as np

    if binary:
        return shares[:, 1:]
    if present_classes == list(range(classes)):
        return shares
    spread = np.zeros((len(present_classes), classes))
    spread[np.arange(len(present_classes)), present_classes] = 1
    return dense(shares, spread, np.zeros(classes))


def pairs_of(estimator: Any) -> tuple[Any, Any, list[tuple[int, int]]]:
    """Returns weights `(supports, pairs)`, offsets `(pairs,)` and the pairs of classes of a fitted SVC.

    libsvm stores the coefficients of a pair in two rows (scikit-learn's user guide, "Details on multi-class strategies").
    A pair's decision is above 0 for its first class; with only two classes, for the second.
    """
    import numpy as np

    counts = estimator.n_support_
    ends = np.cumsum(counts)
    starts = ends - counts
    pairs = [(low, high) for low in range(len(counts)) for high in range(low + 1, len(counts))]
    weights = np.zeros((int(ends[-1]), len(pairs)))
    for index, (low, high) in enumerate(pairs):
        weights[starts[low] : ends[low], index] = estimator.dual_coef_[high - 1, starts[low] : ends[low]]
        weights[starts[high] : ends[high], index] = estimator.dual_coef_[low, starts[high] : ends[high]]
    return weights, estimator.intercept_, pairs


def forest_tables(estimator: Any) -> tuple[Any, Any, Any, int]:
    """Returns all trees' nodes `(n, 4)`, leaf shares `(n, classes)`, the roots' places, and the deepest tree's depth.

    Thresholds are rounded down to float32, so that `x <= threshold` is the same for float32 features. The children of a
    leaf are the leaf itself.

    Raises:
        DataError: the forest has more nodes than float32 can number exactly.
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

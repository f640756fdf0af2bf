"""A run -> pictures that explain its predictions: image regions, words, columns of a table, boundaries, filters, clusters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dlcli.explain.cluster_settings import ClusterSettings
from dlcli.runs import RunFolder
from dlcli.runs.explanations import Explanation, explanations

__all__ = ["METHODS", "ClusterSettings", "Explanation", "explain", "explanations"]

METHODS = ("grad_cam", "occlusion", "permutation", "boundary", "filters", "clusters")


def explain(
    run: RunFolder,
    files: Sequence[str] = (),
    *,
    method: str = "",
    class_name: str = "",
    split: str = "",
    clustering: ClusterSettings | None = None,
    offline: bool = False,
    skip: Callable[[str, str], None] = lambda *_: None,
) -> list[Explanation]:
    """Explains a run's model, writes pictures and tables into `explanations/` and returns the explanations.

    Args:
        run: the run; without files, its data are read too.
        files: images or texts to be explained; if empty, examples of the test split, wrong predictions first.
        method: one of METHODS; empty for the method that fits the model.
        class_name: the class, label or target that is explained; empty for the predicted one.
        split: the split of the run's data that is explained; empty for test, else validation, else train.
        clustering: the settings of the method `clusters`.
        offline: whether nothing may be fetched.
        skip: is called for each file that cannot be read, with its name and the reason.

    Raises:
        UsageError: the method does not fit the model, or there is no such class, split or file.
        DataError: the data, or all files, cannot be read.
    """
    from dlcli.explain.methods import make

    return make(
        run, files, method=method, class_name=class_name, offline=offline, skip=skip, split=split, clustering=clustering
    )

"""A run -> pictures that explain its predictions: parts of an image, columns of a table, borders between classes, filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dlcli.runs import RunFolder
from dlcli.runs.explanations import Explanation, explanations

__all__ = ["METHODS", "Explanation", "explain", "explanations"]

METHODS = ("grad_cam", "occlusion", "permutation", "boundary", "filters")


def explain(
    run: RunFolder,
    files: Sequence[str] = (),
    *,
    method: str = "",
    class_name: str = "",
    offline: bool = False,
    skip: Callable[[str, str], None] = lambda *_: None,
) -> list[Explanation]:
    """Explains a run's model, writes pictures and numbers into `explanations/` and returns what was made.

    Args:
        run: the run; its data too where no files are given.
        files: images to be explained; examples of the test part if none is given, wrong answers first.
        method: one of METHODS; empty for the one that fits the model.
        class_name: the class, label or target that is explained; empty for the predicted one.
        offline: whether nothing may be fetched.
        skip: is told of each file that cannot be read, and why.

    Raises:
        UsageError: the method does not fit the model, or there is no such class or file.
        DataError: the data, or all files, cannot be read.
    """
    from dlcli.explain.methods import make

    return make(run, files, method=method, class_name=class_name, offline=offline, skip=skip)

"""What a SavedModel's graph may do: compute, and save and restore itself. Looked at before TensorFlow opens it.

A graph is a program, and one that came from elsewhere could read or write any file as soon as it is loaded or called. So only
operations on a list of those that compute are let through: modules for images need no files, no Python and no data pipelines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dlcli.runtime.hub_operations import OPERATIONS

_SAVING = frozenset({"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2", "ShardedFilename", "ShardedFilespec"})
_RESTORING = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
"""Operations that a SavedModel has for saving and restoring itself: none may be reached from what dlcli calls."""
_OWN_SAVING = ("__inference__traced_save", "__inference__traced_restore")


def refused_operation(saved: Any) -> str | None:
    """Returns the name of an operation for which a SavedModel must not be opened; None where there is none.

    Every operation must be known to compute only. Those of saving and restoring may be there, where nothing calls them.

    Args:
        saved: the parsed `saved_model.pb` (`SavedModel` of TensorFlow's saved_model.proto).
    """
    for meta in saved.meta_graphs:
        functions = meta.graph_def.library.function
        computing = OPERATIONS | {function.signature.name for function in functions}
        allowed_anywhere = computing | _SAVING | _RESTORING
        for node in (*meta.graph_def.node, *(node for function in functions for node in function.node_def)):
            if node.op not in allowed_anywhere or _prints_to_file(node):
                return str(node.op)
        for nodes, allowed in ((_running(meta), computing), (_restoring_in_graph(meta), computing | _RESTORING)):
            operation = next((node.op for node in nodes if node.op not in allowed), None)
            if operation is not None:
                return str(operation)
    return None


def _prints_to_file(node: Any) -> bool:
    return bool(node.op == "PrintV2" and b"://" in node.attr["output_stream"].s)


def _running(meta: Any) -> Iterator[Any]:
    """Yields every node that loading or calling may run: all but those which only save or restore the module."""
    functions = {one.signature.name: one.node_def for one in meta.graph_def.library.function}
    saving = {name for name in functions if name.startswith(_OWN_SAVING)}
    saving -= set(meta.object_graph_def.concrete_functions)
    waiting = [node for name, nodes in functions.items() if name not in saving for node in nodes]
    waiting += _running_in_graph(meta)
    while waiting:
        node = waiting.pop()
        yield node
        for called in _called(node) & saving:
            saving.discard(called)
            waiting += functions[called]


def _called(node: Any) -> set[str]:
    """Returns the names of functions that a node may call."""
    values = list(node.attr.values())
    return {node.op, *(one.func.name for one in values), *(one.name for each in values for one in each.list.func)}


def _running_in_graph(meta: Any) -> list[Any]:
    """Returns the nodes outside functions behind a signature or an initialisation.

    They run only in SavedModels of TensorFlow 1; those of TensorFlow 2 keep them for TensorFlow 1 to read.
    """
    outputs = [output.name for signature in meta.signature_def.values() for output in signature.outputs.values()]
    collected = [name for collection in meta.collection_def.values() for name in collection.node_list.value]
    return _behind(meta, [*outputs, *collected])


def _restoring_in_graph(meta: Any) -> list[Any]:
    """Returns the nodes outside functions behind the restoring of a SavedModel of TensorFlow 1."""
    return _behind(meta, [meta.saver_def.restore_op_name])


def _behind(meta: Any, names: Iterable[str]) -> list[Any]:
    """Returns the nodes of a TensorFlow 1 graph that run for the named ones."""
    if meta.HasField("object_graph_def"):
        return []
    nodes = {node.name: node for node in meta.graph_def.node}
    waiting, reached = list(names), dict[str, Any]()
    while waiting:
        name = waiting.pop().lstrip("^").partition(":")[0]
        if name in nodes and name not in reached:
            reached[name] = nodes[name]
            waiting += nodes[name].input
    return list(reached.values())

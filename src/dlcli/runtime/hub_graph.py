"""Checks a SavedModel's graph before TensorFlow opens it: it may compute, and save and restore itself.

A graph is a program, and a downloaded one could read or write any file as soon as it is loaded or called. So only operations
on a list of computing ones are accepted: modules for images need no files, no Python and no data pipelines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dlcli.runtime.hub_operations import OPERATIONS

_SAVING = frozenset({"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2", "ShardedFilename", "ShardedFilespec"})
_RESTORING = frozenset({"Restore", "RestoreSlice", "RestoreV2"})
"""Operations that save and restore a SavedModel: none may be reachable from the functions that dlcli calls."""
_OWN_SAVING = ("__inference__traced_save", "__inference__traced_restore")


def refused_operation(saved: Any) -> str | None:
    """Returns the name of a forbidden operation in a SavedModel, which must then not be opened; None if there is none.

    Every operation must be a computing one. Operations that save and restore may be present if nothing calls them.

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
    """Yields every node that loading or calling may run: all except those that only save or restore the module."""
    functions = {function.signature.name: function.node_def for function in meta.graph_def.library.function}
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
    listed = (function.name for value in values for function in value.list.func)
    return {node.op, *(value.func.name for value in values), *listed}


def _running_in_graph(meta: Any) -> list[Any]:
    """Returns the nodes outside functions that a signature or an initialisation depends on.

    They run only in SavedModels of TensorFlow 1; those of TensorFlow 2 contain them for TensorFlow 1 to read.
    """
    outputs = [output.name for signature in meta.signature_def.values() for output in signature.outputs.values()]
    collected = [name for collection in meta.collection_def.values() for name in collection.node_list.value]
    return _behind(meta, [*outputs, *collected])


def _restoring_in_graph(meta: Any) -> list[Any]:
    """Returns the nodes outside functions that restore a SavedModel of TensorFlow 1."""
    return _behind(meta, [meta.saver_def.restore_op_name])


def _behind(meta: Any, names: Iterable[str]) -> list[Any]:
    """Returns the nodes of a TensorFlow 1 graph that the named nodes depend on, with those nodes."""
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

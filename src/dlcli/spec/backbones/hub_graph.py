"""What a SavedModel's graph may do: compute, and save and restore itself. Looked at before TensorFlow opens it.

A graph is a program, and one that came from elsewhere could write over files as soon as it is loaded or called. Modules for
images need no files of their own, no Python and no data pipelines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_FORBIDDEN = re.compile(
    r"File(?!name|spec)|^Write|Summary\w*Writer|ImportEvent|Dataset|Reader|RecordInput|LoadAndRemapMatrix"  # files
    r"|PyFunc|Rpc|^Debug"  # Python and the network
)
_SAVING = re.compile(r"Save|MergeV2Checkpoints")
"""Operations that a SavedModel has for saving itself: none may be reached from what dlcli runs."""
_OWN_SAVING = ("__inference__traced_save", "__inference__traced_restore")


def refused_operation(saved: Any) -> str | None:
    """Returns the name of an operation for which a SavedModel must not be opened; None where there is none.

    Args:
        saved: the parsed `saved_model.pb` (`SavedModel` of TensorFlow's saved_model.proto).
    """
    for meta in saved.meta_graphs:
        functions = meta.graph_def.library.function
        for node in (*meta.graph_def.node, *(node for one in functions for node in one.node_def)):
            if _FORBIDDEN.search(node.op) or _prints_to_file(node):
                return str(node.op)
        for node in _running(meta):
            if _SAVING.search(node.op):
                return str(node.op)
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
    """Returns the nodes outside functions behind a signature, an initialisation or the restoring.

    They run only in SavedModels of TensorFlow 1; those of TensorFlow 2 keep them for TensorFlow 1 to read.
    """
    if meta.HasField("object_graph_def"):
        return []
    nodes = {node.name: node for node in meta.graph_def.node}
    outputs = [output.name for one in meta.signature_def.values() for output in one.outputs.values()]
    collected = [name for one in meta.collection_def.values() for name in one.node_list.value]
    waiting, found = [*outputs, *collected, meta.saver_def.restore_op_name], {}
    while waiting:
        name = waiting.pop().lstrip("^").partition(":")[0]
        if name in nodes and name not in found:
            found[name] = nodes[name]
            waiting += nodes[name].input
    return list(found.values())

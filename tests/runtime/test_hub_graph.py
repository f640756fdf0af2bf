"""Modules with operations that do more than compute are not opened, whatever form or name hides them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dlcli.spec.load  # noqa: F401  (registers every union)
from dlcli.errors import DamagedFile, DataError
from dlcli.runtime.engine import tf
from dlcli.runtime.hub_layer import HubLayer
from dlcli.runtime.hub_operations import OPERATIONS
from dlcli.runtime.loading import load_model
from runtime.test_hub import layer_of, model_of, reusable, tf1

SHAPE = (None, 4, 4, 3)


def effect(folder: Path, do: Callable[[], Any]) -> Path:
    """Saves a module with a side effect."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec(SHAPE)])
    def serve(images: Any) -> Any:
        do()
        return {"default": tf.reshape(images, (-1, 48))}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})
    return folder


def rewritten(folder: Path, change: Callable[[Any], None]) -> Path:
    """Changes the parsed graph of a SavedModel."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = folder / "saved_model.pb"
    saved = SavedModel.FromString(path.read_bytes())
    change(saved.meta_graphs[0])
    path.write_bytes(saved.SerializeToString())
    return folder


EFFECTS: dict[str, tuple[str, Callable[[str], Callable[[], Any]]]] = {
    "writes a file": ("WriteFile", lambda path: lambda: tf.io.write_file(path, "evil")),
    "reads a file": ("ReadFile", lambda path: lambda: tf.io.read_file(path)),
    "reads a file as a constant": (
        "ImmutableConst",
        lambda path: lambda: tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[1], memory_region_name=path),
    ),
    "reads a table from a file": (
        "InitializeTableFromTextFileV2",
        lambda path: (
            lambda: tf.raw_ops.InitializeTableFromTextFileV2(
                table_handle=tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64),
                filename=path,
                key_index=-2,
                value_index=-1,
            )
        ),
    ),
    "reads a checkpoint": (
        "RestoreV2",
        lambda path: lambda: tf.raw_ops.RestoreV2(prefix=path, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]),
    ),
    "lists files": ("MatchingFiles", lambda path: lambda: tf.io.matching_files(path)),
    "ends the process": ("Abort", lambda path: lambda: tf.raw_ops.Abort(error_msg="evil")),
    "runs Python": ("EagerPyFunc", lambda path: lambda: tf.py_function(lambda: 1.0, [], tf.float32)),
    "reads a dataset": (
        "TextLineDataset",
        lambda path: lambda: tf.raw_ops.TextLineDataset(filenames=[path], compression_type="", buffer_size=0),
    ),
    "prints to a file": ("PrintV2", lambda path: lambda: tf.print("evil", output_stream=f"file://{path}")),
    "saves tensors": (
        "SaveV2",
        lambda path: lambda: tf.raw_ops.SaveV2(prefix=path, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.ones(1)]),
    ),
}


@pytest.mark.parametrize("effect_of", EFFECTS)
def test_a_module_that_touches_files_is_not_opened(tmp_path: Path, effect_of: str) -> None:
    operation, do = EFFECTS[effect_of]
    folder = effect(tmp_path / "module", do(str(tmp_path / "evil")))
    with pytest.raises(DataError, match=f"would call {operation}"):
        HubLayer(str(folder))
    assert not list(tmp_path.glob("evil*"))


def test_no_allowed_operation_accesses_files_processes_or_machines() -> None:
    outside = "File|Dataset|Iterator|PyFunc|Rpc|Send|Recv|Save|Restore|Session|Queue|Barrier|TPU|Nccl|Collective|Abort|Remote"
    assert not [name for name in OPERATIONS if re.search(outside, name)]
    assert all(hasattr(tf.raw_ops, name) for name in OPERATIONS)


def test_a_module_may_print_to_the_terminal(tmp_path: Path) -> None:
    folder = effect(tmp_path / "module", lambda: tf.print("fine"))
    assert layer_of(folder).features == (48,)


def test_an_operation_under_a_name_of_tensorflows_saving_is_refused(tmp_path: Path) -> None:
    save = EFFECTS["saves tensors"][1](str(tmp_path / "evil"))
    folder = effect(tmp_path / "module", save)

    def hide(meta: Any) -> None:
        functions = meta.graph_def.library.function
        serving = [function for function in functions if function.signature.name.startswith("__inference_serve")]
        inner = next(function for function in serving if any(node.op == "SaveV2" for node in function.node_def))
        old, new = inner.signature.name, "__inference__traced_save_0"
        for function in functions:
            for node in function.node_def:
                if node.attr["f"].func.name == old:
                    node.attr["f"].func.name = new
        inner.signature.name = new
        if old in meta.object_graph_def.concrete_functions:
            meta.object_graph_def.concrete_functions[new].CopyFrom(meta.object_graph_def.concrete_functions[old])
            del meta.object_graph_def.concrete_functions[old]

    with pytest.raises(DataError, match="would call SaveV2"):
        HubLayer(str(rewritten(folder, hide)))
    assert not list(tmp_path.glob("evil*"))


def test_a_graph_of_tensorflow_1_that_writes_files_is_not_opened(tmp_path: Path) -> None:
    folder = tf1(tmp_path / "module", before=lambda: tf.io.write_file(str(tmp_path / "evil"), "evil"))
    with pytest.raises(DataError, match="would call WriteFile"):
        HubLayer(str(folder))
    assert not (tmp_path / "evil").exists()


def test_a_graph_of_tensorflow_1_that_saves_instead_of_restoring_is_not_opened(tmp_path: Path) -> None:
    def swap(meta: Any) -> None:
        meta.saver_def.restore_op_name = meta.saver_def.save_tensor_name.partition(":")[0]

    with pytest.raises(DataError, match=r"would call (SaveV2|MergeV2Checkpoints)"):
        HubLayer(str(rewritten(tf1(tmp_path / "module"), swap)))


def test_a_saved_model_with_a_refused_module_is_not_loaded(tmp_path: Path) -> None:
    model = model_of(layer_of(reusable(tmp_path / "module")))
    model.save(tmp_path / "model.keras")
    bad = effect(tmp_path / "bad", EFFECTS["writes a file"][1](str(tmp_path / "evil")))
    with zipfile.ZipFile(tmp_path / "model.keras") as good, zipfile.ZipFile(tmp_path / "changed.keras", "w") as changed:
        for name in good.namelist():
            content = (bad / "saved_model.pb").read_bytes() if name.endswith("/saved_model.pb") else good.read(name)
            changed.writestr(name, content)
    with pytest.raises(DamagedFile, match="would call WriteFile"):
        load_model(tmp_path / "changed.keras")
    assert not (tmp_path / "evil").exists()


def test_a_saved_model_with_paths_outside_its_folder_is_not_loaded(tmp_path: Path) -> None:
    model = model_of(layer_of(reusable(tmp_path / "module")))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras", "a") as changed:
        assets = next(name for name in changed.namelist() if name.endswith("/saved_model.pb")).rpartition("/")[0]
        changed.writestr(f"{assets}/../../../../../../../..{tmp_path}/evil", "evil")
    with pytest.raises(DamagedFile, match="is outside its folder"):
        load_model(tmp_path / "model.keras")
    assert not (tmp_path / "evil").exists()

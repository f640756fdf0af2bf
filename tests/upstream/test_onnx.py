"""Each workaround of `upstream/onnx.py` against its defect: a test of the defect fails once it is fixed upstream."""

from __future__ import annotations

from pathlib import Path

from upstream.programs import run


def test_tf2onnx_takes_constants_for_inputs_and_knows_no_gelu_nor_groups_which_to_onnx_mends(tmp_path: Path) -> None:
    program = f"""
import numpy as np, onnx, onnxruntime
from dlcli.upstream.keras import import_keras
from dlcli.upstream.onnx import to_onnx
from dlcli.upstream.start import quiet_start
keras, path = import_keras(), {str(tmp_path / "model.onnx")!r}
entry = keras.Input((5, 5, 2), name="x")
normalized = keras.layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0])(entry)
model = keras.Model(entry, keras.layers.Conv2D(4, 3, groups=2, activation="gelu")(normalized))
x = np.linspace(-3, 3, 200, dtype="float32").reshape(4, 5, 5, 2)
expected = np.asarray(model(x))
with quiet_start():
    model.export(path, format="onnx", verbose=False)
    ours = to_onnx(model, "answers", opset=17)
theirs = onnx.load(path).graph
print(len(theirs.input), *sorted(one.op_type for one in theirs.node if one.op_type in ("Erfc", "StatefulPartitionedCall")))
session = onnxruntime.InferenceSession(ours.SerializeToString())
gap = np.abs(session.run(["answers"], {{"x": x}})[0] - expected).max()
print([(one.name, one.shape) for one in session.get_inputs()], gap < 1e-6)
"""
    assert run(program) == "3 Erfc StatefulPartitionedCall\n[('x', ['batch', 5, 5, 2])] True"

"""The number of threads of TensorFlow: a sum is split into as many parts, so another number changes the last bits of results.

The default is the number of cores that the process may use (`port::MaxParallelism` in github.com/tensorflow/tensorflow
`tensorflow/core/platform/default/port.cc`), so that `taskset`, a container or a queue changes the last bits of a training.
"""

from __future__ import annotations

import os
from typing import Any

from dlcli.runtime.cores import affinity
from dlcli.runtime.engine import tf
from dlcli.upstream.start import quiet_start

VARIABLES = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
)
"""Environment variables that change how TensorFlow computes on a CPU."""


def threads() -> dict[str, int]:
    """Returns the number of threads per operation (`intra_op`), and of operations that run at once (`inter_op`)."""
    settings = tf.config.threading
    with quiet_start():  # the first call looks for devices
        intra_op, inter_op = settings.get_intra_op_parallelism_threads(), settings.get_inter_op_parallelism_threads()
    return {
        "intra_op": intra_op or _of_variable("TF_NUM_INTRAOP_THREADS"),
        "inter_op": inter_op or _of_variable("TF_NUM_INTEROP_THREADS"),
    }


def _of_variable(name: str) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() and int(value) else len(affinity())


def pin_threads(environment: dict[str, Any]) -> None:
    """Sets the number of threads per operation to that of a recorded environment, whatever the number of cores.

    This has no effect once TensorFlow has computed something. For a run that recorded no threads, the number is that of the
    cores in its device's description.
    """
    recorded = recorded_threads(environment)
    if recorded is None or recorded == threads()["intra_op"]:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(recorded)
    except RuntimeError:
        return


def recorded_threads(environment: dict[str, Any]) -> int | None:
    """Returns the recorded number of threads per operation; None if an environment has none."""
    if environment.get("threads"):
        return int(environment["threads"]["intra_op"])
    first = str(environment.get("device", {}).get("name", "")).split(" ")
    return int(first[0]) if len(first) > 1 and first[0].isdecimal() and first[1].startswith("core") else None


def processor() -> str:
    """Returns the name of the processor; empty if it is unknown."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return ""

"""Each workaround of `upstream/tensorflow.py` against its defect: a test of the defect fails once it is fixed upstream."""

from __future__ import annotations

from dlcli.upstream.tensorflow import steady_options


def test_steady_options_leave_nothing_to_the_autotuner() -> None:
    options = steady_options()
    assert options.autotune.enabled is False
    assert options.deterministic is True

"""Processes that tests fork: they are what a started process is, and they are forked also once this process has TensorFlow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TEMPLATE_ENVIRONMENT, command, environment, restored_environment, run_plain, run_process, start_process
from forking import can_fork

from dlcli.runtime.engine import keras

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


@ON_LINUX
def test_an_environment_without_changes_allows_forking_once_tensorflow_is_imported() -> None:
    assert keras.__version__
    assert can_fork(environment(), TEMPLATE_ENVIRONMENT)
    assert can_fork(environment(DLCLI_RUNS="elsewhere"), TEMPLATE_ENVIRONMENT)
    assert not can_fork(environment(TF_NUM_INTRAOP_THREADS="1"), TEMPLATE_ENVIRONMENT)


def test_what_a_test_sets_in_the_environment_does_not_reach_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLCLI_RUNS", "runs")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    with restored_environment():
        os.environ |= {"PYTHONBREAKPOINT": "set_trace", "DLCLI_RUNS": "elsewhere", "KERAS_BACKEND": "tensorflow"}
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # tf2onnx sets it when it is imported
    assert os.environ["DLCLI_RUNS"] == "runs"
    assert "PYTHONBREAKPOINT" not in os.environ
    assert os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3"
    assert os.environ["KERAS_BACKEND"] == "tensorflow"


@ON_LINUX
def test_a_forked_process_has_tensorflow_loaded_and_this_process_as_its_parent(tmp_path: Path) -> None:
    code = "import os, sys; print('tensorflow' in sys.modules, os.getppid(), os.getcwd(), sys.argv, os.environ['WORD'])"
    done = run_process([sys.executable, "-c", code, "a b"], cwd=tmp_path, env=environment(WORD="x"))
    assert done.stdout == f"True {os.getpid()} {tmp_path} ['-c', 'a b'] x\n"


def test_exit_codes_streams_and_signals_are_those_of_a_process(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write(sys.stdin.read().upper()); sys.exit(3)"
    done = run_process([sys.executable, "-c", code], input="words", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "WORDS")
    with start_process(
        [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    ) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "1\n"
        one.send_signal(signal.SIGKILL)
        assert one.wait(30) == -signal.SIGKILL


def test_a_defect_ends_a_process_with_its_traceback(tmp_path: Path) -> None:
    done = run_process([sys.executable, "-c", "raise KeyError('a defect')"], cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("KeyError: 'a defect'\n")


def test_dlcli_is_called_with_its_arguments(tmp_path: Path) -> None:
    done = run_process(command("check", "nothing.yaml"), cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "nothing.yaml: no such file\n")


FORK_SERVER = """
import multiprocessing, os, signal, sys
held = open("held", "w")
signal.signal(signal.SIGTERM, lambda *_: None)
look = (
    "import os, signal, sys;"
    " files = [os.path.basename(os.readlink(f'/proc/self/fd/{number}')) for number in os.listdir('/proc/self/fd')"
    " if os.path.lexists(f'/proc/self/fd/{number}')];"
    " print('tensorflow' in sys.modules, 'held' in files, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, flush=True)"
)
process = multiprocessing.get_context("forkserver").Process(target=exec, args=(look,))
process.start()
process.join()
print(process.exitcode)
"""


def test_a_fork_server_is_forked_too_without_its_parents_files_and_signal_handlers(tmp_path: Path) -> None:
    done = run_process([sys.executable, "-c", FORK_SERVER], cwd=tmp_path)
    assert done.stdout.splitlines() == ["True False True", "0"], done.stderr


HELPER_PROCESS = """
import os
from dlcli.runtime.helper_process import HelperProcess
held = open("held", "w")
helper = HelperProcess()
files = (
    "[os.path.basename(os.readlink(f'/proc/self/fd/{number}')) for number in os.listdir('/proc/self/fd')"
    " if os.path.lexists(f'/proc/self/fd/{number}')]"
)
asked = ("'matplotlib' in sys.modules", "'held' in " + files, "os.environ.get('PYTHONSAFEPATH')", "os.getppid()")
print(*(helper.submit(eval, code).result() for code in asked), os.getpid())
helper.close()
print(helper._process.returncode)
"""


@ON_LINUX
def test_a_helper_process_is_forked_too_without_its_parents_files(tmp_path: Path) -> None:
    done = run_process([sys.executable, "-c", HELPER_PROCESS], cwd=tmp_path)
    (*seen, parent, number), (code,) = (line.split() for line in done.stdout.splitlines())
    assert (seen, code) == (["True", "False", "1"], "0"), done.stderr
    assert parent == number


def test_a_plain_process_has_keras_and_nothing_of_dlcli(tmp_path: Path) -> None:
    code = (
        "import sys; print('keras' in sys.modules, [name for name in sys.modules if name.startswith('dlcli')], *sys.argv[1:])"
    )
    done = run_plain(code, "a b", cwd=tmp_path)
    assert done.stdout == "True [] a b\n", done.stderr

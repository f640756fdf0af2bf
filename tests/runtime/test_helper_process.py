"""The helper process: calls functions elsewhere, reports their errors, and ends with the process that started it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlcli.errors import DamagedFile
from dlcli.report.write_up import MODULES, _import_modules, import_simple_models
from dlcli.runtime import helper_process as module
from dlcli.runtime.helper_process import has_helper, helper_process, submit

WAIT = 30
"""Seconds after which a process that has not ended is stuck."""


def nothing() -> None:
    """Prepares nothing."""


def loaded_modules(names: tuple[str, ...]) -> list[str]:
    """Returns the modules that this process has imported."""
    return [name for name in names if name in sys.modules]


def written(path: Path) -> int:
    """Writes the number of this process into a file and returns it."""
    path.write_text(str(os.getpid()))
    return os.getpid()


def printed() -> str:
    """Prints, as libraries do."""
    print("a line on stdout")
    os.write(1, b"another\n")
    return "value"


def ended(number: int) -> int:
    """Ends the process with this number of signal, unless it is the first process."""
    if os.getpid() != int(os.environ["FIRST"]):
        os.kill(os.getpid(), number)
    return os.getpid()


def refused(kind: str) -> None:
    """Raises an error of a kind."""
    if kind == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "curves.png")
    if kind == "user":
        raise DamagedFile("metrics.json: not a JSON file")
    raise Unpicklable(lambda: None)


def fails_beside() -> int:
    """Fails except in the first process, which alone may know a kind of model."""
    assert os.getpid() == int(os.environ["FIRST"])
    return os.getpid()


class Unpicklable(Exception):
    """An error that cannot be sent to another process."""


def fails_while_the_helper_sleeps() -> None:
    """Fails before the helper process has finished."""
    submit(time.sleep, 10 * WAIT)
    raise KeyError


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FIRST", str(os.getpid()))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    monkeypatch.setattr(module, "affinity", lambda: [0, 1])
    with helper_process(nothing):
        assert has_helper()
        yield
    assert not has_helper()


@pytest.mark.usefixtures("helper")
def test_a_function_runs_in_the_other_process_and_its_value_comes_back(tmp_path: Path) -> None:
    works = [submit(written, tmp_path / f"{number}.txt") for number in range(3)]
    (number,) = {work.result() for work in works}
    assert number != os.getpid()
    assert {path.read_text() for path in tmp_path.iterdir()} == {str(number)}


def test_without_a_helper_process_the_function_runs_at_once(tmp_path: Path) -> None:
    work = submit(written, tmp_path / "file.txt")
    assert (tmp_path / "file.txt").read_text() == str(os.getpid())
    assert work.result() == os.getpid()
    with pytest.raises(DamagedFile):
        submit(refused, "user")


@pytest.mark.usefixtures("helper")
def test_an_error_is_raised_here_by_a_second_call() -> None:
    with pytest.raises(OSError, match="No space left") as full:
        submit(refused, "full").result()
    assert full.value.errno == errno.ENOSPC
    with pytest.raises(DamagedFile, match=r"^metrics.json: not a JSON file$"):
        submit(refused, "user").result()


@pytest.mark.usefixtures("helper")
def test_what_fails_only_in_the_other_process_is_done_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert submit(fails_beside).result() == os.getpid()
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("DLCLI_VERBOSE", "1")
    assert submit(fails_beside).result() == os.getpid()
    assert "in fails_beside" in capsys.readouterr().err


@pytest.mark.usefixtures("helper")
def test_what_cannot_be_sent_is_done_here(tmp_path: Path) -> None:
    with pytest.raises(Unpicklable):
        submit(refused, "unpicklable").result()
    here = []
    submit(lambda: here.append(os.getpid())).result()
    assert here == [os.getpid()]
    assert submit(written, tmp_path / "file.txt").result() != os.getpid(), "the helper process serves on"


@pytest.mark.usefixtures("helper")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_work_of_a_helper_process_that_was_killed_is_done_here(tmp_path: Path, number: int) -> None:
    works = [submit(ended, number), submit(written, tmp_path / "file.txt")]
    assert [work.result() for work in works] == [os.getpid()] * 2
    assert submit(written, tmp_path / "later.txt").result() == os.getpid()


@pytest.mark.usefixtures("helper")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_signals_for_all_processes_do_not_end_it(tmp_path: Path, name: str) -> None:
    assert submit(ended, getattr(signal, name)).result() != os.getpid()
    assert submit(written, tmp_path / "file.txt").result() != os.getpid()


@pytest.mark.usefixtures("helper")
def test_what_a_library_prints_does_not_mix_with_the_answers(capfd: pytest.CaptureFixture[str]) -> None:
    assert submit(printed).result() == "value"
    assert submit(printed).result() == "value"
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("helper")
def test_large_arguments_and_answers_pass_in_both_directions() -> None:
    text = "x" * 3_000_000
    works = [submit(str.lower, text) for _ in range(3)]
    assert all(work.result() == text for work in works)


def test_nothing_is_awaited_where_the_block_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "affinity", lambda: [0, 1])
    began = time.monotonic()
    with pytest.raises(KeyError), helper_process(nothing):
        fails_while_the_helper_sleeps()
    assert time.monotonic() - began < WAIT


def test_one_core_has_no_helper_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "affinity", lambda: [0])
    with helper_process(nothing):
        assert submit(written, tmp_path / "file.txt").result() == os.getpid()
    monkeypatch.setattr(module, "affinity", lambda: [0, 1])
    with helper_process(nothing, enabled=False):
        assert submit(written, tmp_path / "file.txt").result() == os.getpid()


def test_a_process_that_cannot_be_started_is_done_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(module, "affinity", lambda: [0, 1])
    monkeypatch.setattr(module, "Popen", fails)
    with helper_process(nothing):
        assert submit(written, tmp_path / "file.txt").result() == os.getpid()


def test_it_ends_with_the_process_that_started_it() -> None:
    script = (
        "import os, time\n"
        "from dlcli.runtime import helper_process as module\n"
        "module.affinity = lambda: [0, 1]\n"
        "with module.helper_process(print):\n"
        "    print(module.submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        assert alive(number)
        process.kill()
    end = time.monotonic() + WAIT
    while alive(number) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(number)


def test_documents_and_pictures_import_no_tensorflow() -> None:
    script = (
        "import sys\nfrom dlcli.report.write_up import WRITERS, _import_modules\n_import_modules()\n"
        "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_its_modules_are_imported_in_the_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "affinity", lambda: [0, 1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    names = (*MODULES, "matplotlib", "sklearn.ensemble", "tensorflow")
    with helper_process(_import_modules):
        assert submit(loaded_modules, names).result() == [*MODULES, "matplotlib"]
        submit(import_simple_models)
        assert submit(loaded_modules, names).result() == [*MODULES, "matplotlib", "sklearn.ensemble"]

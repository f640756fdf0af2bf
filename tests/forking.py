"""Python processes that are forked from one which has TensorFlow loaded and never used: they start in 0.1 s, not in 4.

`ForkedProcess` is a `subprocess.Popen` in every other respect: pipes, signals and exit codes are those of a real process, whose
parent is this one. Such a process does not show how Python and TensorFlow start, and all of them share the seed of Python's
hashes; tests of that use `subprocess`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import cache
from typing import Any

import pictures

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of Linux's prctl(2): processes whose parent ends become children of this one."""
_READ_AT_START = (
    *("CUDA", "GRPC", "KERAS", "LANG", "LC_", "LD_", "MKL", "MPL", "OMP", "ONEDNN", "OPENBLAS", "PYTHON", "TF_", "TZ", "XLA"),
)
"""How variables of the environment begin that Python or a library reads when it is imported."""
DLCLI = tuple(
    f"dlcli.{name}"
    for name in ("cli.app", "cli.console", "fleet.batch.preload", "predict.predict", "models.describe", "api.run")
)
"""What a process that runs dlcli has imported."""
PLAIN_KERAS = ("tensorflow", "keras")
"""What a process that must not have dlcli has imported."""
_LARGEST_MESSAGE = 2**20
_PATIENCE = 120.0
"""Seconds that the first process may take to import TensorFlow on a busy machine."""


def without_fsync() -> None:
    """Lets `os.fsync` only check its descriptor: it protects files from a crash of the machine, which no test makes.

    A small training calls it 40 times, for 2 to 7 ms each, in which the process waits.
    """

    def checked(descriptor: Any) -> None:
        os.fstat(descriptor if isinstance(descriptor, int) else descriptor.fileno())

    os.fsync = checked


def can_fork(env: dict[str, str], template_env: dict[str, str]) -> bool:
    """Whether a process with an environment may be forked from one that started with another."""
    differing = {name for name, _ in env.items() ^ template_env.items()}
    return sys.platform == "linux" and not any(name.startswith(_READ_AT_START) for name in differing)


class ForkedProcess(subprocess.Popen[str]):
    """A Python process that is forked where its environment allows it.

    Args:
        arguments: `[sys.executable, "-m", "dlcli", ...]`, `[sys.executable, "-c", CODE, ...]` or `[sys.executable, FILE, ...]`.
        env: its environment.
        template_env: the environment of the process that it is forked from.
        preloaded: the modules that the process has imported from which it is forked.
        options: those of Popen.
    """

    def __init__(
        self,
        arguments: list[str],
        *,
        env: dict[str, str],
        template_env: dict[str, str],
        preloaded: tuple[str, ...] = DLCLI,
        **options: Any,
    ) -> None:
        may_fork = can_fork(env, template_env) and arguments[0] == sys.executable and not options.get("preexec_fn")
        self._template_env = template_env if may_fork else None
        self._preloaded = preloaded
        super().__init__(arguments, env=env, text=True, **options)

    def _execute_child(self, *arguments: Any) -> None:
        """Forks a process in place of starting one; the arguments are those of Popen's own method, of Python 3.11 to 3.13."""
        if self._template_env is None:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        words, _, _, _, _, cwd, env, _, _, _, stdin_read, stdin, stdout_read, stdout, stderr_read, stderr = arguments[:16]
        order = {"arguments": words, "cwd": os.fspath(cwd or os.getcwd()), "env": env, "new_session": arguments[21]}
        order["empty_pictures"] = pictures.are_empty()
        descriptors = [standard if own == -1 else own for own, standard in ((stdin_read, 0), (stdout, 1), (stderr, 2))]
        self.pid = _template(tuple(sorted(self._template_env.items())), self._preloaded).fork(order, descriptors)
        self._child_created = True
        self._close_pipe_fds(stdin_read, stdin, stdout_read, stdout, stderr_read, stderr)  # type: ignore[attr-defined]


class _Template:
    """The process that others are forked from."""

    def __init__(self, env: dict[str, str], preloaded: tuple[str, ...]) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = "import forking; forking.serve()"
        path = os.pathsep.join([os.path.dirname(__file__), env.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(other.fileno()), env.get("PYTHONPATH", ""), *preloaded],
            env=env | {"PYTHONPATH": path},
            pass_fds=[other.fileno()],
            stdin=subprocess.DEVNULL,
        )
        other.close()
        self._socket.settimeout(_PATIENCE)
        self._lock = threading.Lock()

    def fork(self, order: dict[str, Any], descriptors: list[int]) -> int:
        """Returns the number of a new process, a child of this one.

        The template forks a process that forks the new one and ends, so that the new one loses its parent; while this process
        is the subreaper, the kernel makes it the next parent.
        """
        with self._lock:
            _set_subreaper(True)
            try:
                socket.send_fds(self._socket, [json.dumps(order).encode()], descriptors)
                answer = self._socket.recv(64)
            except OSError:
                answer = b""
            finally:
                _set_subreaper(False)
        if not answer:
            _template.cache_clear()  # the next test gets a new one
            raise RuntimeError("the process that tests fork theirs from has ended, or does not answer")
        return int(answer)


def _set_subreaper(is_subreaper: bool) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, int(is_subreaper), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


@cache
def _template(env: tuple[tuple[str, str], ...], preloaded: tuple[str, ...]) -> _Template:
    return _Template(dict(env), preloaded)


def serve() -> None:
    """Forks a process for each order on the socket; in the new process it returns once that has done its work."""
    import gc
    from importlib import import_module

    connection = socket.socket(fileno=int(sys.argv[1]))
    os.environ["PYTHONPATH"] = sys.argv[2]
    sys.path.remove(os.path.dirname(__file__))
    for name in sys.argv[3:]:
        import_module(name)
    without_fsync()
    gc.collect()
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(connection, _LARGEST_MESSAGE, 3)
        if not message:
            return
        number = _forked()
        if number == 0:
            break
        connection.send(str(number).encode())
        for descriptor in descriptors:
            os.close(descriptor)
    connection.close()
    _become(json.loads(message), descriptors)


def _forked() -> int:
    """Forks a process whose parent is then the subreaper; returns its number, or 0 in the new process."""
    reading, writing = os.pipe()
    middle = os.fork()
    if middle:
        os.close(writing)
        os.waitpid(middle, 0)
        with os.fdopen(reading) as pipe:
            return int(pipe.read())
    os.close(reading)
    middle = os.getpid()
    number = os.fork()
    if number:
        os.write(writing, str(number).encode())
        os._exit(0)
    os.close(writing)
    while os.getppid() == middle:
        time.sleep(0.001)
    return 0


def _become(order: dict[str, Any], descriptors: list[int]) -> None:
    """Makes this process the one that was ordered, and runs its program."""
    if order["new_session"]:
        os.setsid()
    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
    for descriptor in {*descriptors} - {0, 1, 2}:
        os.close(descriptor)
    _open_streams()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    _fork_fork_servers()
    _fork_helper_processes()
    if order["empty_pictures"] and "matplotlib" in sys.modules:
        pictures.draw_nothing()
    _run(order["arguments"])


def _fork_fork_servers() -> None:
    """Lets multiprocessing fork its fork server from this process: one that it starts would import TensorFlow again.

    Of what the server would not have after a start, it loses open files and signal handlers.
    """
    from multiprocessing import util

    start = util.spawnv_passfds

    def fork_or_start(path: bytes, arguments: list[Any], descriptors: list[int]) -> int:
        code = os.fsdecode(arguments[-1])
        if not code.startswith("from multiprocessing.forkserver import main"):
            return start(path, arguments, descriptors)
        sys.stdout.flush()
        sys.stderr.flush()
        number = os.fork()
        if number == 0:
            _serve_forks(code, descriptors)
        return number

    util.spawnv_passfds = fork_or_start


def _fork_helper_processes() -> None:
    """Lets a training fork its helper process from this process: one that it starts would import matplotlib and scikit-learn
    again, which takes twice the CPU time of a small training."""
    module = sys.modules.get("dlcli.runtime.helper_process")
    if module is not None:
        vars(module)["Popen"] = _ForkedHelper


class _ForkedHelper(subprocess.Popen[bytes]):
    """A helper process that is forked from this process; its pipes, signals and end are those of one that is started."""

    def _execute_child(self, *arguments: Any) -> None:
        """Forks a process in place of starting one; the arguments are those of Popen's own method, of Python 3.11 to 3.13."""
        _, _, _, _, _, _, env, _, _, _, stdin_read, stdin, stdout_read, stdout, stderr_read, stderr = arguments[:16]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _serve_as_helper(env, stdin_read, stdout)
        self._child_created = True
        self._close_pipe_fds(stdin_read, stdin, stdout_read, stdout, stderr_read, stderr)  # type: ignore[attr-defined]


def _serve_as_helper(env: dict[str, str], requests: int, answers: int) -> None:
    """Runs the program of a helper process in a process that was forked for it, and ends the process."""
    from dlcli.runtime import helper_process

    try:
        os.dup2(requests, 0)
        os.dup2(answers, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.environ.clear()
        os.environ.update(env)
        helper_process._main()
    finally:
        os._exit(1)


def _serve_forks(code: str, descriptors: list[int]) -> None:
    """Runs the program of a fork server in a process that was forked for it, and ends the process."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)
        first = 3
        for descriptor in (*sorted(descriptors), os.sysconf("SC_OPEN_MAX")):
            os.closerange(first, descriptor)
            first = descriptor + 1
        exec(code, {"__name__": "__main__"})
        status = 0
    except SystemExit:
        status = 0
    finally:
        os._exit(status)


def _open_streams() -> None:
    """Opens stdin, stdout and stderr as Python does when it starts: whether they are terminals or files is known only now."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        buffering = 1 if name == "stderr" or os.isatty(descriptor) else -1
        stream = open(  # noqa: SIM115
            descriptor, "w" if descriptor else "r", buffering, encoding=before.encoding, errors=before.errors, closefd=False
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(arguments: list[str]) -> None:
    """Runs `-m dlcli`, `-c CODE` or a file, each with its arguments."""
    import runpy

    sys.orig_argv[:] = arguments
    if arguments[1:3] == ["-m", "dlcli"]:
        import dlcli.__main__ as program

        sys.argv[:] = [str(program.__file__), *arguments[3:]]
        program.main()
    elif arguments[1] == "-c":
        sys.argv[:] = ["-c", *arguments[3:]]
        exec(compile(arguments[2], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv[:] = arguments[1:]
        runpy.run_path(arguments[1], run_name="__main__")

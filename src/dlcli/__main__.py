"""`python -m dlcli` and the `dlcli` command."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from errno import EPIPE
from io import TextIOWrapper


def main() -> None:
    """Runs the command line."""
    leaving = _Leaving()
    _forget_working_folder()
    # Looking for pydantic's plugins reads the metadata of every installed package: 30 ms of a check's 300.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # Starting makes hundreds of thousands of lasting objects (TensorFlow: millions); Python's default of a collection every
    # 700 of them costs a twentieth of a check and of the import of TensorFlow. A check makes fewer than 70,000, of which
    # hardly any are garbage, so that it needs no collection: one takes another twentieth.
    gc.set_threshold(100_000, 20, 20)
    _open_closed_streams()
    if isinstance(sys.stdout, TextIOWrapper):  # letters that a terminal does not have are written out, as on stderr
        sys.stdout.reconfigure(errors="backslashreplace")
    # The list of commands alone imports no package that could warn or that reads metadata.
    if sys.argv[1:] not in ([], ["-h"], ["--help"]) or "_DLCLI_COMPLETE" in os.environ:
        from dlcli.upstream.start import defer_package_metadata, silence_dependencies

        silence_dependencies()
        defer_package_metadata()
    from dlcli import program
    from dlcli.cli.app import app

    program.owns_process = True
    os.environ.setdefault(program.COMMAND_VARIABLE, program.command())  # for the processes that this one starts
    completes = "_DLCLI_COMPLETE" in os.environ or any(word.endswith("-completion") for word in sys.argv[1:])
    try:
        app(prog_name="dlcli" if completes else program.command(), complete_var="_DLCLI_COMPLETE")
    except SystemExit as error:
        leaving.end(error.code)
        raise


def _forget_working_folder() -> None:
    """Takes the working folder off the module path: a file `keras.py` or `random.py` there is not meant to be imported.

    `python -m` puts the folder first, and an empty entry of PYTHONPATH means it. Processes that this one starts, and theirs,
    leave it out by PYTHONSAFEPATH.
    """
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        folder = ""
    if not sys.flags.safe_path and os.path.basename(sys.argv[0]) == "__main__.py" and sys.path[:1] == [folder]:
        del sys.path[0]
    if "" in os.environ.get("PYTHONPATH", "/").split(os.pathsep) and folder in sys.path:
        sys.path.remove(folder)
    sys.path[:] = [entry for entry in sys.path if entry]
    os.environ["PYTHONSAFEPATH"] = "1"


def _open_closed_streams() -> None:
    """Opens what the caller has closed of stdin, stdout and stderr (`2>&-`) on the null device.

    Otherwise the next file to be opened would take its place, and what is meant for the terminal would go there.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDONLY if descriptor == 0 else os.O_WRONLY)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, "r" if descriptor == 0 else "w", encoding="utf-8", closefd=False))


class _Leaving:
    """Ends the process without taking its modules apart one by one: a sixth of a check, more than a second after TensorFlow.

    What other modules do when Python exits is registered later than this, so it is done before: threads are joined,
    temporary folders are removed, logs and trackers are closed.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._leave)

    def end(self, code: object) -> None:
        """Notes the exit code, and leaves at once where no TensorFlow has threads to join.

        A text as exit code is left to Python, which prints it.
        """
        if isinstance(code, (int, type(None))):
            self._code = code or 0
            if "tensorflow" not in sys.modules:
                self._leave()

    def _leave(self) -> None:
        if self._code is None:  # an error of ours, with its traceback
            return
        try:
            for stream in (sys.stdout, sys.stderr):
                if not stream.closed:
                    stream.flush()
        except OSError as error:
            os._exit(self._code or (0 if error.errno == EPIPE else 1))  # a reader that has gone wants no more
        os._exit(self._code)


if __name__ == "__main__":
    main()

"""Makes .venv in the checkout hold what the locks say, byte-compiled: python scripts/set_up.py [dev].

Standard library only: it runs before anything is installed. What was installed is recorded last, as copies of the locks
inside .venv, so a set-up that was interrupted is begun again by the next call.
"""

from __future__ import annotations

import fcntl
import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PLACE = VENV / "place"
IN_RANGE = "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))"


class SetUpError(Exception):
    """The environment cannot be made; the text says why and what to do."""


def main(arguments: list[str]) -> int:
    """Sets up once at a time: a second call waits for the first and then finds everything done."""
    with (ROOT / ".venv.lock").open("w") as handle:
        take_turn(handle.fileno())
        try:
            set_up(wanted_locks(dev="dev" in arguments))
        except SetUpError as error:
            log(str(error))
            return 1
        except KeyboardInterrupt:
            log("interrupted; the next call goes on")
            return 130
    return 0


def take_turn(handle: int) -> None:
    """Locks the file behind the handle until this process ends, waiting for whoever has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log("another call is setting up .venv; waiting for it")
        fcntl.flock(handle, fcntl.LOCK_EX)


def wanted_locks(dev: bool) -> list[Path]:
    """Returns the locks to install: that of the machine's kind, then that of the developers' tools."""
    names = ["requirements-gpu.lock" if has_gpu() else "requirements.lock"]
    return [ROOT / name for name in (*names, *(["requirements-dev.lock"] if dev else []))]


def has_gpu() -> bool:
    """Tells whether the NVIDIA driver sees a GPU."""
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def set_up(locks: list[Path]) -> None:
    """Installs the locks that are not installed yet, then dlcli itself, and records it."""
    missing = [lock for lock in locks if not is_installed(lock)]
    if is_ours() and not missing:
        return
    uv = shutil.which("uv")
    if not is_usable(need_pip=uv is None):
        make_environment(uv)
        missing = locks
    PLACE.write_text(f"{ROOT}\n")
    for lock in missing:
        stamp(lock).unlink(missing_ok=True)
    for lock in missing:
        log(f"installing {count(lock)} packages of {lock.name} with {'uv' if uv else 'pip'}; the first time takes minutes")
        install(uv, ["--require-hashes", "-r", str(lock)])
    remove_old_distribution(uv)
    install(uv, ["--no-build-isolation", "--no-deps", "-e", str(ROOT)])
    log("compiling bytecode")
    compile_bytecode()
    for lock in missing:
        shutil.copyfile(lock, stamp(lock))
    log("ready")


def is_installed(lock: Path) -> bool:
    """Tells whether the lock, as it is now, was installed to its end."""
    return stamp(lock).is_file() and filecmp.cmp(lock, stamp(lock), shallow=False)


def stamp(lock: Path) -> Path:
    """Returns the copy of a lock that records its installation."""
    return VENV / lock.name


def is_ours() -> bool:
    """Tells whether .venv was set up in this place: the scripts of a moved or copied one start the old checkout."""
    return PLACE.is_file() and PLACE.read_text().strip() == str(ROOT)


def is_usable(need_pip: bool) -> bool:
    """Tells whether .venv can be installed into: of this place or made by hand, its Python starts and is in range."""
    if PLACE.is_file() and not is_ours():
        return False
    code = f"import pip; {IN_RANGE}" if need_pip else IN_RANGE
    return PYTHON.is_file() and subprocess.run([PYTHON, "-c", code], capture_output=True).returncode == 0


def make_environment(uv: str | None) -> None:
    """Makes an empty .venv with the Python that runs this file."""
    log(f"making .venv with Python {sys.version.split()[0]}")
    base = getattr(sys, "_base_executable", sys.executable)
    command = [uv, "venv", "-q", "--clear", "--python", base, str(VENV)] if uv else [base, "-m", "venv", "--clear", str(VENV)]
    remedy = "On Debian and Ubuntu the module is a package of its own: apt install python3-venv."
    run(command, f"Python could not make a virtual environment. {remedy}")


def install(uv: str | None, arguments: list[str]) -> None:
    """Installs into .venv, with uv where there is one."""
    if uv:
        command = [uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(PYTHON)]
    else:
        command = [str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-compile"]
    run([*command, *arguments], "The packages could not be installed. The reason stands above; the next call tries again.")


def remove_old_distribution(uv: str | None) -> None:
    """Uninstalls dlcli under its former distribution name, which would own the same command as the present one."""
    if any((VENV / "lib").glob("python3.*/site-packages/dlcli-*.dist-info")):
        program = (
            [uv, "pip", "uninstall", "-q", "--python", str(PYTHON)] if uv else [str(PYTHON), "-m", "pip", "uninstall", "-qqy"]
        )
        subprocess.run([*program, "dlcli"], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)


def compile_bytecode() -> None:
    """Compiles every installed package and dlcli itself; without bytecode, importing TensorFlow takes 7 s more.

    It is done here because uv compiles only if told to and an environment may forbid Python to. Single files that do not
    compile (templates, code for other versions) are no failure.
    """
    packages = sorted((VENV / "lib").glob("python3.*/site-packages"))
    command = [str(PYTHON), "-m", "compileall", "-qq", "-j", "0", *map(str, packages), str(ROOT / "src" / "dlcli")]
    subprocess.run(command, check=False)


def run(command: list[str], failure: str) -> None:
    """Runs a command of the set-up, its output with our own.

    Raises:
        SetUpError: the command failed.
    """
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode:
        raise SetUpError(failure)


def count(lock: Path) -> int:
    """Returns how many packages a lock pins."""
    return sum("==" in line and not line.startswith((" ", "#")) for line in lock.read_text().splitlines())


def log(text: str) -> None:
    """Prints one line of progress; stdout belongs to the command that is set up for."""
    print(f"dlcli set-up: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

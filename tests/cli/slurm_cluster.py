"""A SLURM cluster of this machine alone, from the binaries that are installed, in a folder of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
# A task that is queued again waits until its credentials have run out, two minutes if not said otherwise.
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Returns why there can be no cluster; empty if there can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@contextmanager
def cluster() -> Iterator[Path]:
    """Yields the configuration file of a cluster with two cores that lives as long as the block."""
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # a socket's path may have about a hundred characters
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        configuration = _configured(folder)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        names = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        munge = ["munged", "--foreground", "--force", *(f"--{name}={folder / file}" for name, file in names.items())]
        for command in (munge, *([name, "-D", "-f", str(configuration)] for name in ("slurmctld", "slurmd"))):
            stack.enter_context(_daemon(command, folder))
        _wait_for_node(configuration)
        stack.callback(_empty, configuration)
        yield configuration


def _configured(folder: Path) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = {"controller": one.getsockname()[1], "daemon": other.getsockname()[1]}
    path = folder / "slurm.conf"
    path.write_text(_CONFIGURATION.format(folder=folder, host=socket.gethostname().split(".")[0], **ports))
    return path


@contextmanager
def _daemon(command: list[str], folder: Path) -> Iterator[None]:
    with (folder / f"{command[0]}.txt").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | {"PATH": _PATH})
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def slurm(configuration: Path, *command: str) -> str:
    """Returns what a command of SLURM's prints."""
    environment = os.environ | {"PATH": _PATH, "SLURM_CONF": str(configuration)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60).stdout


def _wait_for_node(configuration: Path) -> None:
    for _ in range(60):
        with suppress(subprocess.CalledProcessError):
            if "idle" in slurm(configuration, "sinfo", "--noheader", "--format=%T"):
                return
        time.sleep(0.5)
    raise AssertionError("no node came up: " + " ".join(path.read_text() for path in configuration.parent.glob("*.txt")))


def _empty(configuration: Path) -> None:
    """Cancels what still runs and waits for its end."""
    slurm(configuration, "scancel", "--me")
    for _ in range(80):
        if not slurm(configuration, "squeue", "--noheader"):
            return
        time.sleep(0.5)

"""Jobs on a Ray cluster: each has a task that runs a separate process on its node."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

from dlcli import __version__
from dlcli.errors import RunFailed, UsageError
from dlcli.fleet.batch.engines.engine import LOOK, LOST
from dlcli.fleet.batch.worker import STOPS, Order
from dlcli.program import install_command
from dlcli.runs.batches import Batch, Job, Settings
from dlcli.runs.hold import is_held
from dlcli.spec.load import load_text
from dlcli.upstream.ray import silence_ray

_ASK_EVERY = 2.0
"""Seconds between checks whether the cluster is reachable, and whether a job has started."""
_SILENT = 20.0
"""Seconds without an answer after which a cluster is lost; after 60 Ray ends this process without a word of ours."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray is going to do, and warns of until then
}
_GB = 2**30


@dataclass(frozen=True)
class Request:
    """What a job needs of a node: cores, GPUs or a share of one, bytes."""

    cpus: int
    gpus: float
    memory: int

    def fits(self, node: dict[str, float]) -> bool:
        """Whether a node with these resources can ever give it."""
        return all(node.get(name, 0.0) >= amount for name, amount in self.named().items())

    def named(self) -> dict[str, float]:
        """Returns the amounts by Ray's names."""
        return {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory}

    def __str__(self) -> str:
        parts = [f"{self.cpus} CPU cores", f"{self.gpus:g} GPUs", f"{self.memory / _GB:g} GB of memory"]
        return ", ".join(part for part, amount in zip(parts, self.named().values(), strict=True) if amount)


class RayEngine:
    """Hands each job to a cluster as a task; the cluster decides where and when it runs."""

    def __init__(self, settings: Settings) -> None:
        """Connects to a cluster, or starts one on this machine.

        Raises:
            UsageError: Ray is not installed, or there is no such cluster.
        """
        self._settings = settings
        self._ray = _connected(settings.address)
        self._gcs: str = self._ray.get_runtime_context().gcs_address
        self._answered = self._last_check = monotonic()
        self.lost = False

    def begin(self, orders: Sequence[Order]) -> list[RayProcess]:
        """Queues a task for each order; one that no node can ever run fails at once with a message."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return [self._started(order, nodes) for order in orders]

    def _started(self, order: Order, nodes: list[dict[str, float]]) -> RayProcess:
        request = self._request(order, nodes)
        if not any(request.fits(node) for node in nodes):
            largest = {name: max((node.get(name, 0.0) for node in nodes), default=0.0) for name in request.named()}
            most = f"{largest['CPU']:g} CPU cores, {largest['GPU']:g} GPUs, {largest['memory'] / _GB:.1f} GB of memory"
            _tell(order, f"no node of the cluster can provide {request}; the largest node has {most}")
            return RayProcess(self, order, None, code=1)
        options = {"num_cpus": request.cpus, "num_gpus": request.gpus, "memory": request.memory, "max_retries": 0}
        task = self._ray.remote(_task()).options(**options, name=f"{order.job.group} seed {order.job.seed}")
        share = self._settings.per_gpu if request.gpus and request.gpus < 1 else 1
        limit = request.memory / _GB or None
        reference = task.remote(order, __version__, os.getcwd(), share, limit)
        return RayProcess(self, order, reference)

    def _request(self, order: Order, nodes: list[dict[str, float]]) -> Request:
        hardware = load_text(order.job.text, order.job.file, [*order.job.overrides, *order.extra]).experiment.hardware
        gpus: float = hardware.gpus if hardware.gpus is not None else any(node.get("GPU") for node in nodes)
        if gpus == 1:
            gpus = 1 / self._settings.per_gpu
        memory = self._settings.memory_gb or hardware.resources.memory_gb or 0
        return Request(hardware.resources.cpus, gpus, int(memory * _GB))

    def follows(self, batch: Batch, job: Job) -> bool:
        """Returns False: tasks end with the batch that has submitted them."""
        return False

    def wait(self, processes: Sequence[RayProcess]) -> None:
        """Waits until a task has ended.

        Raises:
            RunFailed: the cluster does not answer any more.
        """
        waiting = [process.reference for process in processes if process.reference is not None]
        if waiting:
            self._ray.wait(waiting, num_returns=1, timeout=LOOK)
        else:
            sleep(LOOK)
        self._look_for_the_cluster()

    def _look_for_the_cluster(self) -> None:
        now = monotonic()
        if self.lost or now - self._last_check < _ASK_EVERY:
            return
        self._last_check = now
        host, _, port = self._gcs.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_ASK_EVERY).close()
            self._answered = monotonic()
        except OSError as error:
            self.lost = monotonic() - self._answered > _SILENT
            if self.lost:
                raise RunFailed(f"the Ray cluster at {self._gcs} is lost: {error}") from None

    def result(self, reference: Any, *, is_cancelled: bool) -> int | None:
        """Returns the exit code of a task; None while it has not ended, `LOST` where the cluster is lost.

        Raises:
            RunFailed: the node that it ran on is not set up for dlcli.
        """
        if self.lost:
            return LOST
        if not self._ray.wait([reference], timeout=0)[0]:
            return None
        try:
            outcome = self._ray.get(reference)
        except self._ray.exceptions.TaskCancelledError:
            return -signal.SIGTERM
        except self._ray.exceptions.RayTaskError as error:  # the task itself failed: a defect, or a node without our modules
            raise RunFailed(f"a task failed on the Ray cluster: {str(error).strip().splitlines()[-1]}") from None
        except self._ray.exceptions.RayError:  # its node or worker died
            return LOST if is_cancelled else -signal.SIGKILL
        if isinstance(outcome, str):
            raise RunFailed(outcome)
        return int(outcome)

    def cancel(self, reference: Any) -> None:
        """Interrupts a task, which ends its process; removes it from the queue where it still waits."""
        self._ray.cancel(reference, force=False)

    def close(self) -> None:
        """Leaves the cluster; ends one that was started here. The rest of a lost one ends by itself."""
        if not self.lost:
            self._ray.shutdown()


@dataclass
class RayProcess:
    """A job's task, and through it the process on some node; `code` is its exit code once that is known."""

    engine: RayEngine
    order: Order
    reference: Any
    is_cancelled: bool = False
    code: int | None = None
    _has_started: bool = False
    _last_check: float = field(default_factory=monotonic)

    def exit_code(self) -> int | None:
        """Returns the exit code; for a task cancelled when its node failed, once no process holds its job any more."""
        if self.code is None:
            code = self.engine.result(self.reference, is_cancelled=self.is_cancelled)
            if code != LOST or self.engine.lost or not self._is_held():
                self.code = code
        if self.code is not None:
            self.reference = None
        return self.code

    def has_begun(self) -> bool:
        """Whether it has started: its process holds the job."""
        if not self._has_started and monotonic() - self._last_check > _ASK_EVERY:
            self._last_check = monotonic()
            self._has_started = self._is_held()
        return self._has_started

    def send(self, number: int) -> None:
        """Interrupts the task: the first time it passes on SIGTERM, then SIGKILL."""
        if self.reference is None or self.engine.lost:
            return
        for _ in range(2 if number == signal.SIGKILL and not self.is_cancelled else 1):
            self.engine.cancel(self.reference)
        self.is_cancelled = True

    def memory(self) -> int:
        """Returns 0: the task enforces the limit."""
        return 0

    def _is_held(self) -> bool:
        return bool(is_held(Batch(self.order.batch).lock_path(self.order.job)))


def _tell(order: Order, text: str) -> None:
    Batch(order.batch).write_result(order.job, "RunFailed", text)


def _connected(address: str) -> Any:
    """Returns Ray, connected."""
    os.environ.update(_QUIET)
    try:
        import ray

        silence_ray()
    except ImportError:
        raise UsageError(f"--engine ray needs Ray: {install_command('ray')}") from None
    own = {} if address else {"include_dashboard": False}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # handled by dlcli: a cluster that ends first ends its runs
    try:
        ray.init(address=address or "local", logging_level="ERROR", log_to_driver=False, **own)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        start = "start it with `ray start --head`; this machine must be one of its nodes"
        named = "Ray cannot be started on this machine" if not address else f"--address: there is no Ray cluster at {address!r}"
        raise UsageError(f"{named} ({str(error).strip().splitlines()[0]})" + (f"; {start}" if address else "")) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return ray


def _task() -> Callable[..., int | str]:
    """Returns the function that runs on a node. It is sent by value, so that it can report a faulty dlcli on the node."""

    def run(order: Any, version: str, folder: str, share: int, memory_gb: float | None) -> int | str:
        import socket

        try:
            from dlcli import __version__ as here
            from dlcli.fleet.batch.engines.ray_node import run_on_node
        except ImportError as error:
            return f"dlcli {version} is not installed on {socket.gethostname()}, a node of the Ray cluster: {error}"
        if here != version:
            return (
                f"{socket.gethostname()}, a node of the Ray cluster, has dlcli {here}, and this machine has"
                f" {version}: install the same version"
            )
        return run_on_node(order, folder, share, memory_gb)

    return run

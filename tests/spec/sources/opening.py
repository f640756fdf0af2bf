"""Opening a source as a run does, with the settings a test cares about."""

from typing import Any

from dlcli.spec.data.data import ImageSettings
from dlcli.spec.data.sources import Opened, Request, SourceSpec
from dlcli.tasks import TASKS


def request(task: str = "classification", seed: int = 0, **image: Any) -> Request:
    return Request(TASKS[task], ImageSettings(**image), seed, offline=True)


def opened(source: SourceSpec, task: str = "classification", seed: int = 0, **image: Any) -> Opened:
    assert list(source.faults()) == []
    return source.open(request(task, seed, **image))

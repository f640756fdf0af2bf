"""The records of image files, which helper processes decode too if there are many of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress

import numpy as np

from dlcli.data.doctor.image_record import ImageRecord, records_of
from dlcli.runtime.cores import affinity
from dlcli.runtime.helper_process import HelperFailed, HelperProcess
from dlcli.runtime.image_reader import Settings
from dlcli.runtime.images import ImageFiles, settings_of

FILE_RECORDS = "image files"
"""The name of the measurement that holds the records of the image files that were decoded to find unreadable ones."""
FileRecords = dict[tuple[str, Settings], ImageRecord]
"""Records of image files, by their path and the settings that they were read with."""
_CHUNK = 256
_MANY_FILES, _MOST_PROCESSES = 1000, 8
"""Number of files from which on several processes decode them, and how many at most."""


def file_records(files: ImageFiles, note: Callable[[str], None], decoded: FileRecords | None = None) -> Iterator[ImageRecord]:
    """Yields the record of each image file, in order. All cores decode them, except for those that `decoded` has.

    Args:
        files: the files.
        note: receives a sentence for each helper process that failed.
        decoded: records that need not be measured again.
    """
    settings, decoded = settings_of(files.image), decoded or {}
    missing = [place for place, path in enumerate(files.paths) if (path, settings) not in decoded]
    new = _new_records(files.take(np.array(missing, "int64")), note)
    for path in files.paths:
        yield decoded[path, settings] if (path, settings) in decoded else next(new)


def _new_records(files: ImageFiles, note: Callable[[str], None]) -> Iterator[ImageRecord]:
    """Yields the record of each image file, which helper processes decode too if there are many of them.

    Most of the work on small images is done by Python, so that threads mostly wait for each other. A helper process that
    failed gets no further chunk: one that has ended would fail at once for each of them.
    """
    chunks = [files.take(np.arange(start, min(start + _CHUNK, len(files)))) for start in range(0, len(files), _CHUNK)]
    waiting, complete, yielded = deque(range(len(chunks))), dict[int, list[ImageRecord]](), 0
    with _helper_processes(len(files)) as helpers:
        processes = len(helpers) + 1
        running = dict[HelperProcess, tuple[int, Future[list[ImageRecord]]]]()
        while yielded < len(chunks):
            for helper in helpers:
                if helper not in running and waiting:
                    number = waiting.popleft()
                    running[helper] = number, helper.submit(records_of, chunks[number])
            if waiting:
                number = waiting.popleft()
                complete[number] = records_of(chunks[number], _threads(processes, len(helpers)))
            for helper, (number, future) in list(running.items()):
                if future.done() or not waiting:
                    del running[helper]
                    try:
                        complete[number] = future.result()
                    except HelperFailed as error:
                        helpers.remove(helper)
                        note(_failure(error))
                        complete[number] = records_of(chunks[number], _threads(processes, len(helpers)))
            while yielded in complete:
                yield from complete.pop(yielded)
                yielded += 1


def _threads(processes: int, helpers: int) -> int:
    """Returns the number of threads of this process: all cores without helper processes, and those of helpers that failed."""
    return processes - helpers if helpers else len(affinity())


def _failure(error: HelperFailed) -> str:
    reason = str(error).strip().rpartition("\n")[2]
    return f"images: a helper process failed ({reason}); it decodes no further files, which may take longer"


@contextmanager
def _helper_processes(files: int) -> Iterator[list[HelperProcess]]:
    """Runs a helper process on each further core, if there are enough files for their start to pay."""
    count = min(len(affinity()), _MOST_PROCESSES) - 1 if files >= _MANY_FILES else 0
    helpers = list[HelperProcess]()
    with ExitStack() as stack:
        with suppress(OSError):  # too little memory, or too many processes
            for _ in range(count):
                helpers.append(HelperProcess())
                stack.callback(helpers[-1].close)
        yield helpers

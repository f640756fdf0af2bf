"""Workarounds for TensorFlow Hub; `tests/upstream/test_hub.py` says when one may go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from dlcli.upstream.keras import import_keras


def resolve_hub(handle: str, cache: Path, *, offline: bool, limit: float = 20) -> Path:
    """Returns the folder of a Hub module's address, fetched into a cache folder on first use; `offline` forbids it.

    TensorFlow Hub warns of `pkg_resources` when it is imported, waits for a host without a limit, and caches in the
    system's temporary folder unless `TFHUB_CACHE_DIR` is set (github.com/tensorflow/hub `tensorflow_hub/resolver.py`).

    Args:
        handle: the address.
        cache: folder of modules that were fetched.
        offline: whether nothing may be fetched.
        limit: seconds that the host may be silent.

    Raises:
        DataError: the module is not in the cache and cannot be fetched.
    """
    import warnings

    from dlcli.errors import DataError, Interrupted

    import_keras()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_hub as hub  # type: ignore[import-untyped]
    try:
        with _hub_requests(cache, offline=offline, limit=limit):
            return Path(hub.resolve(handle))
    except Interrupted:
        raise
    except Exception as error:  # urllib, tarfile and TensorFlow's file system have no common class
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"model.backbone.handle: {handle} is not in the cache ({cache}) and could not be downloaded: {reason}\n"
            "  a folder or an archive of the module works without a network"
        ) from None


@contextmanager
def _hub_requests(cache: Path, *, offline: bool, limit: float) -> Iterator[None]:
    """Lets TensorFlow Hub fetch by https alone, or not at all, into a cache folder; a silent host fails after a time."""
    import socket
    from unittest.mock import patch

    from tensorflow_hub import resolver

    call = resolver.HttpResolverBase._call_urlopen

    def call_urlopen(own: Any, request: Any) -> Any:
        if offline:
            raise OSError("--offline forbids it")
        response = call(own, request)
        if getattr(request, "full_url", request).startswith("https:") and not response.geturl().startswith("https:"):
            raise OSError("the host redirects to an address without https")
        return response

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(limit)
    try:
        with (
            patch.object(resolver.HttpResolverBase, "_call_urlopen", call_urlopen),
            patch.dict(os.environ, {"TFHUB_CACHE_DIR": str(cache)}),
            redirect_stdout(sys.stderr),
        ):
            yield
    finally:
        socket.setdefaulttimeout(before)

"""Each workaround of `upstream/hub.py` against its defect: a test of the defect fails once it is fixed upstream."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from upstream.programs import run


def test_tensorflow_hub_warns_when_imported_and_fetches_without_a_time_limit_into_the_temporary_folder() -> None:
    program = (
        "import tempfile, urllib.request, warnings\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    import tensorflow_hub\n"
        "from tensorflow_hub import resolver\n"
        "urllib.request.urlopen = lambda request, **options: sorted(options)\n"
        "print(any('pkg_resources' in str(one.message) for one in seen))\n"
        "print(resolver.HttpResolverBase()._call_urlopen('request'))\n"
        "print(resolver.tfhub_cache_dir(use_temp=True).startswith(tempfile.gettempdir()))"
    )
    assert run(program).splitlines() == ["True", "['context']", "True"]


def test_a_hub_module_is_fetched_with_a_time_limit_only_inside_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    from dlcli.errors import DataError
    from dlcli.upstream.hub import resolve_hub

    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        with pytest.raises(DataError, match="timed out"):
            resolve_hub(f"http://127.0.0.1:{silent.getsockname()[1]}/module", tmp_path, offline=False, limit=1)
        assert time.monotonic() - before < 60  # without a limit it would wait for ever
    assert socket.getdefaulttimeout() is None

"""Resolving Hub handles: archives are unpacked once and never outside their folder, addresses are downloaded once."""

from __future__ import annotations

import io
import shutil
import struct
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import dlcli.spec.load  # noqa: F401  (registers every union)
from dlcli.errors import DataError
from dlcli.runtime.hub_files import module_folder
from runtime.test_hub import layer_of, signature_only


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sets the cache of modules to the test's folder."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packed(tmp_path: Path, form: str) -> Path:
    """Returns an archive of a module."""
    signature_only(tmp_path / "module")
    return Path(shutil.make_archive(str(tmp_path / "packed"), form, tmp_path, "module"))


@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_an_archive_is_unpacked_once(tmp_path: Path, ending: str) -> None:
    archive = str(packed(tmp_path, {".tar.gz": "gztar", ".zip": "zip"}[ending]))
    folder = module_folder(archive, offline=True)
    assert folder.is_relative_to(tmp_path / "cache")
    written = (folder / "saved_model.pb").stat().st_mtime_ns
    assert module_folder(archive, offline=True) == folder
    assert (folder / "saved_model.pb").stat().st_mtime_ns == written
    assert layer_of(Path(archive)).features == (2,)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_an_archive_with_paths_outside_its_folder_is_not_unpacked(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as packed:
        packed.writestr(name, "evil")
    for path in (tmp_path / "bad.tar", tmp_path / "bad.zip"):
        with pytest.raises(DataError, match="is outside its folder"):
            module_folder(str(path), offline=True)
    assert not list(tmp_path.rglob("evil"))
    assert not list((tmp_path / "cache").iterdir())


def test_links_in_an_archive_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = tarfile.SYMTYPE, "elsewhere"
        archive.addfile(member)
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as zip_archive:
        entry = zipfile.ZipInfo("link")
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        zip_archive.writestr(entry, "elsewhere")
    for name in ("bad.tar", "bad.zip"):
        with pytest.raises(DataError, match="neither a file nor a folder"):
            module_folder(str(tmp_path / name), offline=True)


def test_an_address_is_not_downloaded_offline(cache: Path) -> None:
    handle = "https://example.invalid/module/1"
    with pytest.raises(DataError, match="--offline forbids it") as raised:
        module_folder(handle, offline=True)
    assert handle in str(raised.value)
    assert str(cache) in str(raised.value)


def test_an_unreachable_address_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="could not be downloaded"):
        module_folder("https://example.invalid/module/1", offline=False)


@pytest.mark.parametrize("form", ["gztar", "zip"])
@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_damaged_archive_is_a_clear_error_and_leaves_no_files(tmp_path: Path, cache: Path, form: str, place: float) -> None:
    archive = packed(tmp_path, form)
    content = bytearray(archive.read_bytes())
    start = int(len(content) * place)
    content[start : start + 60] = bytes(255 - byte for byte in content[start : start + 60])
    archive.write_bytes(content)
    with pytest.raises(DataError, match="cannot be unpacked") as raised:
        module_folder(str(archive), offline=True)
    assert "\n" not in str(raised.value)
    assert not list(cache.iterdir())


@pytest.mark.parametrize("form", ["gztar", "zip"])
def test_a_truncated_archive_is_a_clear_error(tmp_path: Path, form: str) -> None:
    archive = packed(tmp_path, form)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match="cannot be unpacked"):
        module_folder(str(archive), offline=True)


@pytest.mark.parametrize(("offsets", "value", "why"), [((6, 8), 1, "encrypted"), ((8, 10), 99, "not supported")])
def test_an_unreadable_archive_is_a_clear_error(tmp_path: Path, offsets: tuple[int, int], value: int, why: str) -> None:
    archive = packed(tmp_path, "zip")
    content = bytearray(archive.read_bytes())
    for mark, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), offsets, strict=True):
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            struct.pack_into("<H", content, place + offset, value)
    archive.write_bytes(content)
    with pytest.raises(DataError, match=why):
        module_folder(str(archive), offline=True)


def test_an_unwritable_cache_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = packed(tmp_path, "zip")
    (tmp_path / "file").touch()
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="cannot be unpacked"):
        module_folder(str(archive), offline=True)


def test_an_archive_without_a_module_is_a_clear_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.jpg", "")
    with pytest.raises(DataError, match=r"holds no saved_model.pb"):
        module_folder(str(tmp_path / "photos.zip"), offline=True)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def test_an_address_is_downloaded_once_for_later_use_offline(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    signature_only(tmp_path / "module")
    shutil.make_archive(str(tmp_path / "served"), "gztar", tmp_path / "module")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        handle = f"http://127.0.0.1:{server.server_port}/served.tar.gz"
        folder = module_folder(handle, offline=False)
        server.shutdown()
    assert folder.is_relative_to(cache)
    assert module_folder(handle, offline=True) == folder
    assert layer_of(folder).features == (2,)

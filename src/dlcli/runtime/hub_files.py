"""Resolves a Hub handle to a folder with a SavedModel: archives are unpacked and addresses downloaded once, into a cache."""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from dlcli.errors import DataError
from dlcli.upstream.hub import resolve_hub

LARGEST = 20 * 2**30
"""Maximum size of an unpacked archive in bytes."""
_NEITHER = "which is neither a file nor a folder"
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError)
"""Exceptions of damaged archives; `zipfile` raises RuntimeError for an encrypted archive."""


def module_folder(handle: str, *, offline: bool) -> Path:
    """Returns the folder of a module's SavedModel.

    Raises:
        DataError: the module is missing, cannot be downloaded or unpacked, or holds paths outside its folder.
    """
    if handle.startswith(("https://", "http://")):
        return resolve_hub(handle, cache_folder(), offline=offline)
    path = Path(handle)
    return path if path.is_dir() else _unpacked(path)


def cache_folder() -> Path:
    """Returns the folder of downloaded and unpacked modules: `TFHUB_CACHE_DIR`, or the user's cache."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TFHUB_CACHE_DIR") or Path(user_cache, "dlcli", "hub"))


def _unpacked(path: Path) -> Path:
    """Returns the folder of an archive's SavedModel, unpacked into a folder named by the archive's digest."""
    if not path.is_file():
        raise DataError(f"model.backbone.handle: {path} is not a file")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"model.backbone.handle: cannot read {path}: {error.strerror}") from None
    folder = cache_folder() / digest
    if not folder.is_dir():
        _unpack_once(path, folder)
    module = min((file.parent for file in folder.rglob("saved_model.pb")), key=lambda path: len(path.parts), default=None)
    if module is None:
        raise DataError(f"model.backbone.handle: {path} holds no saved_model.pb")
    return module


def _unpack_once(path: Path, folder: Path) -> None:
    """Unpacks an archive into a folder, which appears only once it is complete."""
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent))
        _unpack(path, temporary)
        temporary.rename(folder)
    except _BROKEN as error:
        if not folder.is_dir():  # a concurrent run may have unpacked it meanwhile
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(f"model.backbone.handle: {path} cannot be unpacked: {reason}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _unpack(path: Path, folder: Path) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _refuse_strange(member.filename, path)
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise DataError(f"model.backbone.handle: {path} holds {member.filename}, {_NEITHER}")
            _refuse_large(sum(member.file_size for member in archive.infolist()), path)
            archive.extractall(folder)
        return
    with tarfile.open(path) as archive:
        entries = archive.getmembers()
        for entry in entries:
            _refuse_strange(entry.name, path)
            if not (entry.isfile() or entry.isdir()):
                raise DataError(f"model.backbone.handle: {path} holds {entry.name}, {_NEITHER}")
        _refuse_large(sum(entry.size for entry in entries), path)
        archive.extractall(folder, filter="data")
        while archive.fileobj is not None and archive.fileobj.read(2**20):
            pass  # reads to the end, where a compressed file's checksum is verified, which tarfile may not reach


def _refuse_strange(name: str, path: Path) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in name:
        raise DataError(f"model.backbone.handle: {path} holds {name!r}, which is outside its folder: it is not unpacked")


def _refuse_large(size: int, path: Path) -> None:
    if size > LARGEST:
        raise DataError(f"model.backbone.handle: {path} would unpack to {size / 2**30:.0f} GiB: it is not unpacked")

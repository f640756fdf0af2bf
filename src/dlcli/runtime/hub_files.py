"""From a Hub handle to a folder with a SavedModel: archives unpacked and addresses fetched once, into a cache."""

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
"""Bytes that an archive may unpack to."""
_NEITHER = "which is neither a file nor a folder"
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError)
"""What a damaged archive raises; RuntimeError of `zipfile` says that one is encrypted or packed in an unknown way."""


def module_folder(handle: str, *, offline: bool) -> Path:
    """Returns the folder of a module's SavedModel.

    Raises:
        DataError: it is missing, cannot be fetched or unpacked, or holds paths that leave its folder.
    """
    if handle.startswith(("https://", "http://")):
        return resolve_hub(handle, cache_folder(), offline=offline)
    path = Path(handle)
    return path if path.is_dir() else _unpacked(path)


def cache_folder() -> Path:
    """Returns where modules are kept: `TFHUB_CACHE_DIR`, or the user's cache."""
    own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TFHUB_CACHE_DIR") or Path(own, "dlcli", "hub"))


def _unpacked(path: Path) -> Path:
    """Returns the folder of an archive's SavedModel, unpacked under the digest of its content."""
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
    found = min((file.parent for file in folder.rglob("saved_model.pb")), key=lambda one: len(one.parts), default=None)
    if found is None:
        raise DataError(f"model.backbone.handle: {path} holds no saved_model.pb")
    return found


def _unpack_once(path: Path, folder: Path) -> None:
    """Unpacks an archive into a folder that is whole as soon as it is there."""
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent))
        _unpack(path, temporary)
        temporary.rename(folder)
    except _BROKEN as error:
        if not folder.is_dir():  # another run may have unpacked it meanwhile
            why = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(f"model.backbone.handle: {path} cannot be unpacked: {why}") from None
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
        members = archive.getmembers()
        for one in members:
            _refuse_strange(one.name, path)
            if not (one.isfile() or one.isdir()):
                raise DataError(f"model.backbone.handle: {path} holds {one.name}, {_NEITHER}")
        _refuse_large(sum(one.size for one in members), path)
        archive.extractall(folder, filter="data")
        while archive.fileobj is not None and archive.fileobj.read(2**20):
            pass  # a compressed file's checksum is looked at only at its end, which tarfile need not reach


def _refuse_strange(name: str, path: Path) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in name:
        raise DataError(f"model.backbone.handle: {path} holds {name!r}, which is outside its folder: it is not unpacked")


def _refuse_large(size: int, path: Path) -> None:
    if size > LARGEST:
        raise DataError(f"model.backbone.handle: {path} would unpack to {size / 2**30:.0f} GiB: it is not unpacked")

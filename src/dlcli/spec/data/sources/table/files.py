"""A table's file: its format by its first bytes, decompressed, and decoded into lines."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

from dlcli.errors import DataError
from dlcli.spec.data.sources.image_types import EXTENSIONS
from dlcli.upstream.python import is_text_encoding

Format = Literal["text", "parquet", "xlsx"]
ENDINGS = (".csv", ".tsv", ".tab", ".csv.gz", ".tsv.gz", ".tab.gz", ".parquet", ".xlsx")
"""How the names of tables end, in lower case."""
LONGEST_LINE = 2**26
"""Characters of a line, and of a cell over several lines."""
_HEAD = 4096
_OTHER_FILES = (
    (rb"\xd0\xcf\x11\xe0", "an Excel file in the old format (.xls): save it as .xlsx or .csv"),
    (rb"\x28\xb5\x2f\xfd", "compressed with zstd: decompress it, or compress it with gzip"),
    (rb"version https://git-lfs", "a Git LFS pointer, not the file itself: fetch it with `git lfs pull`"),
    (rb"(?i)\s*(<!doctype html|<html|<table|<\?xml)", "an HTML or XML page, not a table"),
    (rb"\s*[\[{]\s*[\"{\[]\s*[\"{\[]?\w", "JSON, not a table: convert it to CSV or Parquet"),
    (rb"%PDF-", "a PDF, not a table"),
    (rb"SQLite format 3", "an SQLite database, not a table: export the table as CSV"),
    (rb"\x93NUMPY", "a NumPy array, not a table"),
    (rb"\x89HDF", "an HDF5 file, not a table: export the table as CSV or Parquet"),
)


class OtherEncoding(DataError):
    """A text holds bytes that are invalid in its encoding."""


def is_table(path: str | Path) -> bool:
    """Whether a file's name is that of a table."""
    return str(path).lower().endswith(ENDINGS)


def file_version(path: str | Path) -> tuple[int, int]:
    """Returns what changes when a file does: the time of its last change, and its size.

    Raises:
        DataError: there is no such file.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise DataError(error.strerror or str(error)) from None
    return status.st_mtime_ns, status.st_size


def file_format(path: str | Path) -> Format:
    """Returns the format of a file by its first bytes.

    Raises:
        DataError: there is no such file, it cannot be read, or it is of a kind that is no table.
    """
    with _opened(path) as file:
        head = file.read(_HEAD)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04") and (b"[Content_Types].xml" in head or b"xl/" in head or b"_rels/" in head):
        return "xlsx"
    return "text"


@contextmanager
def _opened(path: str | Path) -> Iterator[IO[bytes]]:
    if not Path(path).is_file():  # of a pipe or a device nothing is read: it would never end
        raise DataError("is a folder" if Path(path).is_dir() else "no such file")
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise DataError(error.strerror or str(error)) from None


@contextmanager
def decompressed(path: str | Path) -> Iterator[io.BufferedReader]:
    """Yields a text file's bytes, decompressed where it is compressed by gzip, bzip2 or xz, or is the one file of a zip.

    Raises:
        DataError: it is no text, cannot be read, or is damaged.
    """
    with _opened(path) as raw, _decompressor(raw) as file, damage_in_words():
        head = file.peek(_HEAD)[:_HEAD]
        for pattern, what in _OTHER_FILES:
            if re.match(pattern, head):
                raise DataError(f"this is {what}")
        yield file


@contextmanager
def damage_in_words() -> Iterator[None]:
    """Raises DataError for the errors of damaged compressed files."""
    import lzma
    import zipfile
    import zlib

    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise DataError(f"the compressed file is damaged or incomplete: {error}") from None
    except OSError as error:
        raise DataError(error.strerror or str(error)) from None


@contextmanager
def _decompressor(file: IO[bytes]) -> Iterator[io.BufferedReader]:
    head = file.read(6)
    file.seek(0)
    inner: Any = None
    if head.startswith(b"\x1f\x8b"):
        import gzip

        inner = gzip.GzipFile(fileobj=file)
    elif head.startswith(b"BZh"):
        import bz2

        inner = bz2.BZ2File(file)
    elif head.startswith(b"\xfd7zXZ\x00"):
        import lzma

        inner = lzma.open(file)  # noqa: SIM115
    elif head.startswith(b"PK\x03\x04"):
        inner = _only_member(file)
    yield io.BufferedReader(inner or file, 2**16)  # type: ignore[arg-type]


def _only_member(file: IO[bytes]) -> Any:
    import zipfile

    try:
        archive = zipfile.ZipFile(file)
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if len(names) != 1:
            images = sum(name.lower().endswith(EXTENSIONS) for name in names)
            remedy = "give the folder of images" if images > len(names) / 2 else "name one of them"
            raise DataError(f"a zip of {len(names)} files: unpack it and {remedy}")
        return archive.open(names[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DataError(f"the zip cannot be read: {error}") from None


def find_encoding(head: bytes) -> str:
    """Returns the encoding that the first bytes of a text show: by a byte order mark, by zeros, else UTF-8."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return name
    half = len(head) // 2
    if half >= 4:  # plain letters have a zero for their other byte
        if head[1::2].count(0) > 0.8 * half and not head[::2].count(0):
            return "utf-16-le"
        if head[::2].count(0) > 0.8 * half and not head[1::2].count(0):
            return "utf-16-be"
    return "utf-8"


def encoding_fault(name: str) -> str:
    """Returns what is wrong with the name of an encoding; "" where it names one of text."""
    if name == "auto":
        return ""
    special_encodings = ("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem")
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return "is not an encoding that Python knows; usual ones are utf-8, utf-16, latin-1, cp1252"
    is_text = is_text_encoding(info) and info.name.replace("-", "_") not in special_encodings
    return "" if is_text else "is not a text encoding; usual ones are utf-8, utf-16, latin-1, cp1252"


def decoded(file: io.BufferedReader, encoding: str) -> Iterator[str]:
    """Yields the lines of a text with their ends, without a byte order mark.

    Raises:
        DataError: a line holds bytes that are invalid in this encoding, or a zero byte, or is too long; its number is named.
    """
    name = find_encoding(file.peek(_HEAD)[:_HEAD]) if encoding == "auto" else encoding
    is_utf8 = codecs.lookup(name).name in ("utf-8", "utf-8-sig")
    text = io.TextIOWrapper(file, encoding="utf-8-sig" if is_utf8 else name, errors="surrogateescape", newline="")
    try:
        with damage_in_words():
            yield from _checked_lines(text, name)
    finally:
        with suppress(ValueError):  # the file is closed already
            text.detach()  # the caller that opened it closes it


def _checked_lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        try:
            line = text.readline(LONGEST_LINE)
        except UnicodeError as error:
            raise DataError(f"line {number}: not text in {name} ({error})") from None
        if not line:
            return
        if not line.isascii():
            _refuse_bytes(line, number, name)
        if "\0" in line:
            raise DataError(
                f"line {number}: contains a zero byte: the file is damaged, or its encoding is not {name}; set `encoding`"
            )
        if len(line) == LONGEST_LINE and line[-1] not in "\r\n":
            raise DataError(f"line {number}: longer than {LONGEST_LINE:,} characters, so this is not a table")
        yield line


def _refuse_bytes(line: str, number: int, name: str) -> None:
    """Raises DataError for a line with bytes that are no text in its encoding; they were decoded as lone surrogates."""
    try:
        line.encode("utf-8")
    except UnicodeEncodeError as error:
        place = error.start
        byte = ord(line[place]) & 0xFF
        word = (
            re.split(r"[\s,;\t|\"]", line[max(0, place - 20) : place])[-1]
            + re.split(r"[\s,;\t|\"]", line[place : place + 20])[0]
        )
        as_latin = word.encode("utf-8", "surrogateescape").decode("latin-1")
        title = "UTF-8" if name.startswith("utf-8") else name
        remedy = "save it as UTF-8, or set `encoding`"
        guess = f"; with `encoding: latin-1` it reads {as_latin!r}" if title == "UTF-8" and as_latin.isprintable() else ""
        raise OtherEncoding(f"line {number}: not {title} text (byte 0x{byte:02x}): {remedy}{guess}") from None

"""Python's own library: what it keeps under private names alone; see `tests/upstream/test_python.py`."""

from __future__ import annotations

import codecs


def is_text_encoding(info: codecs.CodecInfo) -> bool:
    """Whether a codec decodes bytes to text: `open` refuses others, such as `hex`.

    github.com/python/cpython `Lib/codecs.py`.
    """
    return bool(getattr(info, "_is_text_encoding", True))

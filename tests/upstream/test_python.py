"""Each private name of Python's library that `upstream/python.py` reads: this test fails once it is gone."""

from __future__ import annotations

import codecs

from dlcli.upstream.python import is_text_encoding


def test_codecs_of_bytes_are_told_from_those_of_text() -> None:
    assert is_text_encoding(codecs.lookup("utf-8"))
    assert not is_text_encoding(codecs.lookup("hex"))

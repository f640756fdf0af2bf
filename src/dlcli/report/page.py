"""The page: templates, styles and script, with a policy under which nothing else runs or loads."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import YamlLexer

from dlcli import __version__
from dlcli.charts.chart import PAGE
from dlcli.report import sentences
from dlcli.visible import visible

GENERATOR = "dlcli report"
"""The `generator` of every page: a file without it is not a page of dlcli."""


def harmless(value: Any) -> Any:
    """Returns a value for a template: control characters and changes of direction in a text are escaped."""
    return visible(value, keep="\n") if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def templates(*, escapes: bool = True) -> Environment:
    """Returns the templates of pages, which escape all values; or, without `escapes`, those of other files."""
    loader = PackageLoader("dlcli.report")
    finalize = harmless if escapes else None
    environment = Environment(loader=loader, autoescape=escapes, trim_blocks=True, lstrip_blocks=True, finalize=finalize)
    environment.globals |= {
        "number": sentences.number,
        "short": sentences.short,
        "example": sentences.example,
        "between": sentences.between,
        "coloured": coloured,
        "tone": tone,
        "colours": len(PAGE.series),
    }
    return environment


def page(template: str, **values: Any) -> str:
    """Returns the page of the template `<template>.html` with style, script and every picture inline, and a policy that
    forbids everything else."""
    environment = templates()
    script = environment.get_template("report.js").render()
    style = environment.get_template("style.css").render()
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none';"
        " form-action 'none'"
    )
    return environment.get_template(f"{template}.html").render(
        **values, script=Markup(script), style=Markup(style), policy=policy, generator=GENERATOR, version=__version__
    )


def coloured(text: str) -> Markup:
    """Returns a spec's YAML with markup for syntax highlighting."""
    formatter = HtmlFormatter(cssclass="code", wrapcode=True)
    return Markup(highlight(visible(text, keep="\n"), YamlLexer(), formatter))


def tone(count: int, total: int, is_correct: bool, has_many_classes: bool) -> str:
    """Returns the CSS class of a cell's colour by its share of the label's examples; with many classes small shares count."""
    share = count / total if total else 0.0
    level = max(1, round(10 * (share**0.5 if has_many_classes or not is_correct else share)))
    return f"{'r' if is_correct else 'w'}{min(level, 10)}"

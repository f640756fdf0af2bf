"""The page itself: templates, styles and script put together so that nothing but what is written runs or loads."""

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
"""What the `generator` of every page says: a file without it is none of dlcli's."""


def harmless(value: Any) -> Any:
    """Returns a value as a template may print it: control characters and turned directions of a text written out."""
    return visible(value, keep="\n") if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def templates(*, escapes: bool = True) -> Environment:
    """Returns the templates of pages, whose values are all escaped; or, without `escapes`, those of other files."""
    loader = PackageLoader("dlcli.report")
    finalize = harmless if escapes else None
    found = Environment(loader=loader, autoescape=escapes, trim_blocks=True, lstrip_blocks=True, finalize=finalize)
    found.globals |= {
        "number": sentences.number,
        "short": sentences.short,
        "example": sentences.example,
        "between": sentences.between,
        "coloured": coloured,
        "tone": tone,
        "colours": len(PAGE.series),
    }
    return found


def page(template: str, **values: Any) -> str:
    """Returns the page of the template `<template>.html`: style, script and every picture inside, and a policy that forbids
    anything else."""
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
    """Returns a spec's YAML with its words marked for the colours of the page."""
    formatter = HtmlFormatter(cssclass="code", wrapcode=True)
    return Markup(highlight(visible(text, keep="\n"), YamlLexer(), formatter))


def tone(count: int, total: int, right: bool, many: bool) -> str:
    """Returns the class of a cell's colour, by its share of the label's examples; among many classes small shares count."""
    share = count / total if total else 0.0
    level = max(1, round(10 * (share**0.5 if many or not right else share)))
    return f"{'r' if right else 'w'}{min(level, 10)}"

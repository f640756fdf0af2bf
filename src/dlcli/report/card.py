"""`model_card.md`: what a model is and how far it can be trusted, with a place for its author's own words."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from itertools import count
from pathlib import Path
from shlex import quote
from typing import Any

from dlcli.errors import DamagedFile
from dlcli.report import sentences
from dlcli.report.diagnosis import findings
from dlcli.report.layers import layers
from dlcli.report.licences import licence_of
from dlcli.report.page import templates
from dlcli.report.pictures import Budget
from dlcli.report.story import Reading, scored_parts
from dlcli.runs import RunFolder
from dlcli.runs.files import replacing
from dlcli.visible import visible

BEGIN = "<!-- The author's part begins here: dlcli keeps it as it is. -->"
END = "<!-- The author's part ends here. -->"
_SEAL = re.compile(r"\n<!-- dlcli: ([0-9a-f]{16}) -->\n?\Z")
_LARGEST = 4_000_000
_OWN_WORDS = """
**Intended use.** (What is it for, and for whom? What is it not for?)

**People.** (Who made it, and whom to ask?)

**Licence.** (Under which terms may it be used?)
"""


def write_model_card(run: RunFolder) -> Path:
    """Writes a run's model card and returns the file.

    What its author wrote between the marks stays as it is. A card that was changed elsewhere, or that dlcli did not write, is
    kept beside it under a name of its own.

    Raises:
        DlcliError: the run's status or spec cannot be read, or no file of dlcli's stands in its place.
    """
    path = run.model_card_path
    before = _before(path)
    text = templates(escapes=False).get_template("card.md").render(**_values(run), own=authors_part(before) or _OWN_WORDS)
    if before and not _is_as_written(before):
        _keep(path, before)
    with replacing(path) as temporary:
        temporary.write_bytes(_sealed(text).encode("utf-8", "surrogateescape"))
    return path


def authors_part(text: str) -> str | None:
    """Returns what stands between the marks of a card, None where they are not both there, once each and in order."""
    first, between, rest = text.partition(BEGIN)
    own, mark, last = rest.partition(END)
    clear = between and mark and BEGIN not in own + last and END not in first + last
    return own if clear else None


def _before(path: Path) -> str:
    """Returns the card that is there, with its ends of lines as they are; empty where there is none."""
    if not os.path.lexists(path):
        return ""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
        raise DamagedFile(f"{path}: not a model card: move it away")
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _digest(text: str) -> str:
    """Returns the digest of everything but the author's part."""
    own = authors_part(text)
    rest = text if own is None else text.replace(f"{BEGIN}{own}{END}", "", 1)
    return sha256(rest.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _sealed(text: str) -> str:
    return f"{text}\n<!-- dlcli: {_digest(text)} -->\n"


def _is_as_written(text: str) -> bool:
    """Whether a card is as dlcli wrote it, the author's part aside."""
    seal = _SEAL.search(text)
    return seal is not None and authors_part(text) is not None and _digest(text[: seal.start()]) == seal.group(1)


def _keep(path: Path, text: str) -> None:
    """Writes a card that was changed elsewhere beside the new one, under the first free name; once for one content."""
    content = text.encode("utf-8", "surrogateescape")
    for number in count(1):
        kept = path.with_name(f"{path.stem}.{number}{path.suffix}")
        if kept.is_file() and not kept.is_symlink() and kept.read_bytes() == content:
            return
        if not os.path.lexists(kept):
            with kept.open("xb") as file:
                file.write(content)
            return


def _values(run: RunFolder) -> dict[str, Any]:
    """Returns what the template of the card tells of a run."""
    reading, experiment, status = Reading(), run.experiment(), run.status()
    data, environment = reading.of(run.data, {}), reading.of(run.environment, {})
    scored = scored_parts(run, "card", reading, Budget(0), draws=False)
    counts = [layer.parameters for layer in layers(run)]
    return {
        "run": run,
        "task": experiment.task.name,
        "nouns": experiment.task.output.nouns,
        "what": sentences.what_it_is(experiment.model, experiment.task, data),
        "trained": sentences.moment(status.started),
        "took": sentences.duration(status.started, status.finished),
        "status": status,
        "data": data,
        "environment": environment,
        "scored": scored,
        "first": scored[0] if scored else None,
        "parameters": sum(one or 0 for one in counts) if counts and None not in counts else None,
        "diagnosis": reading.of(lambda: findings(run) or [], []),
        "licence": licence_of(experiment.model, experiment.training.initial_weights),
        "source": experiment.data.source.kind,
        "troubles": reading.troubles,
        "md": markdown,
        "begin": BEGIN,
        "end": END,
        "listed": sentences.listed,
        "counted": sentences.counted,
        "quoted": visible(quote(run.id)),
        "hub": experiment.model.needs_dlcli,
    }


def markdown(text: object) -> str:
    r"""Returns a text that Markdown shows as it is: no markup, HTML, link or table comes of a class called `<b>|[x](y)`."""
    plain = visible(str(text))
    plain = re.sub(r"([\\`*\[\]|~#])", r"\\\1", plain)
    plain = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", plain)
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?i)(www)\.|:(//)", lambda found: f"{found[1]}\\." if found[1] else r":\//", plain)

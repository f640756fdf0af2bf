"""`model_card.md`: a description of a model, its scores and its limits, with a section for its author's own words."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from itertools import count
from pathlib import Path
from shlex import quote
from typing import Any

from dlcli.errors import DamagedFile, UsageError
from dlcli.predict.answers import layout_of
from dlcli.report import sentences
from dlcli.report.diagnosis import findings
from dlcli.report.layers import layers
from dlcli.report.licences import licence_of
from dlcli.report.page import templates
from dlcli.report.pictures import Budget
from dlcli.report.story import Reading, read_scored_splits
from dlcli.runs import RunFolder
from dlcli.runs.files import replacing
from dlcli.spec.experiment import Experiment
from dlcli.spec.support import refuse_unsupported
from dlcli.spec.training.metrics import LAST_EPOCH
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

    The author's words between the marks do not change. A card that was changed elsewhere, or that dlcli did not write, is
    saved beside it under another name.

    Raises:
        DlcliError: the run's status or spec cannot be read, or something other than a file is in the card's place.
    """
    path = run.model_card_path
    old_text = _read_old_card(path)
    text = (
        templates(escapes=False).get_template("card.md").render(**_values(run), own_words=authors_part(old_text) or _OWN_WORDS)
    )
    if old_text and not _is_as_written(old_text):
        _keep(path, old_text)
    with replacing(path) as temporary:
        temporary.write_bytes(_sealed(text).encode("utf-8", "surrogateescape"))
    return path


def authors_part(text: str) -> str | None:
    """Returns the text between the marks of a card; None unless both marks occur once and in order."""
    first, between, after_begin = text.partition(BEGIN)
    own_words, mark, last = after_begin.partition(END)
    clear = between and mark and BEGIN not in own_words + last and END not in first + last
    return own_words if clear else None


def _read_old_card(path: Path) -> str:
    """Returns the existing card with its line endings; empty where there is none."""
    if not os.path.lexists(path):
        return ""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
        raise DamagedFile(f"{path}: not a model card: move it away")
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _digest(text: str) -> str:
    """Returns the digest of a card without the author's words."""
    own_words = authors_part(text)
    text_without_own_words = text if own_words is None else text.replace(f"{BEGIN}{own_words}{END}", "", 1)
    return sha256(text_without_own_words.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _sealed(text: str) -> str:
    return f"{text}\n<!-- dlcli: {_digest(text)} -->\n"


def _is_as_written(text: str) -> bool:
    """Whether a card is as dlcli wrote it, except for the author's words."""
    seal = _SEAL.search(text)
    return seal is not None and authors_part(text) is not None and _digest(text[: seal.start()]) == seal.group(1)


def _keep(path: Path, text: str) -> None:
    """Saves a card that was changed elsewhere beside the new one, under the first free name; equal cards are saved once."""
    content = text.encode("utf-8", "surrogateescape")
    for number in count(1):
        copy = path.with_name(f"{path.stem}.{number}{path.suffix}")
        if copy.is_file() and not copy.is_symlink() and copy.read_bytes() == content:
            return
        if not os.path.lexists(copy):
            with copy.open("xb") as file:
                file.write(content)
            return


def _values(run: RunFolder) -> dict[str, Any]:
    """Returns the values of the card's template for a run."""
    reading, experiment, status = Reading(), run.experiment(), run.status()
    data, environment = reading.of(run.data, {}), reading.of(run.environment, {})
    scored = read_scored_splits(run, "card", reading, Budget(0), draws=False)
    counts = [layer.parameters for layer in layers(run)]
    return {
        "run": run,
        "task": experiment.task.name,
        "nouns": experiment.task.output.nouns,
        "what": sentences.what_it_is(experiment.model, experiment.task, data),
        "trained": sentences.moment(status.started),
        "took": sentences.duration(status.started, status.finished),
        "status": status,
        "members": [RunFolder(Path(folder)).id for folder in experiment.model.members],
        "data": data,
        "environment": environment,
        "scored": scored,
        "first": scored[0] if scored else None,
        "parameters": sum(count or 0 for count in counts) if counts and None not in counts else None,
        "diagnosis": reading.of(lambda: findings(run) or [], []),
        "licence": licence_of(experiment.model, experiment.training.initial_weights),
        "source": experiment.data.source.kind,
        "troubles": reading.errors,
        "md": markdown,
        "begin": BEGIN,
        "end": END,
        "listed": sentences.listed,
        "counted": sentences.counted,
        "quoted": visible(quote(run.id)),
        "saved_layers": experiment.model.saved_layers,
        "no_predictions": _words_against_predict(experiment),
        "keeps_last": status.monitor == LAST_EPOCH,
    }


def _words_against_predict(experiment: Experiment) -> str:
    """Returns why `dlcli predict` cannot answer for the model; empty if it can."""
    try:
        refuse_unsupported(experiment, "predict", "`dlcli predict`")
        layout_of(experiment.task)
    except UsageError as error:
        return str(error)
    return ""


def markdown(text: object) -> str:
    r"""Returns a text that Markdown shows literally: a class called `<b>|[x](y)` causes no markup, HTML, link or table."""
    plain = visible(str(text))
    plain = re.sub(r"([\\`*\[\]|~#])", r"\\\1", plain)
    plain = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", plain)
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"(?i)(www)\.|:(//)", lambda match: f"{match[1]}\\." if match[1] else r":\//", plain)

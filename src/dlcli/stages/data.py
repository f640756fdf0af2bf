"""Opened source -> training, validation and test examples, each in memory or read when needed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from dlcli.errors import DataError
from dlcli.runs.folder import REVISION
from dlcli.spec.data import ImageSettings
from dlcli.spec.experiment import Experiment
from dlcli.spec.sources import Examples, Opened, Request, SourceSpec
from dlcli.spec.sources.base import composed, target_notes
from dlcli.spec.sources.images import ImageFiles
from dlcli.spec.sources.part_names import PARTS
from dlcli.stages.fingerprint import fingerprint
from dlcli.stages.image_files import Survey, with_value_range
from dlcli.stages.split_file import read_split_file

Array = np.ndarray[Any, Any]
DEFAULT_SHARES = {"validation": 0.1, "test": 0.2}
# Images up to this share of the free memory are decoded once and kept; larger sets are read from their files each epoch.
MEMORY_SHARE = 0.25


# Files that could not be read are named up to this number.
MOST_NAMED = 100


@dataclass(frozen=True)
class Splits:
    """The examples of a run. `validation` and `test` may be missing; `test` may be the validation part (by the spec).

    `given` names the parts that the source gave; the others are drawn from its training part.
    """

    parts: dict[str, Examples]
    classes: tuple[str, ...]
    task: str
    notes: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    fingerprint: str = ""
    skipped: tuple[str, ...] = ()
    """What is wrong with each file that was left out, beginning with its path."""
    image: ImageSettings | None = None
    """How image files were read, nothing `auto`; None where there are none."""
    lines: tuple[str, ...] = ()
    """How the source was read."""
    column_facts: tuple[dict[str, Any], ...] = ()
    """What became of each column of a table."""
    flat_images: dict[str, Any] = field(default_factory=dict)
    """Images of one colour: see `Survey.flat_facts`."""

    @property
    def train(self) -> Examples:
        """The examples that are trained on."""
        return self.parts["train"]

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one example; None for named columns."""
        inputs = self.train.inputs
        return None if isinstance(inputs, dict) else tuple(inputs.shape[1:] if isinstance(inputs, np.ndarray) else inputs.shape)

    @property
    def is_image(self) -> bool:
        """Whether inputs are 8-bit images."""
        return is_image(self.train.inputs)

    @property
    def outputs(self) -> int:
        """The number of classes, labels or targets."""
        return (
            len(self.classes) if self.task == "classification" else 1 if self.task == "binary" else self.train.targets.shape[1]
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns how many examples of each class or label every part has; only totals for regression."""
        return {part: self._count(examples) for part, examples in self.parts.items()}

    def _count(self, examples: Examples) -> dict[str, int]:
        if self.task == "regression":
            return {}
        if self.task == "multilabel":
            found = examples.targets.sum(axis=0).astype(int)
        else:
            found = np.bincount(examples.targets, minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))

    def target_facts(self) -> dict[str, list[float] | None]:
        """Returns mean and deviation of each target in the training part; None where targets are classes."""
        if self.task != "regression":
            return {"means": None, "deviations": None}
        targets = self.train.targets.astype("float64")
        return {"means": targets.mean(axis=0).tolist(), "deviations": targets.std(axis=0).tolist()}

    def describe(self) -> dict[str, Any]:
        """Returns what `data.json` holds."""
        return {
            "task": self.task,
            "classes": list(self.classes),
            "examples": {part: len(examples) for part, examples in self.parts.items()},
            "counts": self.counts(),
            **self.target_facts(),
            "shape": list(self.shape) if self.shape else None,
            "columns": list(self.train.inputs) if isinstance(self.train.inputs, dict) else None,
            "fingerprint": self.fingerprint,
            "notes": list(self.notes),
            "test_is_validation": _shared(self.parts, "test"),
            "lines": list(self.lines),
            "column_facts": list(self.column_facts),
            "flat_images": self.flat_images,
            "skipped": {"count": len(self.skipped), "files": list(self.skipped[:MOST_NAMED])},
        }


def is_image(inputs: Any) -> bool:
    """Whether inputs are 8-bit images, in memory or in files."""
    return hasattr(inputs, "read") or (isinstance(inputs, np.ndarray) and inputs.dtype == np.uint8 and inputs.ndim == 4)


def open_splits(
    experiment: Experiment, *, offline: bool = False, split: dict[str, str] | None = None, revision: int = REVISION
) -> Splits:
    """Opens the source and returns its splits.

    Args:
        experiment: the experiment.
        offline: whether nothing may be fetched.
        split: each example's part as a run recorded it; None to split by the spec.
        revision: that of the run whose examples are opened again.

    Raises:
        DataError: the data cannot be read, or leaves a part that is needed without examples or classes.
    """
    data = experiment.data
    is_recorded = split is not None
    if split is None and data.split.file:
        split = read_split_file(Path(data.split.file))
    opened = open_examples(experiment, offline=offline, split=split, revision=revision)
    opened, skipped = (opened, []) if is_recorded else _readable(opened, data.on_error, data.skip_budget)
    _refuse_unfit(opened, experiment)
    drawn = split is None
    parts = _drawn(opened, experiment) if split is None else recorded_parts(opened, split, experiment)
    parts, image, image_notes = with_value_range(parts, data.image, opened.value_range, first=not is_recorded)
    notes = [*opened.notes, *_notes(parts, opened, experiment.task), *image_notes]
    left_out = sum(map(len, opened.parts.values())) - sum(len(parts[part]) for part in parts if not _shared(parts, part))
    if left_out and not drawn:
        notes.append(f"{left_out:,} examples are in no part of the split file and are left out")
    kept: dict[str, Examples] = {}
    survey = Survey()
    for part in (one for one in PARTS if one in parts):
        kept[part] = kept["validation"] if _shared(parts, part) else _kept_in_memory(parts[part], survey)
    if not is_recorded:
        survey.refuse_incomplete()
        notes += survey.notes()
    # Of the parts as opened: images are files there, in memory or not.
    found = fingerprint(parts)
    return Splits(
        kept,
        opened.classes,
        experiment.task,
        tuple(notes),
        frozenset(opened.parts),
        found,
        tuple(skipped),
        image,
        opened.lines,
        tuple(opened.column_facts),
        survey.flat_facts(),
    )


def open_examples(experiment: Experiment, *, offline: bool, split: dict[str, str] | None, revision: int) -> Opened:
    """Returns the examples of the chosen classes; by the rules of revision 1 where only they find those that a split names.

    Raises:
        DataError: the data cannot be read, or lacks one of the classes.
    """
    data = experiment.data
    request = Request(experiment.task, data.image, experiment.seed, offline, revision)
    opened = open_source(data.source, request)
    if split is not None and revision > 1 and not _names_all(split, opened):
        before = open_source(data.source, replace(request, revision=1))
        opened = before if _names_all(split, before) else opened
    return _of_classes(opened, tuple(data.classes)) if data.classes else opened


def open_source(source: SourceSpec, request: Request) -> Opened:
    """Returns the opened source.

    Raises:
        DataError: it cannot be read, or is larger than the memory, or claims to be.
    """
    try:
        return source.open(request)
    except MemoryError:
        place = getattr(source, "path", "") or "data.source"
        raise DataError(f"{place}: more memory is needed to read it than there is: it is too large, or damaged") from None


def _names_all(split: dict[str, str], opened: Opened) -> bool:
    return split.keys() <= {one for examples in opened.parts.values() for one in examples.ids}


def _readable(opened: Opened, on_error: str, budget: float) -> tuple[Opened, list[str]]:
    """Returns the source without image files that cannot be read, and what is wrong with each of those.

    Raises:
        DataError: there are such files and they are not to be skipped, or are more than the budget.
    """
    parts, faults, total = dict(opened.parts), list[str](), 0
    for part, examples in opened.parts.items():
        if not hasattr(examples.inputs, "unreadable"):
            continue
        total += len(examples)
        found = examples.inputs.unreadable(thorough=on_error == "skip")
        faults += found.values()
        parts[part] = subset(examples, np.array([place for place in range(len(examples)) if place not in found], "int64"))
    if not faults:
        return opened, []
    named = "; ".join(faults[:10]) + (f"; and {len(faults) - 10} more" if len(faults) > 10 else "")
    count = f"{len(faults)} of {total:,} images cannot be read"
    if on_error == "stop":
        raise DataError(f"{count}: {named}; repair or remove them, or leave them out: data.on_error: skip")
    if len(faults) > budget * total:
        raise DataError(f"{count}, more than the share of {budget:g} that data.skip_budget allows: {named}")
    note = f"{count} and are skipped: {named}"
    return replace(opened, parts=parts, notes=(*opened.notes, note)), faults


def _of_classes(opened: Opened, classes: tuple[str, ...]) -> Opened:
    """Returns the examples of some classes, numbered in the order given.

    Raises:
        DataError: the source has no class of such a name.
    """
    places = {composed(name): place for place, name in enumerate(opened.classes)}
    unknown = [name for name in classes if composed(name) not in places]
    if unknown:
        raise DataError(f"data.classes: the source has no class {unknown[0]!r}; it has {_listed(opened.classes)}")
    number = np.full(len(opened.classes), -1)
    number[[places[composed(name)] for name in classes]] = np.arange(len(classes))
    classes = tuple(opened.classes[places[composed(name)]] for name in classes)
    parts = {part: subset(examples, np.flatnonzero(number[examples.targets] >= 0)) for part, examples in opened.parts.items()}
    numbered = {part: replace(examples, targets=number[examples.targets]) for part, examples in parts.items()}
    return replace(opened, parts=numbered, classes=classes)


def _shared(parts: dict[str, Examples], part: str) -> bool:
    """Whether a part is the test part and the validation part as well."""
    return part == "test" and part in parts and parts["test"] is parts.get("validation")


def subset(examples: Examples, positions: Array) -> Examples:
    """Returns the examples at some positions."""
    if len(positions) == len(examples) and (positions == np.arange(len(examples))).all():
        return examples
    inputs = examples.inputs
    if isinstance(inputs, dict):
        taken: Any = {name: column[positions] for name, column in inputs.items()}
    else:
        taken = inputs[positions] if isinstance(inputs, np.ndarray) else inputs.take(positions)
    return Examples(taken, examples.targets[positions], [examples.ids[position] for position in positions])


def _refuse_unfit(opened: Opened, experiment: Experiment) -> None:
    for part, examples in opened.parts.items():
        if not len(examples):
            raise DataError(f"the source's {part} part has no examples")
    found = len(np.unique(opened.parts["train"].targets)) if experiment.task_row.has_classes else 2
    if experiment.task == "binary" and len(opened.classes) != 2:
        raise DataError(f"task: binary needs two classes, found {len(opened.classes)}: {_listed(opened.classes)}")
    if experiment.task == "classification" and found < 2:
        raise DataError(f"all examples are of one class ({_listed(opened.classes)}): there is nothing to tell apart")
    if experiment.training.loss.kind == "msle" and min(examples.targets.min() for examples in opened.parts.values()) < 0:
        raise DataError(
            "loss: msle takes a logarithm and needs targets at or above 0; use `loss: huber` for targets of both signs"
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def _drawn(opened: Opened, experiment: Experiment) -> dict[str, Examples]:
    """Returns the parts by the spec's shares: what the source gives is kept, the rest is taken from its training part."""
    settings, source, parts = experiment.data.split, opened.parts["train"], dict(opened.parts)
    draw = _stratified if settings.stratify and experiment.task in ("classification", "binary") else _random
    random = np.random.default_rng([experiment.seed, 0x5B117])
    pool = np.arange(len(source))
    for part in ("test", "validation"):
        share = _share(part, getattr(settings, part), opened)
        if share:
            chosen = draw(source.targets[pool], share * len(source) / len(pool), random)
            parts[part] = subset(source, pool[chosen])
            pool = np.delete(pool, chosen)
    if not len(pool):
        raise DataError("the split leaves no example to train on")
    parts["train"] = subset(source, pool)
    if settings.test == "validation" and "validation" in parts:
        parts["test"] = parts["validation"]
    return {part: examples for part, examples in parts.items() if len(examples)}


def _share(part: str, wanted: Any, opened: Opened) -> float:
    """Returns the share of the source's training part that becomes a part; 0 where the source gives that part itself.

    Raises:
        DataError: the spec asks for a share of what the source gives, or for a part that the source does not have.
    """
    given = part in opened.parts
    if wanted == "source" and not given:
        raise DataError(f"split.{part}: source, but the source has no {part} part of its own")
    if given and wanted not in ("auto", "source"):
        raise DataError(f"split.{part}: {wanted}, but the source has a {part} part of its own; leave `split.{part}` out")
    if given or wanted == "validation":
        return 0.0
    return DEFAULT_SHARES[part] if wanted == "auto" else float(wanted)


def _random(targets: Array, share: float, random: np.random.Generator) -> Array:
    """Returns the sorted positions of a random share, at least one."""
    count = min(max(1, round(share * len(targets))), len(targets) - 1)
    return np.sort(random.permutation(len(targets))[:count])


def _stratified(targets: Array, share: float, random: np.random.Generator) -> Array:
    """Returns the sorted positions of a share of every class: at least one of a class with two, none of a single one.

    Whole examples go to the classes by the largest remainder, so that the shares add up. scikit-learn's splitter
    refuses a class with one example, and importing it here would cost half a second before the first step.
    """
    order = random.permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    classes = np.split(order, np.flatnonzero(np.diff(targets[order])) + 1)
    sizes = np.array([len(members) for members in classes])
    wanted = share * sizes
    counts = np.floor(wanted).astype(int)
    largest = np.argsort(counts - wanted, kind="stable")
    counts[largest[: round(share * len(targets)) - counts.sum()]] += 1
    counts = np.minimum(np.maximum(counts, 1), sizes - 1)
    return np.sort(np.concatenate([members[:count] for members, count in zip(classes, counts, strict=True)]))


def recorded_parts(opened: Opened, split: dict[str, str], experiment: Experiment) -> dict[str, Examples]:
    """Returns the parts that a `split.csv` names.

    Raises:
        DataError: it names an example that the source does not have, or none of them.
    """
    parts: dict[str, Examples] = {}
    left = dict(split)
    for examples in opened.parts.values():
        named = [left.pop(one, "") for one in examples.ids]
        for part in PARTS:
            positions = np.array([place for place, found in enumerate(named) if found == part], dtype="int64")
            if len(positions) and part in parts:
                raise DataError(f"the recorded split takes the {part} part from two parts of the source; it can come from one")
            if len(positions):
                parts[part] = subset(examples, positions)
    if left or "train" not in parts:
        example = next(iter(left), "a training part")
        raise DataError(f"the recorded split names {len(left)} examples that the source does not have, such as {example!r}")
    if experiment.data.split.test == "validation" and "validation" in parts:
        parts["test"] = parts["validation"]
    return parts


def _notes(parts: dict[str, Examples], opened: Opened, task: str) -> list[str]:
    """Returns what a user should know of the parts."""
    shared = ["the test part is the validation part (data.split.test): it chooses the epoch, so its score is no test score"]
    notes = shared if _shared(parts, "test") else []
    if task not in ("classification", "binary"):
        return [*notes, *target_notes(parts["train"].targets, opened.classes)]
    present = np.bincount(parts["train"].targets, minlength=len(opened.classes))
    notes += [f"class {opened.classes[index]!r} has no training example" for index in np.flatnonzero(present == 0)[:5]]
    if "test" in parts:
        tested = np.bincount(parts["test"].targets, minlength=len(opened.classes))
        few = [opened.classes[index] for index in np.flatnonzero((tested == 0) & (present > 0))]
        if few:
            subject = "1 class has" if len(few) == 1 else f"{len(few)} classes have"
            notes.append(f"{subject} too few examples to be tested: {_listed(tuple(few))}")
    return notes


def fits_in_memory(size: int) -> bool:
    """Whether so many bytes are at most the share of the free memory that data may take."""
    return bool(size <= MEMORY_SHARE * psutil.virtual_memory().available)


def _kept_in_memory(examples: Examples, survey: Survey) -> Examples:
    """Returns the examples with image files decoded, where they take at most a share of the free memory."""
    inputs = examples.inputs
    if not isinstance(inputs, ImageFiles):
        if is_image(inputs):
            survey.look_at_arrays(inputs, examples.ids)
        return examples
    if not fits_in_memory(len(inputs) * prod(inputs.shape) * np.dtype(inputs.dtype).itemsize):
        survey.sample(inputs)
        return examples
    pixels = survey.decode(inputs)
    return replace(examples, inputs=replace(inputs, decoded=pixels) if inputs.image.is_deep else pixels)

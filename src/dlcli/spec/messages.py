"""Pydantic's errors in dlcli's own words: what was expected, what was found, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from dlcli.errors import SpecError
from dlcli.spec.base import OneOf, Spec
from dlcli.spec.document import Path, dotted, parse_value

_NUMBERS = {"int_type": "an integer", "int_from_float": "an integer", "float_type": "a number"}
SHAPES = {
    "list_type": "a list",
    "tuple_type": "a number or a list of two",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "string_type": "text",
    "bool_type": "true or false",
    **_NUMBERS,
}
BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "of at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "of at most"),
}
LENGTHS = ("too_short", "too_long")
SYNONYMS = {
    "mean_squared_error": "mse",
    "mean_absolute_error": "mae",
    "bce": "binary_crossentropy",
    "crossentropy": "categorical_crossentropy",
    "cross_entropy": "categorical_crossentropy",
    "cce": "categorical_crossentropy",
    "focal": "categorical_focal_crossentropy",
    "kld": "kl_divergence",
    "acc": "accuracy",
    "f1_score": "f1",
    "roc_auc": "auc",
    "linear": "dense",
    "relu": "activation",
    "sigmoid": "activation",
    "softmax": "activation",
    "tanh": "activation",
    "bn": "batch_normalization",
    "gap": "global_average_pooling2d",
    "convolution": "conv2d",
    "num_classes": "units",
    "early_stop": "early_stopping",
    "fc": "dense",
    "conv": "conv2d",
    "cutout": "random_erasing",
    "convolution2d": "conv2d",
    "maxpool": "max_pooling2d",
    "maxpool2d": "max_pooling2d",
    "max_pool2d": "max_pooling2d",
    "avgpool2d": "average_pooling2d",
    "batchnorm": "batch_normalization",
    "batch_norm": "batch_normalization",
    "lr": "learning_rate",
    "weight_decay_rate": "weight_decay",
    "batch": "batch_size",
    "dir": "path",
    "directory": "path",
    "file": "path",
    "neurons": "units",
    "hidden": "units",
    "type": "kind",
    "normalise": "normalize",
}
"""Words of other tools that are not near enough in spelling."""


_MEANT = "unknown key; did you mean `"


def place_of(error: Any) -> Path:
    """Returns the place of one pydantic error: that of its `kind` where this is what is wrong."""
    path, context = tuple(error["loc"]), error.get("ctx") or {}
    wrong_kind = error["type"] == "kind_unknown" and "kind" in context["fields"]
    return (*path, "kind") if wrong_kind else path


def without_echoes(messages: list[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """Returns the messages without `missing` where a key beside it is the missing one misspelt."""
    meant = {(path[:-1], message.split("`")[1]) for path, message in messages if message.startswith(_MEANT)}
    return [
        (path, message) for path, message in messages if not (message.startswith("missing") and (path[:-1], path[-1]) in meant)
    ]


def message_of(error: Any, data: Any, root: type[Spec]) -> str:
    """Returns one pydantic error (an entry of `ValidationError.errors()`) as text."""
    kind, path, context, value = error["type"], tuple(error["loc"]), error.get("ctx") or {}, error["input"]
    if kind == "missing":
        return f"missing{_described(path, data, root)}"
    if kind in ("extra_forbidden", "invalid_key"):
        return unknown_key(path, data, root)
    if kind == "kind_unknown":
        return _unknown_kind(context)
    if kind == "literal_error":
        return _unknown_word(error, path, data, root)
    if kind in BOUNDS:
        key, word = BOUNDS[kind]
        return f"expected a number {word} {context[key]:g}, found {shown(value)}"
    if kind in LENGTHS:
        return _wrong_length(context, kind)
    if kind == "string_pattern_mismatch":
        return f"expected letters, digits, `_`, `-` and `.`, at most 100, a letter or digit first; found {shown(value)}"
    if kind in ("kind_expected", "expected"):
        return f"expected {context['what']}, found {shown(value)}"
    if kind == "finite_number":
        return f"expected a finite number, found {shown(value)}"
    if kind in SHAPES:
        return f"expected {SHAPES[kind]}, found {shown(value)}{fix_of(kind, value)}"
    return str(error["msg"])


def shown(value: Any) -> str:
    """Returns a value as an error shows it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        short = len(value) <= 4 and all(isinstance(item, (int, float)) for item in value)
        return f"[{', '.join(map(shown, value))}]" if short else f"a list of {len(value)}"
    huge = isinstance(value, int) and abs(value) >= 10**30
    return "a number of too many digits" if huge else str(value)


def fix_of(kind: str, wrong: Any) -> str:
    """Returns the remedy for a scalar of the wrong type."""
    if isinstance(wrong, str) and kind in _NUMBERS:
        try:
            value = parse_value(wrong)
        except SpecError:  # the text is no YAML value: there is no fix to offer
            return ""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return f"; write it without quotes: {value}"
    if (
        kind == "bool_type"
        and isinstance(wrong, str)
        and wrong.lower() in ("yes", "no", "on", "off", "y", "n", "true", "false")
    ):
        return f"; write {str(wrong.lower() in ('yes', 'on', 'y', 'true')).lower()}"
    if kind in ("int_type", "int_from_float") and isinstance(wrong, float) and wrong.is_integer():
        return f"; write {int(wrong)}"
    if kind == "list_type" and isinstance(wrong, (str, int, float)):
        return f"; write [{wrong}]"
    return "; put quotes around it" if kind == "string_type" and isinstance(wrong, (int, float)) else ""


def _wrong_length(context: dict[str, Any], kind: str) -> str:
    limit = context["min_length"] if kind == "too_short" else context["max_length"]
    entries = "1 entry" if limit == 1 else f"{limit} entries"
    return f"expected {'at least' if kind == 'too_short' else 'at most'} {entries}, found {context['actual_length']}"


def _described(path: Path, data: Any, root: type[Spec]) -> str:
    owner = owner_of(path[:-1], data, root)
    field = owner.model_fields.get(str(path[-1])) if owner else None
    described = f": {field.description}" if field and field.description else ""
    bare = _at(data, path[:-1])
    return f"{described} Write {{kind: {bare}, {path[-1]}: ...}}" if isinstance(bare, str) else described


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = _item(data, part)
    return data


def _unknown_kind(context: dict[str, Any]) -> str:
    name, fields = context["kind"], context["fields"]
    union = OneOf.registry[context["union"]]
    if "kind" not in fields and not context["bare"]:
        return f"missing `kind`{_kinds_with(fields, union)}"
    if not isinstance(name, str):
        return f"`kind` must be a word, found {shown(name)}"
    other = next((other for other in OneOf.registry.values() if name in other.kinds), None)
    near = nearest(name, union.kinds) or nearest(name, union.words)
    if near:
        guess = f"did you mean `{near}`?"
    elif other:
        guess = f"`{name}` is {_with_article(_union_word(other.name))}"
    else:
        guess = f"known: {', '.join(sorted(union.kinds))}"
    return f"unknown {_union_word(union.name)} `{name}`; {guess}"


def _kinds_with(fields: list[str], union: OneOf) -> str:
    """Returns the kinds that have all of some fields, or, where the kind itself was written as the key, how it is meant."""
    if len(fields) == 1 and fields[0] in union.kinds:
        return f"; write {{kind: {fields[0]}, ...}} with its settings in the same braces"
    fitting = sorted(kind for kind, member in union.kinds.items() if fields and set(fields) <= set(member.model_fields))
    return f": one of {', '.join(fitting or sorted(union.kinds))}"


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _union_word(union: str) -> str:
    return {"LearningRate": "schedule"}.get(union, union.lower())


def _unknown_word(error: Any, path: Path, data: Any, root: type[Spec]) -> str:
    owner, value = owner_of(path[:-1], data, root), error["input"]
    field = owner.model_fields.get(str(path[-1])) if owner else None
    words = [word for word in _literals(field.annotation if field else None) if word is not None] or literal_words(error)
    near = nearest(value, [word for word in words if isinstance(word, str)]) if isinstance(value, str) else None
    guess = f"; did you mean `{near}`?" if near else ""
    return f"expected {alternatives(words)}, found {shown(value)}{guess}"


def literal_words(error: Any) -> list[Any]:
    """Returns the words that pydantic expected, from its own list of them: `'auto', 1 or 2`."""
    from ast import literal_eval

    expected = str(error["ctx"]["expected"])
    try:
        return list(literal_eval(f"[{expected.replace(' or ', ', ')}]"))
    except (SyntaxError, ValueError):
        return [expected]


def alternatives(words: list[Any]) -> str:
    """Returns `a, b or c`; marks alone, such as a comma, in backticks."""
    texts = [text if any(map(str.isalnum, text)) else f"`{text}`" for text in map(str, words)]
    *first, last = texts
    return f"{', '.join(first)} or {last}" if first else last


def _literals(annotation: Any) -> list[Any]:
    words: list[Any] = []
    for argument in get_args(annotation):
        words += _literals(argument) if get_args(argument) else [argument] if isinstance(argument, (str, int)) else []
    return words


def nearest(word: str, words: Any) -> str | None:
    """Returns the word that was probably meant, or None."""
    words = list(words)
    synonym = SYNONYMS.get(word.lower())
    if synonym in words:
        return synonym
    plain = {other.replace("_", "").lower(): other for other in words}
    near = get_close_matches(word.lower().replace("_", "").replace("-", ""), plain, 1, cutoff=0.6)
    return plain[near[0]] if near else None


def unknown_key(path: Path, data: Any, root: type[Spec]) -> str:
    """Returns the words for a key that its mapping does not know: the near one, or where it belongs."""
    key, owner = str(path[-1]), owner_of(path[:-1], data, root)
    fields = list(owner.model_fields) if owner else []
    near = nearest(key, fields)
    if near and (SYNONYMS.get(key.lower()) == near or get_close_matches(key.lower(), [near.lower()], 1, cutoff=0.75)):
        return f"{_MEANT}{near}`?"
    name = SYNONYMS.get(key.lower(), key)
    union = _union_at(path[:-1], data, root)
    others = [kind for kind, member in union.kinds.items() if name in member.model_fields] if union and owner else []
    if others and owner:
        kind = _item(_at(data, path[:-1]), "kind")
        named = alternatives([f"`{word}`" for word in others[:4]])
        return f"`{kind}` has no `{name}`; {named} {'has' if len(others) == 1 else 'have'}"
    # Of a kind with few fields these are nearer than a key of the same name in another section.
    is_small = union is not None and owner is not None and len(fields) <= _FEW
    homes = [] if is_small else [home for home in _homes(root, name, data) if home != dotted(path)]
    if homes:
        parent = homes[0].rpartition(".")[0]
        return f"this key does not belong here; it belongs {f'under `{parent}`' if parent else 'at the top level'}"
    guess = f"did you mean `{near}`?" if near else f"known here: {', '.join(fields)}"
    return f"unknown key; {guess}"


_FEW = 5
"""A kind with at most so many fields, its `kind` among them, is described by all of them."""


def _homes(root: type[Spec], name: str, data: Any) -> list[str]:
    """Returns the places that have a field of this name in a spec of the kinds that `data` has, the shallowest first."""
    places = [place for place, field in _fields_below(root, data) if field == name]
    return [".".join((*place, name)) for place in sorted(places, key=len)]


def _fields_below(
    owner: type[Spec], data: Any, place: tuple[str, ...] = (), entered: frozenset[type] = frozenset()
) -> Iterator[Any]:
    """Yields (place, field) for every field below a spec class; a class inside itself is not entered again.

    Where `data` says a kind, only that kind's fields are reached: an mlp has no `model.head`.
    """
    for name, field in owner.model_fields.items():
        yield place, name
        union, child = _inner(field)
        value = _item(data, name)
        kind = union.kinds.get(_kind_of(value)) if union else None
        for member in (kind,) if kind else union.members if union else (child,) if child else ():
            if member not in entered:
                yield from _fields_below(member, value, (*place, name), entered | {member})


def _kind_of(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, dict) else value
    return kind if isinstance(kind, str) else ""


def owner_of(path: Path, data: Any, root: type[Spec]) -> type[Spec] | None:
    """Returns the spec class that reads the mapping at `path` of `data`, or None where no class does."""
    owner: type[Spec] | None = root
    union: OneOf | None = None
    for part in path:
        data = _item(data, part)
        if isinstance(part, str):
            field = owner.model_fields.get(part) if owner else None
            union, owner = _inner(field) if field else (None, None)
        if union is not None and union.items and isinstance(data, list):
            union = OneOf.registry[union.items]
        if union is not None:
            kind = data if isinstance(data, str) else None
            if isinstance(data, dict):
                kind = data.get("kind", union.kind_by_fields(data))
            owner = union.kinds.get(kind) if isinstance(kind, str) else None
    return owner


def _union_at(path: Path, data: Any, root: type[Spec]) -> OneOf | None:
    """Returns the union that the mapping at `path` is a member of, or None."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    parent = owner_of(path[:-1], data, root) if path else None
    field = parent.model_fields.get(str(path[-1])) if parent else None
    return _inner(field)[0] if field else None


def _item(data: Any, part: str | int) -> Any:
    try:
        return data[part]
    except (KeyError, IndexError, TypeError):
        return None


def _inner(field: Any) -> tuple[OneOf | None, type[Spec] | None]:
    """Returns the union or spec class that a field holds, itself or in a list."""
    for mark in field.metadata:
        if isinstance(mark, OneOf):
            return mark, None
    return _inside(field.annotation)


def _inside(annotation: Any) -> tuple[OneOf | None, type[Spec] | None]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return None, annotation
    for argument in (*getattr(annotation, "__metadata__", ()), *get_args(annotation)):
        if isinstance(argument, OneOf):
            return argument, None
        union, owner = _inside(argument)
        if union or owner:
            return union, owner
    return None, None

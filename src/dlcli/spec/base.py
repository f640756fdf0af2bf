"""The two base classes of every word of a spec, and the types its fields share.

A spec class is compiled by pydantic when it is first used, not when it is imported (`defer_build` and `OneOf`):
with over a hundred classes that is the difference between a check in 0.3 s and one in 0.5 s.
For the same reason modules of spec classes have no `from __future__ import annotations`, above all those of base classes:
pydantic compiles each annotation from its text again, those of class variables for every subclass.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, cast, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    TypeAdapter,
)
from pydantic_core import PydanticCustomError, core_schema

from dlcli.tasks import Task

Shape = tuple[int, ...]
"""The shape of one example, without the batch: `(height, width, channels)`, `(steps, channels)` or `(features,)`."""


class Spec(BaseModel):
    """A frozen value read from YAML: unknown keys and wrong types are refused, nothing is coerced."""

    meanings: ClassVar[dict[str, str]] = {}
    """What each kind is, where one class serves several."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, defer_build=True, allow_inf_nan=False, protected_namespaces=()
    )


class KerasSpec(Spec):
    """A spec whose fields are the arguments of one Keras class, by Keras's names and with Keras's defaults.

    `keras_class` is the class's place under `keras`, such as `layers.Dense`.
    """

    keras_class: ClassVar[str] = ""

    def build(self, **extra: Any) -> Any:
        """Returns the Keras object. `extra` adds arguments that are not the user's, such as a name."""
        return keras_attribute(self.keras_class)(**self.arguments(), **extra)

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of the Keras class, nested specs built first."""
        names = [name for name in type(self).model_fields if name != "kind"]
        return {name: built(getattr(self, name)) for name in names}


def built(value: Any) -> Any:
    """Returns `value` with every Keras spec in it built."""
    if isinstance(value, KerasSpec):
        return value.build()
    return [built(item) for item in value] if isinstance(value, list) else value


def keras_attribute(path: str) -> Any:
    """Returns the object at `path` under `keras`, importing Keras on first use."""
    from dlcli.upstream.keras import import_keras

    attribute: Any = import_keras()
    for part in path.split("."):
        attribute = getattr(attribute, part)
    return attribute


class OneOf:
    """Marks a union of spec classes that are distinguished by `kind`: `Layer = Annotated[Dense | Flatten, OneOf("Layer")]`.

    A bare name stands for a kind without settings. With `number=True` a positive number is accepted as it is, and so
    is each of `words`, such as `auto`; with `items` a list of that union's members as well. A mapping without `kind` is
    the member whose kind has a default and whose fields it has.
    `places` names each kind's class, as `module:Class`, in place of a union of the classes: the module of a kind is imported
    when a spec uses it. The annotation is then the members' base class.
    Unlike pydantic's own discriminated union, a member is compiled only when a spec uses it, and error places hold
    the keys of the YAML alone. Measured in turns, 21 whole processes each of `dlcli check configs/digits_cnn.yaml`, against
    pydantic's tagged union behind a deferred build, which compiles every member: 0.75 s of processor time against 0.91 s and
    40 MiB against 45 MiB on a busy machine; within the process, 0.05 s for the first spec against 0.16 s.
    """

    registry: ClassVar["dict[str, OneOf]"] = {}

    def __init__(
        self,
        name: str,
        *,
        number: bool = False,
        words: tuple[str, ...] = (),
        items: str = "",
        places: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.places = places
        self.number = number
        self.words = words
        self.items = items
        self._source: Any = None
        self._added: list[type[Spec]] = []
        OneOf.registry[name] = self

    def extend(self, member: type[Spec]) -> None:
        """Adds a class to the union: specs may use its kinds from now on.

        Raises:
            ValueError: another class of the union has one of its kinds.
        """
        existing = set(kinds_of(member)) & set(self.kinds)
        if existing and member not in self.members:
            raise ValueError(f"the union {self.name} already has a class of the kind {min(existing)!r}")
        if member not in self.members:
            self._added.append(member)

    @property
    def members(self) -> tuple[type[Spec], ...]:
        """The spec classes of the union, in the order they are written."""
        if self._source is None and not self.places:
            _find_sources()
        candidates = (*(self._placed() or get_args(self._source) or (self._source,)), *self._added)
        return tuple(member for member in candidates if isinstance(member, type) and issubclass(member, Spec))

    def _placed(self) -> tuple[type[Spec], ...]:
        return tuple(dict.fromkeys(map(_class_at, self.places.values())))

    def member_of(self, kind: Any) -> type[Spec] | None:
        """Returns the class of a kind, or None; no other kind's class is imported where places are named."""
        if not isinstance(kind, str):
            return None
        return _class_at(self.places[kind]) if kind in self.places else self.kinds.get(kind)

    @property
    def kinds(self) -> dict[str, type[Spec]]:
        """Every kind with its class; a class may serve several kinds."""
        return {kind: member for member in self.members for kind in kinds_of(member)}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        self._source = source
        return core_schema.with_info_plain_validator_function(lambda value, info: self.validate(value, info.context))

    def __get_pydantic_json_schema__(self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        # Not a `$ref`: pydantic resolves every reference. `file.json_schema` makes it one.
        return {"union": self.name}

    def validate(self, value: Any, context: Any = None) -> Any:
        """Returns the member that `value` (a mapping, a bare name, or a built spec) describes.

        Raises:
            ValidationError: a field of the member is wrong; pydantic puts it in its place of the whole.
            PydanticCustomError: there is no member of this kind.
        """
        if isinstance(value, str) and value in self.words:
            return value
        if isinstance(value, Spec) and isinstance(value, self.members):
            return value
        if self.number and isinstance(value, (int, float)) and not isinstance(value, bool):
            return self._validate_number(value)
        if self.items and isinstance(value, (list, tuple)):
            return self._list_adapter().validate_python(list(value), context=context)
        bare = isinstance(value, str)
        fields = {"kind": value} if bare else value
        if not isinstance(fields, dict):
            raise PydanticCustomError("kind_expected", "expected {what}", {"what": self._expected()})
        kind = fields.get("kind") if "kind" in fields else self.kind_by_fields(fields)
        member = self.member_of(kind)
        if member is None:
            raise PydanticCustomError(
                "kind_unknown",
                "unknown kind",
                {"kind": kind, "union": self.name, "fields": [] if bare else [str(field) for field in fields], "bare": bare},
            )
        return member.model_validate(fields, context=context)

    def _list_adapter(self) -> TypeAdapter[list[Any]]:
        items = OneOf.registry[self.items]
        validator = PlainValidator(lambda value, info: items.validate(value, info.context))
        return TypeAdapter(list[Annotated[Any, validator]])

    def kind_by_fields(self, fields: dict[Any, Any]) -> Any:
        """Returns the kind that has a default and one of these fields, or None."""
        optional_kinds = (member for member in self.members if not member.model_fields["kind"].is_required())
        return next(
            (member.model_fields["kind"].default for member in optional_kinds if set(fields) & set(member.model_fields)), None
        )

    def _validate_number(self, value: float) -> float:
        if not 0 < value < 1e300:  # whole numbers may be too large for a float
            raise PydanticCustomError("greater_than", "not positive", {"gt": 0})
        return float(value)

    def _expected(self) -> str:
        number = "a number, or " if self.number else "a list of layers, or " if self.items else ""
        return f"{number}a name or a mapping with `kind`"


def _class_at(place: str) -> type[Spec]:
    """Returns the class at `module:Class`."""
    module, _, name = place.partition(":")
    return cast("type[Spec]", getattr(import_module(module), name))


def _find_sources() -> None:
    """Gives every union its members from the fields that hold it: pydantic does so only for the classes it compiles."""
    waiting: list[type[Spec]] = [Spec]
    while waiting:
        owner = waiting.pop()
        waiting += owner.__subclasses__()
        for field in owner.model_fields.values():
            _note_source(field.annotation, field.metadata)


def _note_source(annotation: Any, marks: Iterable[Any]) -> None:
    for mark in marks:
        if isinstance(mark, OneOf):
            mark._source = annotation
    for argument in get_args(annotation):
        _note_source(getattr(argument, "__origin__", argument), getattr(argument, "__metadata__", ()))


def kinds_of(member: type[Spec]) -> tuple[str, ...]:
    """Returns the values that a spec class's `kind` may take."""
    field = member.model_fields["kind"]
    return cast("tuple[str, ...]", get_args(field.annotation))


def needs_fields(member: type[Spec]) -> bool:
    """Tells whether a kind has settings that must be given, so that its bare name does not do."""
    return any(field.is_required() for name, field in member.model_fields.items() if name != "kind")


def meaning(kind: str, member: type[Spec]) -> str:
    """Returns what a kind is, in one line: its own where a class serves several, else the first line of the class's text."""
    return member.meanings.get(kind) or (member.__doc__ or "").splitlines()[0]


def dump(value: Any) -> Any:
    """Returns plain data (mappings, lists, scalars) for a spec, with every default written out and `kind` first."""
    if isinstance(value, Spec):
        fields = {name: dump(getattr(value, name)) for name, field in type(value).model_fields.items() if not field.exclude}
        kind = {"kind": fields.pop("kind")} if "kind" in fields else {}
        return kind | fields
    if isinstance(value, (list, tuple)):
        return [dump(item) for item in value]
    if isinstance(value, Task):
        return value.name
    return {key: dump(item) for key, item in value.items()} if isinstance(value, dict) else value


def walk(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Spec]]:
    """Yields every spec inside `value` with its place, outermost first."""
    if isinstance(value, Spec):
        yield path, value
        for name in type(value).model_fields:
            yield from walk(getattr(value, name), (*path, name))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from walk(item, (*path, index))


def _as_pair(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


def _as_triple(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value, value)
    if not isinstance(value, (list, tuple)):
        raise PydanticCustomError("expected", "expected {what}", {"what": "a number or a list of three"})
    return tuple(value)


Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Pair = Annotated[
    tuple[Count, Count],
    BeforeValidator(_as_pair, json_schema_input_type=Count | Annotated[list[Count], Field(min_length=2, max_length=2)]),
]
Triple = Annotated[
    tuple[Count, Count, Count],
    BeforeValidator(_as_triple, json_schema_input_type=Count | Annotated[list[Count], Field(min_length=3, max_length=3)]),
]
Padding = Literal["valid", "same"]
ACTIVATIONS = {
    "linear": "x: for regression outputs",
    "binary_step": "1 at or above 0, else 0: the step of the first perceptron; it has no gradient, so layers before it"
    " cannot be trained",
    "sigmoid": "1 / (1 + exp(-x)): from 0 to 1, for binary outputs",
    "tanh": "from -1 to 1, centred on 0",
    "relu": "max(0, x): the usual choice for hidden layers; `{kind: relu, max_value: 6}` limits the output",
    "leaky_relu": "x, or 0.2 x below 0: avoids dead units; `{kind: leaky_relu, negative_slope: 0.3}` sets the slope",
    "elu": "x, or exp(x) - 1 below 0: smooth; `{kind: elu, alpha: 0.5}` sets the factor",
    "selu": "scaled elu that keeps mean and standard deviation, with `lecun_normal` weights",
    "gelu": "x times the cumulative normal distribution at x: used in Transformers",
    "silu": "x * sigmoid(x): used in EfficientNet",
    "softmax": "probabilities of several classes, with sum 1: for classification outputs",
    "softplus": "log(1 + exp(x)): a smooth relu",
}

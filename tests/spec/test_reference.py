"""The reference and the JSON schema: current, complete, and as strict as `check` about the shape of a spec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dlcli.spec.base import OneOf, kinds_of
from dlcli.spec.document import parse
from dlcli.spec.load import json_schema, load_resolved, load_text, to_yaml
from dlcli.spec.reference import UNION_TITLES, reference, schema_text
from spec.members import kinds, sample
from spec.test_wrong_specs import CASES, GOOD

REPOSITORY = Path(__file__).parents[2]
CONFIGS = sorted((REPOSITORY / "configs").rglob("*.yaml"))
BY_SHAPE = [
    "typo_top", "typo_data", "typo_layer_field", "typo_kind", "typo_optimizer_field", "typo_source_name", "typo_activation",
    "quoted", "yes", "float2", "missing_data", "missing_field", "missing_kind", "misplaced", "kind_number", "range_rate",
    "range_neg", "batch0", "batchword", "pair3", "bare_needs", "layers_map", "data_null", "loss_is_list", "regular", "name",
]  # fmt: skip
"""Wrong specs that the shape alone predicts, without rules across fields."""


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_reference_is_current() -> None:
    hint = "run `dlcli schema --write docs`"
    assert (REPOSITORY / "docs" / "spec.md").read_text(encoding="utf-8") == reference(), hint
    assert (REPOSITORY / "docs" / "schema.json").read_text(encoding="utf-8") == schema_text(), hint


def test_the_reference_names_every_kind_and_field() -> None:
    assert set(UNION_TITLES) == set(OneOf.registry)
    text = reference()
    for union in OneOf.registry.values():
        for member in union.members:
            start = text.index(f"### {', '.join(f'`{kind}`' for kind in kinds_of(member))}\n")
            section = text[start : text.find("\n### ", start + 1)]
            for name in member.model_fields:
                assert name == "kind" or f"| `{name}` |" in section, (member, name)


def test_the_reference_shows_types_and_defaults_as_a_yaml_says_them() -> None:
    text = reference()
    assert "| `classes` | list of texts | `null` |" in text
    assert "| `pooling` | `avg`, `max`, `none` | `avg` |" in text
    assert "| `train` | `head`, `all` or `{last: ...}` or `{blocks: ...}` or `{from: ...}` | required |" in text
    assert "| `branches` | list of lists of [layers](#layers) | required |" in text
    assert text.count("\n- `mobilenet_v2`: ") == 1


def test_null_resets_what_is_not_set_by_default() -> None:
    loaded = load_text(GOOD, "good.yaml", ["data.split.file=split.csv", "data.split.file=null"])
    assert loaded.experiment.data.split.file is None


def test_every_link_of_the_reference_has_its_heading() -> None:
    import re

    text = reference()
    headings = {re.sub(r"[^a-z0-9_-]", "", line.lstrip("# ").lower()) for line in text.splitlines() if line.startswith("#")}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= headings


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_schema_accepts_every_shipped_spec_as_given_and_as_resolved(path: Path, validator: Any) -> None:
    validator.validate(parse(path.read_text(), path.name).data)
    validator.validate(parse(to_yaml(load_resolved(path)), path.name).data)


def test_the_schema_accepts_every_kind(validator: Any) -> None:
    from dlcli.spec.base import dump

    definitions = json_schema()["$defs"]
    for union, kind in kinds():
        part = {"$ref": f"#/$defs/{union}", "$defs": definitions}
        data = json.loads(json.dumps(dump(sample(union, kind))))
        jsonschema.Draft202012Validator(part).validate(data)


def test_the_schema_accepts_the_good_spec(validator: Any) -> None:
    validator.validate(parse(GOOD, "").data)


@pytest.mark.parametrize("name", BY_SHAPE)
def test_the_schema_refuses_wrong_specs(name: str, validator: Any) -> None:
    assert not validator.is_valid(parse(CASES[name][0], "").data)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.usefixtures("shipped_files")
def test_a_shipped_spec_with_its_defaults_written_out_is_good_too(path: Path) -> None:
    load_text(to_yaml(load_resolved(path)), path)

"""The OpenAPI document of the lookup: the schemas and examples are those of the code."""

import jsonschema
import msgspec
import pytest

from serving.lookup.answers import EXAMPLE_USER, BatchAnswer, BatchRequest, Problem, UserAnswer
from serving.lookup.app import create_app
from tests.unit.lookups import GatedReader, get

pytestmark = pytest.mark.unit

OPERATIONS = {
    "getUserSegments": {"200", "304", "400", "503"},
    "batchGetSegments": {"200", "400", "413", "503"},
    "health": {"200"},
    "ready": {"200", "503"},
    "metrics": {"200"},
}


@pytest.fixture(scope="module")
def document():
    return create_app(GatedReader).openapi()


def operations_of(document):
    for path in document["paths"].values():
        yield from path.values()


def contents_of(operation):
    for response in operation["responses"].values():
        yield from response.get("content", {}).items()


def references_in(value):
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from references_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references_in(inner)


def validator(document, reference):
    return jsonschema.Draft202012Validator({**document, "$ref": reference})


def test_it_is_served(tmp_path, document):
    (response,) = get(tmp_path / "none.db", "/openapi.json")
    assert response.status_code == 200
    assert response.json() == document


def test_every_operation_has_its_answers(document):
    found = {op["operationId"]: set(op["responses"]) for op in operations_of(document)}
    assert found == OPERATIONS


def test_every_reference_leads_somewhere(document):
    references = set(references_in(document))
    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_the_schemas_are_those_of_the_messages(document):
    schemas = document["components"]["schemas"]
    assert set(schemas) == {"UserAnswer", "BatchAnswer", "BatchRequest", "Problem", "Segment"}
    for message in (UserAnswer, BatchAnswer, BatchRequest, Problem):
        assert set(schemas[message.__name__]["properties"]) == set(message.__struct_fields__)
    user_ids = schemas["BatchRequest"]["properties"]["user_ids"]
    assert (user_ids["minItems"], user_ids["maxItems"]) == (1, 100)
    assert schemas["BatchRequest"]["additionalProperties"] is False


def test_every_error_is_a_problem(document):
    errors = [
        (status, content)
        for operation in operations_of(document)
        for status, response in operation["responses"].items()
        if status >= "400"
        for content in response["content"].items()
    ]
    assert len(errors) == 6
    for _, content in errors:
        assert content == (
            "application/problem+json",
            {"schema": {"$ref": "#/components/schemas/Problem"}},
        )


def test_every_example_fits_its_schema_and_its_type(document):
    examples = 0
    for operation in operations_of(document):
        for _, content in contents_of(operation):
            if "example" in content:
                examples += 1
                validator(document, content["schema"]["$ref"]).validate(content["example"])
    assert examples == 2
    assert msgspec.convert(EXAMPLE_USER, UserAnswer).segments[0].matching == 10
    (ids,) = document["components"]["schemas"]["BatchRequest"]["properties"]["user_ids"]["examples"]
    msgspec.convert({"user_ids": ids}, BatchRequest)


def test_lookups_have_examples(document):
    lookups = [op for op in operations_of(document) if "egments" in op["operationId"]]
    assert len(lookups) == 2
    for operation in lookups:
        assert "example" in operation["responses"]["200"]["content"]["application/json"]
    (parameter,) = lookups[0]["parameters"]
    assert parameter["schema"]["examples"] == ["u17"]


def test_metrics_are_described_as_the_text_they_are(document):
    (content_type,) = document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    assert content_type.startswith("text/plain")

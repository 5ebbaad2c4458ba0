"""The lookup API answers as its OpenAPI document says, whatever it is asked."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.lookup.app import create_app
from serving.lookup.sqlite_reader import SqliteReader
from tests.unit.builders import START, publication
from tests.unit.lookups import NEVER_FRESH, fill_store

pytestmark = pytest.mark.contract

load_all_checks()
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
OPERATIONS = [
    "GET /v1/users/{user_id}/segments",
    "POST /v1/segments:batchGet",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """The document as served, and behind it an app over a store that knows a few users."""
    path = tmp_path_factory.mktemp("store") / "segments.db"
    fill_store(path, *map(publication, ("u1", "u2", "u17", "0", "a/b")), as_of=START)
    app = create_app(lambda: SqliteReader(path), NEVER_FRESH)
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    shutdown_lifespans()


@pytest.mark.parametrize(
    ("label", "mode"),
    [
        *((label, GenerationMode.POSITIVE) for label in OPERATIONS[:-1]),
        *((label, GenerationMode.NEGATIVE) for label in OPERATIONS[:2]),
    ],
)
def test_every_answer_is_as_documented(api, label, mode):
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=api.find_operation_by_label(label).as_strategy(generation_mode=mode))
    def ask(case):
        case.call_and_validate(checks=CHECKS)

    ask()


def test_metrics_are_as_documented(api):
    api["/metrics"]["get"].Case().call_and_validate(checks=CHECKS)


def test_these_are_all_the_operations_there_are(api):
    assert [operation.ok().label for operation in api.get_all_operations()] == OPERATIONS

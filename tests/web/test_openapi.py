"""The OpenAPI document says what the service does."""

import re
from collections.abc import Iterator

import msgspec
import pytest

from notifier.web.api.message_json import MessageList, MessageResource
from notifier.web.problems import Problem
from tests.web_client import JSON, serving


@pytest.fixture
async def web(tmp_path):
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "shipped.txt").write_text("Dear {{ name }}, your order {{ order }} is on its way.")
    settings = {"wait_limit": 10.0, "templates": str(folder)}
    async with serving(tmp_path / "data", **settings) as (service, client):
        yield service, client


@pytest.fixture
async def document(client):
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def nodes(value) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
        value = value.values()
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        for each in value:
            yield from nodes(each)


def filled(path, operation, **values):
    """The path with these values in it, and otherwise with the examples of the document."""
    for each in operation["parameters"]:
        if each["in"] == "path":
            value = values.get(each["name"], each.get("example"))
            path = path.replace(f"{{{each['name']}}}", str(value))
    return path


def answers_of(operation):
    for status, answer in operation["responses"].items():
        for media_type, content in answer.get("content", {}).items():
            yield int(status), media_type, content


def body_of(operation):
    """The media type of a call's body, and its examples."""
    contents = operation.get("requestBody", {}).get("content", {"": {}})
    kind, content = next(iter(contents.items()))
    return kind, content.get("examples", {})


async def test_every_reference_leads_somewhere(document):
    """No $ref points to nothing, and no schema stands there for nobody."""
    schemas = document["components"]["schemas"]
    named = {node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)}
    assert named == {f"#/components/schemas/{name}" for name in schemas}


async def test_every_operation_can_be_read(document):
    """An id, a summary, a description, an example, and every way it can end."""
    ids = []
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        ids.append(operation["operationId"])
        assert operation["summary"], where
        assert operation["description"], where
        examples = [content for _, _, content in answers_of(operation) if "example" in content]
        if "requestBody" in operation:
            _, examples = body_of(operation)
        assert examples, where
        assert any(200 <= status < 300 for status, *_ in answers_of(operation)), where
        for name in re.findall(r"\{(\w+)\}", path):
            assert {"name": name, "in": "path", "required": True}.items() <= next(
                each for each in operation["parameters"] if each["name"] == name
            ).items()
    assert len(ids) == len(set(ids))


async def test_every_operation_of_the_service_is_there(document):
    """The calls of the contract, each under its method."""
    assert {(method, path) for path, method, _ in operations(document)} >= {
        ("post", "/v1/messages"),
        ("get", "/v1/messages"),
        ("get", "/v1/messages/{id}"),
        ("post", "/v1/messages/batch"),
        ("get", "/v1/messages/{id}/conversation"),
        ("get", "/v1/messages/{id}/source"),
        ("get", "/v1/messages/{id}/explain"),
        ("post", "/v1/messages/{id}/cancel"),
        ("post", "/v1/messages/{id}/retry"),
        ("post", "/v1/messages/{id}/send-now"),
        ("post", "/v1/messages/{id}/settle"),
        ("post", "/v1/messages/settle"),
        ("post", "/v1/messages/{id}/copies"),
        ("post", "/send-email"),
        ("post", "/send-async"),
        ("post", "/send-sms"),
        *(("post", f"/v1/messages/{verb}") for verb in ("cancel", "retry", "send-now")),
        ("get", "/v1/events"),
        ("get", "/v1/carriers"),
        ("get", "/v1/stats"),
        ("get", "/v1/relays"),
        ("post", "/v1/relays/{name}/pause"),
        ("post", "/v1/relays/{name}/resume"),
        ("post", "/v1/queue/pause"),
        ("post", "/v1/queue/resume"),
        ("get", "/v1/templates"),
        ("post", "/v1/templates/{name}/preview"),
        ("get", "/livez"),
        ("get", "/readyz"),
        ("get", "/health"),
    }


async def held(client):
    """The id of a message that waits for a person, for calls about one message."""
    to = ["drop-after-dot@simulator.notifier"]
    asked = {"to": to, "from": "me@example.org", "text": "x", "on_uncertain": "hold"}
    answer = await client.post("/v1/messages", json=asked, headers={"Prefer": "wait=30"})
    assert answer.json()["status"] == "held", answer.text
    return answer.json()["id"]


async def test_every_example_of_a_body_is_taken_for_real(client, document):
    """What the document shows can be copied, and gets one of the answers that it lists."""
    sent = 0
    for path, method, operation in operations(document):
        kind, examples = body_of(operation)
        for name, example in examples.items():
            values = {"id": await held(client)} if "{id}" in path else {}
            where = filled(path, operation, **values)
            if "status" in [each["name"] for each in operation["parameters"]]:
                where += "?status=held"
            value = example["value"]
            content = value.encode() if isinstance(value, str) else msgspec.json.encode(value)
            headers = {"Content-Type": kind}
            answer = await client.request(method, where, content=content, headers=headers)
            assert 200 <= answer.status_code < 300, f"{path} {name}: {answer.text}"
            assert str(answer.status_code) in operation["responses"]
            sent += 1
    assert sent >= 6


async def test_every_example_of_an_answer_is_one(document):
    """An example has exactly the fields that the real answer has."""
    types = {"MessageResource": MessageResource, "MessageList": MessageList, "Problem": Problem}
    seen = set()
    for _, _, operation in operations(document):
        for _, _, content in answers_of(operation):
            name = content["schema"].get("$ref", "").rpartition("/")[2]
            if "example" in content and name in types:
                seen.add(name)
                value = msgspec.convert(content["example"], types[name])
                assert msgspec.json.decode(msgspec.json.encode(value)) == content["example"]
    assert seen >= {"MessageResource", "MessageList"}


async def test_every_call_answers_with_what_is_written_down(web, document):
    """Reading and acting on a real message: status and media type are among those listed."""
    service, client = web
    accepted = await client.post(
        "/v1/messages", json={"to": ["a@example.net"], "from": "me@example.org", "text": "x"}
    )
    bodiless = [each for each in operations(document) if "requestBody" not in each[2]]
    streams = [each for each in bodiless if "text/event-stream" in media_of(each[2])]
    for id in (accepted.json()["id"], "nothing"):
        for path, method, operation in bodiless:
            if (path, method, operation) not in streams:
                await answers_as_listed(client, filled(path, operation, id=id), method, operation)
    service.drain()  # which ends them
    for path, method, operation in streams:
        await answers_as_listed(client, path, method, operation)


def media_of(operation):
    return {media for _, media, _ in answers_of(operation)}


async def answers_as_listed(client, path, method, operation):
    answer = await client.request(method, path)
    kind = answer.headers["content-type"].partition(";")[0]
    listed = {(status, media) for status, media, _ in answers_of(operation)}
    assert (answer.status_code, kind) in listed, f"{method} {path}: {answer.text}"


async def test_every_refusal_of_a_body_is_written_down(client, document):
    """Malformed, of another type, too large, invalid: each is listed as a problem."""
    for path, method, operation in operations(document):
        if "requestBody" not in operation:
            continue
        for content, headers in (
            (b"{", JSON),
            (b"{}", JSON),
            (b"{}", {"Content-Type": "text/plain"}),
            (b" " * 16_000_000, JSON),
        ):
            answer = await client.request(method, path, content=content, headers=headers)
            listed = {(status, media) for status, media, _ in answers_of(operation)}
            assert (answer.status_code, "application/problem+json") in listed, answer.text


def value_past(name, limit, schema):
    """A value that breaks this limit of this schema."""
    match name:
        case "maxLength":
            return "ann@example.net".ljust(limit + 1, "x")
        case "minLength":
            return "x" * (limit - 1)
        case "pattern":
            return "ann\0@example.net"
        case "maxItems":
            return ["ann@example.net"] * (limit + 1)
        case "minItems":
            return []
        case "maximum":
            return limit + 1
        case "minimum":
            return limit - 1
        case "maxProperties":
            return {f"X-{n}": "1" for n in range(limit + 1)}
    return None


async def test_every_limit_in_the_document_is_one_of_the_service(client, document):
    """A value just past a limit of a schema is refused, with that field named."""
    schema = document["components"]["schemas"]["Email"]
    tried = 0
    for field, described in schema["properties"].items():
        for branch in described.get("anyOf", [described]):
            for name, limit in branch.items():
                value = value_past(name, limit, branch)
                if value is None:
                    continue
                body = {"to": ["ann@example.net"], "from": "me@example.org", "text": "x"}
                answer = await client.post("/v1/messages", json=body | {field: value})
                assert answer.status_code == 422, f"{field} {name}"
                assert answer.json()["errors"][0]["pointer"].startswith(f"/{field}")
                tried += 1
    assert tried > 20


async def test_limits_inside_lists_are_in_the_document(document):
    """What Litestar's own document would lose: limits of items, keys, and defaults."""
    fields = document["components"]["schemas"]["Email"]["properties"]
    assert fields["to"]["items"]["minLength"] == 3
    assert fields["tags"]["items"]["maxLength"] == 255
    assert "pattern" in fields["metadata"]["propertyNames"]
    assert fields["on_uncertain"]["default"] == "resend"
    limit = next(
        each
        for each in document["paths"]["/v1/messages"]["get"]["parameters"]
        if each["name"] == "limit"
    )
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}


async def test_the_channel_may_be_left_out(document):
    """An email is what a message is by default, and the document says so."""
    schema = document["components"]["schemas"]["Email"]
    assert schema["required"] == ["to"]
    assert schema["properties"]["channel"]["default"] == "email"


async def test_a_prefix_is_the_server_of_the_document(tmp_path):
    """Behind a proxy the calls are found under it."""
    async with serving(tmp_path, public_path="/mail") as (_, client):
        document = (await client.get("/openapi.json")).json()
    assert document["servers"] == [{"url": "/mail"}]

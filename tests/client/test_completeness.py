"""The client knows what the service knows: each field of a message, and each filter."""

import typing

import msgspec

from notifier import messages
from notifier.client import Attachment, Attempt, Happening, Later, Message, Recipient
from notifier.client.calls import Filters
from notifier.client.fields import Draft
from notifier.web.api import message_json, queries


def names(kind):
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def test_the_client_shows_every_field():
    """A message of the client has each field of a message of the API, by the same name."""
    pairs = [
        (message_json.MessageResource, Message),
        (message_json.RecipientResource, Recipient),
        (message_json.AttemptResource, Attempt),
        (message_json.Happening, Happening),
        (message_json.LaterResource, Later),
        (messages.Attachment, Attachment),
    ]
    for theirs, ours in pairs:
        assert names(theirs) - names(ours) == set(), ours


def test_the_client_sends_every_field():
    """What the API takes of an email or a text message has a name for type checkers."""
    ours = {name.rstrip("_") for name in typing.get_type_hints(Draft)}
    known = names(messages.Email) | names(messages.Sms) | {"channel"}
    assert ours == known


def test_the_client_filters_by_everything():
    """`list` takes each filter of the API."""
    assert set(typing.get_type_hints(Filters)) == names(queries.Filters)

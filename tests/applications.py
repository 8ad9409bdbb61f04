"""An application that receives callbacks: its key, and the callbacks that it got."""

import json

import msgspec
from standardwebhooks import Webhook

from notifier.keys import Keys, KeyScope, new_key
from tests.service import email, now

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def made_key(folder, url, name="shop", **callback):
    """A key with a callback in this folder's file."""
    key, _ = new_key(name, now=now(), scopes=(KeyScope.SEND,))
    Keys.read(folder / "keys.toml").add(key)
    return add_callback(folder, name, url, **callback)


def add_callback(folder, name, url, **fields):
    """Give a key that is in this folder's file a callback."""
    path = folder / "keys.toml"
    fields = {"url": url, "secrets": [SECRET]} | fields
    table = "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
    with path.open("a") as file:
        file.write(f"\n[keys.{name}.callback]\n{table}\n")
    return next(each for each in Keys.read(path).all() if each.name == name)


def callbacks_of(site, *, secret=SECRET):
    """The callbacks that a site got, each checked by another implementation of the standard."""
    return [checked(headers, body, secret) for _, headers, body in site.requests]


def checked(headers, body, secret=SECRET):
    """The body of a callback whose signature holds, with its id."""
    Webhook(secret).verify(body, headers)
    return msgspec.json.decode(body) | {"id": headers["webhook-id"]}


async def submit_as(service, key, *to, **changes):
    """The id of a message that the key sends."""
    receipt = await service.submit([email(*to, **changes)], key=key)
    return receipt.deliveries[0].id

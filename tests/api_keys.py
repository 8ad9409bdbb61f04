"""API keys and sessions of a service that the test has opened."""

from datetime import UTC, datetime

from notifier.keys import Keys, KeyScope, new_key


def made(folder, name="billing", *scopes, **terms):
    """A key in this folder's file, as the header fields that show it."""
    key, secret = new_key(name, now=datetime.now(UTC), scopes=scopes or (KeyScope.SEND,), **terms)
    Keys.read(folder / "keys.toml").add(key)
    return {"Authorization": f"Bearer {secret}"}


def look(service):
    """Let the service look at the file now, not only in a second."""
    service.keys.look_at = 0.0


OURS = {"Origin": "http://localhost"}


async def signed_in(client, key):
    return await client.post("/sign-in", json={"key": key}, headers=OURS)

"""The limit: an ASGI application that reads the JSON and answers, and does nothing else."""

import msgspec


class Attachment(msgspec.Struct):
    filename: str
    content: bytes


class Mail(msgspec.Struct):
    to: list[str]
    subject: str
    text: str
    sender: str = msgspec.field(name="from")
    attachments: list[Attachment] = []


decode = msgspec.json.Decoder(Mail).decode
ANSWER = b'{"id": "00000000"}'
START = {
    "type": "http.response.start",
    "status": 202,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))],
}


async def app(scope, receive, send):
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message["body"])
        more = message["more_body"]
    decode(b"".join(parts))
    await send(START)
    await send({"type": "http.response.body", "body": ANSWER, "more_body": False})

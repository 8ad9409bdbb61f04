"""
The API under `/v1`.

Calls: `messages`, `batch`, `bulk`, `settling`, `copies`, `details`, `events`, `operations`,
`callbacks`, `relays`, `carriers` and `templates`. `queries`, `message_json` and `resources` say
what they read and answer; `explanation` says why a message has its status; `examples` are those of
the API's documentation.
"""

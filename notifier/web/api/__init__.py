"""
The API under `/v1`.

`messages`, `batch`, `bulk`, `details`, `events`, `operations`, `relays`, `carriers` and `templates` are
calls; `queries`, `message_json` and `resources` say what they read and answer; `explanation` says
in words why a message is where it is; `examples` are those of the API's documentation.
"""

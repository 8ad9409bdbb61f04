"""
The API under `/v1`.

Calls: `messages`, `batch`, `bulk`, `settling`, `copies`, `details`, `events`, `operations`,
`callbacks`, `relays`, `reports`, `provider_events`, `carriers`, `templates`, `suppressions`,
`recipients` and `audit`. `sources` takes mails that are handed in as a whole.
`queries` and `message_json` say what the calls read and answer; `explanation` says why a message
has its status; `examples` are those of the API's documentation.
"""

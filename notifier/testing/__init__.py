"""
Test programs that send: a pytest plug-in with the fixture `notifier_mailbox`.

`plugin` is what pytest loads; it costs a project that does not use the fixture nothing. `server`
runs a real server with the built-in mailbox, and `mailbox` is what a test sees of it.
"""

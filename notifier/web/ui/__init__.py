"""
Pages for people.

`pages` are the index, the API's documentation and the monitor; `inbox` is the built-in mailbox's,
and `rehearsal` is for tests with it;
`guide` is the guide; `sign_in` opens and ends sessions; `layout` is the frame of every page;
`contents` takes mail apart for showing; `untrusted` keeps strangers' HTML and files harmless;
`files` serves static files.
"""

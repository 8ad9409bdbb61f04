"""
The process: one service and one HTTP server, from start to end.

`process` starts and stops both and heeds signals; `protocol` speaks HTTP with a client and bounds
what it may cost; `sockets` listens; `descriptors` bounds the number of connections.
"""

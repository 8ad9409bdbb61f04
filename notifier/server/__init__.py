"""
The process: one service and one HTTP server, from start to end.

`process` starts and stops both and handles signals. `protocol` speaks HTTP with a client, with
limits on time, size and number. `sockets` binds the port. `descriptors` computes how many
connections the limit on open files allows. `imports` keeps libraries out of the start.
"""

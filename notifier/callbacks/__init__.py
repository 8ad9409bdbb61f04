"""
Callbacks: tell applications by HTTP what became of their messages. The table
`callback` of an API key says where.

* `callbacks`: all of them; follows the keys' file, the journal and the other replicas
* `receiver`: sends those of one key
* `rows`: the callbacks in the journal, and `receivers` the state of each URL
* `events`: which event of a message is reported
* `requests`: what is sent, its signature, and how it is sent
* `answers`: what an answer means
"""

from notifier.callbacks.answers import Answer
from notifier.callbacks.callbacks import Callbacks, CallbackView
from notifier.callbacks.receivers import CallbackState
from notifier.callbacks.rows import LastAnswer, Outcome

__all__ = ["Answer", "CallbackState", "CallbackView", "Callbacks", "LastAnswer", "Outcome"]

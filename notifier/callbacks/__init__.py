"""
Callbacks: tell the applications that send what came of their messages, by HTTP. The table
`callback` of an API key says where.

* `callbacks`: all of them; follows the keys' file, the journal and the other replicas
* `receiver`: sends those of one key
* `rows`: what is to be told, in the journal, and `receivers` what is known of each URL
* `state`: the state of one callback
* `events`: which event of a message is told
* `bodies`, `signing`, `requests`: what is sent, its signature, and how it is sent
* `answers`: what an answer means
"""

from notifier.callbacks.answers import Answer
from notifier.callbacks.callbacks import Callbacks, CallbackView
from notifier.callbacks.rows import LastAnswer, Outcome
from notifier.callbacks.state import CallbackState

__all__ = ["Answer", "CallbackState", "CallbackView", "Callbacks", "LastAnswer", "Outcome"]

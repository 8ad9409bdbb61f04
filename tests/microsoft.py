"""The parts of Microsoft 365's SMTP that a client has to live with: logins, limits, words."""

import base64
import re
import time

from tests.relay import FEATURES, ScriptedRelay

CONNECTIONS = "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent"
REFUSED = "535 5.7.3 Authentication unsuccessful [X.example 2026-12-01T10:00:00.000Z 08DE]"
TOO_MANY = "432 4.3.2 Message rate limit exceeded [X.example]"


class Microsoft365(ScriptedRelay):
    """
    Takes a login by XOAUTH2 alone, with a token of `endpoint` that is good; three connections at
    a time, and so many messages a minute. A minute is as long as the test says.
    """

    def __init__(self, endpoint, *, messages=30, minute=60.0, connections=3, **options):
        super().__init__(features=(*FEATURES, "AUTH XOAUTH2"), **options)
        self.endpoint = endpoint
        self.messages = messages
        self.minute = minute
        self.connections_at_a_time = connections
        self.refused = 0  # logins
        self.refusal = REFUSED
        self.throttled = 0  # messages and connections
        self._taken = []  # when messages were
        self.users = set()

    def challenges(self, argument):
        way, _, response = argument.partition(" ")
        if way.upper() != "XOAUTH2":
            return []
        return [] if response else [""]

    def answer_to(self, verb, argument, connection):
        usual = super().answer_to(verb, argument, connection)
        if verb == "AUTH":
            return self._log_in(self.heard[-1].rpartition(" ")[2], connection)
        if verb == "MAIL" and usual.startswith("250"):
            return self._room() or usual
        return usual

    def _log_in(self, response, connection):
        if sum(each.open for each in self.connections) > self.connections_at_a_time:
            self.throttled += 1
            return CONNECTIONS
        user, token = re.fullmatch(
            "user=([^\x01]*)\x01auth=Bearer ([^\x01]*)\x01\x01",
            base64.b64decode(response).decode(),
        ).groups()
        if token not in self.endpoint.good:
            self.refused += 1
            return self.refusal
        self.users.add(user)
        return "235 2.7.0 Authentication successful"

    def _room(self):
        now = time.monotonic()
        self._taken = [at for at in self._taken if at > now - self.minute]
        if len(self._taken) >= self.messages:
            self.throttled += 1
            return TOO_MANY
        self._taken.append(now)
        return None

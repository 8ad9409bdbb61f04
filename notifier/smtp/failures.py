"""
The policy for everything that can go wrong with a relay.

    what happened                                      whose trouble   lost?  next
    -------------------------------------------------  --------------  -----  --------------------
    no name, no connection, no TLS, cut off, silent    relay           no     next relay, defer
    greeting, EHLO or AUTH turned down, even by 5xx    relay           no     next relay, defer
    421 before the dot                                 relay           no     next relay, defer
    530, 534, 535, 538: it wants a login               relay           no     next relay, defer
    550 5.4.5: its quota for the day is used up        relay           no     next relay, defer
    any 5.7.60: it does not let us send as this one    relay           no     next relay, defer
    503 before the dot, 2xx or 3xx out of place:
    the two ends are out of step                       relay           no     next relay, defer
    what is no reply at all                            relay           no     next relay, defer
    MAIL or DATA answered 4xx                          message         no     defer
    MAIL or DATA answered 5xx                          message         yes    fail; ask no other
    RCPT answered 4xx, 452 4.5.3 among them            recipient       no     defer that one
    RCPT answered 5xx, 552 among them                  recipient       yes    lose that one
    the dot answered 4xx, 421 and 503 too              message         no     defer
    the dot answered 5xx                               message         yes    fail; ask no other
    the dot not answered, or not by one of those       nobody knows    no     uncertain
    what we cannot put in words for this relay         message         yes    fail

What is not recognised is blamed on the relay, which is the harmless mistake: it defers. At
the dot 421 is the message's: were it the relay's, a message that a relay cannot digest would
hold up all the others, and never be charged. Exceptions stop here: past this module a failure
is a value.
"""

import re
import ssl
from socket import gaierror

from notifier.attempts import Failure, Scope, Stage
from notifier.smtp.replies import CLOSING, KEPT, Reply

NOT_TRUSTED = frozenset({530, 534, 535, 538})  # the relay wants a login, or a better one
OUT_OF_STEP = 503

# One of these is enough to leave a relay alone: nothing but a person, or time, mends it.
HOPELESS = frozenset(
    {
        "auth_failed",
        "auth_not_offered",
        "auth_required",
        "greeting_refused",
        "quota_exceeded",
        "starttls_refused",
        "starttls_required",
        "tls_certificate_expired",
        "tls_certificate_invalid",
        "tls_certificate_not_yet_valid",
        "tls_certificate_untrusted",
        "tls_certificate_wrong_host",
        "tls_failed",
    }
)
# Wrong passwords are counted over there, and the account is locked after a few.
ABOUT_LOGIN = frozenset({"auth_failed", "auth_not_offered", "auth_required"})
# The relay answered, so it works; what is wrong lies between it and this message.
BETWEEN_US = frozenset({"out_of_step", "sender_not_allowed"})
# Nothing is known of the relay: we ourselves have put an end to it.
OURS = "aborted"
# On a connection used before these say that it has served its time, and no more than that.
WORN_OUT = frozenset({"closing", "connection_lost", "stray_reply", "timeout"})

# By OpenSSL's verify code.
_CERTIFICATES = {
    9: "tls_certificate_not_yet_valid",
    10: "tls_certificate_expired",
    18: "tls_certificate_untrusted",
    19: "tls_certificate_untrusted",
    20: "tls_certificate_untrusted",
    21: "tls_certificate_untrusted",
    62: "tls_certificate_wrong_host",
    64: "tls_certificate_wrong_host",
}
_SILENT = {
    Stage.CONNECT: "connect_timeout",
    Stage.TLS: "tls_timeout",
    Stage.GREETING: "greeting_timeout",
}
_TURNED_DOWN = {
    Stage.CONNECT: "unrecognised",
    Stage.TLS: "starttls_refused",
    Stage.GREETING: "greeting_refused",
    Stage.EHLO: "ehlo_refused",
    Stage.AUTH: "auth_failed",
}
# Codes by which relays ask for less: 421 and 450 4.7.x, 432 and 454 by Exchange and Amazon.
_SLOWER = re.compile(r"4(21|32|54)|450[ -]4\.7\.")


class Unfit(Exception):
    """The relay cannot be used as the operator asks for; `name` is the fault's."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class Refused(Exception):
    """The relay has answered a step of the handshake by a no."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.line)
        self.reply = reply


def classify(error: BaseException, stage: Stage) -> Failure:
    """What an exception while a connection is opened means for a message."""
    match error:
        case Unfit(name=name):
            return relay_failure(stage, name, str(error))
        case Refused(reply=reply):
            return refusal(stage, reply)
        case OSError():
            return _of_the_socket(error, stage)
    reason = f"{type(error).__name__}: {_words(str(error))}"
    return relay_failure(stage, "unrecognised", reason)


def _of_the_socket(error: OSError, stage: Stage) -> Failure:
    match error:
        case ssl.SSLCertVerificationError(verify_code=code, verify_message=why):
            name = _CERTIFICATES.get(code, "tls_certificate_invalid")
            return relay_failure(Stage.TLS, name, f"the relay's certificate is not good: {why}")
        case ssl.SSLError():
            return relay_failure(Stage.TLS, "tls_failed", f"TLS failed: {_words(str(error))}")
        case gaierror():
            return relay_failure(stage, "dns_failed", f"no such name: {error.strerror}")
        case TimeoutError():
            name = _SILENT.get(stage, "timeout")
            return relay_failure(stage, name, f"the relay is silent ({stage})")
        case ConnectionRefusedError():
            return relay_failure(stage, "connection_refused", "the relay refuses connections")
        case ConnectionError():
            name = "tls_failed" if stage is Stage.TLS else "connection_lost"
            return relay_failure(stage, name, f"the connection was lost ({stage})")
    return relay_failure(stage, "connect_failed", _words(error.strerror or str(error)))


def refusal(stage: Stage, reply: Reply) -> Failure:
    """What a reply that is not the one hoped for means."""
    code, enhanced = reply.code, reply.enhanced
    scope, name = _blame(stage, code, enhanced)
    return Failure(
        scope=scope,
        permanent=500 <= code < 600 and code != OUT_OF_STEP,
        stage=stage,
        reply=reply.line,
        code=code,
        name=name,
    )


def _blame(stage: Stage, code: int, enhanced: str) -> tuple[Scope, str]:
    if stage in _TURNED_DOWN:
        return Scope.RELAY, _TURNED_DOWN[stage]
    if stage is Stage.DOT:
        return Scope.MESSAGE, ""
    if code == CLOSING:
        return Scope.RELAY, "closing"
    if code in NOT_TRUSTED:
        return Scope.RELAY, "auth_required"
    if code == 550 and enhanced == "5.4.5":
        return Scope.RELAY, "quota_exceeded"
    if enhanced == "5.7.60":
        return Scope.RELAY, "sender_not_allowed"
    if code == OUT_OF_STEP or not 400 <= code < 600:
        return Scope.RELAY, "out_of_step"
    return Scope.RECIPIENT if stage is Stage.RCPT else Scope.MESSAGE, ""


def relay_failure(stage: Stage, name: str, reason: str) -> Failure:
    """The relay's trouble, in our words where it found none."""
    return Failure(scope=Scope.RELAY, permanent=False, stage=stage, reply=reason, name=name)


def unsendable(reason: str, *, stage: Stage = Stage.MAIL, name: str = "") -> Failure:
    """The message cannot be put to this relay at all; the relay was not asked."""
    return Failure(scope=Scope.MESSAGE, permanent=True, stage=stage, reply=reason, name=name)


def asks_for_less(reply: str) -> bool:
    """Whether a relay says that it gets too much at a time."""
    return _SLOWER.match(reply) is not None


def _words(said: str) -> str:
    return " ".join(said.split())[:KEPT]

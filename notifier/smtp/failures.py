"""
The policy for everything that can go wrong with a relay.

    what happened                                      whose trouble   lost?  next
    -------------------------------------------------  --------------  -----  --------------------
    no name, no connection, no TLS, cut off, silent    relay           no     next relay, defer
    greeting, EHLO or AUTH turned down, even by 5xx    relay           no     next relay, defer
    no token to log in with, or it is turned down      relay           no     next relay, defer
    421 before the dot                                 relay           no     next relay, defer
    4.4.2 to MAIL: it has waited too long for us       relay           no     next relay, defer
    4.3.2, 432: it takes no messages now               relay           no     next relay, defer
    4xx that speaks of rate, or of too many messages
    or connections: it wants them more slowly          relay           no     next relay, its pace
    530, 534, 535, 538, 5.7.57: it wants a login       relay           no     next relay, defer
    it does not relay for us (5.7.54, 5.7.64, words)   relay           no     next relay, defer
    it does not let us send as this one (5.7.60,
    5.2.252, words)                                    relay           no     next relay, defer
    our quota, or our own mailbox over there, is used
    up (5.4.5, 5.1.90, words)                          relay           no     next relay, defer
    too large for it (SIZE, 5.3.4), it does not know
    SMTPUTF8 (5.6.7) or 8BITMIME                       relay           if all next relay
    503 before the dot, 2xx or 3xx out of place:
    the two ends are out of step                       relay           no     next relay, defer
    what is not an SMTP reply                          relay           no     next relay, defer
    a mailbox over there is too busy (known words)     message, rcpt.  no     defer
    MAIL or DATA answered 4xx                          message         no     defer
    MAIL or DATA answered 5xx                          message         yes    fail; ask no other
    RCPT answered 4xx                                  recipient       no     defer that one
    RCPT: too many (4.5.3, 552 5.5.3, words)           recipient       no     next transaction
    RCPT answered 5xx, 552 among them                  recipient       yes    lose that one
    the dot answered 4xx, 421 and 503 too              message         no     defer
    the dot answered 5xx                               message         yes    fail; ask no other
    the dot not answered, or not by one of those       nobody knows    no     uncertain
    an address that SMTP cannot express                message         yes    fail

The first line that fits counts, at the dot as well: a refusal there is definite, no copy has
been made, and another relay may be asked. Only 421 is the message's at the dot, unless it
speaks of rate: were it the relay's, a message that a relay cannot digest would hold up all the
others, and never be charged. What providers are known to say is in `known_replies`, row by
row. What is not recognised is blamed on the relay, which is the harmless mistake: it defers.
Exceptions stop here: past this module a failure is a value.
"""

import re
import ssl
from socket import gaierror

from msgspec.structs import replace

from notifier.attempts import SLOWER, TOO_MANY_CONNECTIONS, Failure, Scope, Stage
from notifier.breaker import Setback
from notifier.smtp.known_replies import MAILBOX_BUSY, known_fault
from notifier.smtp.replies import CLOSING, KEPT, Reply
from notifier.tokens import DENIED, UNAVAILABLE, NoToken

NOT_TRUSTED = frozenset({530, 534, 535, 538})  # the relay wants a login, or a better one
OUT_OF_STEP = 503
LONGEST_ASKED = 3600.0  # seconds of rest that a relay may ask for

# At these stages a relay speaks of this message or this recipient, and perhaps of no other.
ABOUT_ONE = frozenset({Stage.RCPT, Stage.DATA, Stage.DOT})
# One of these is enough to let a relay rest: only a person, or time, repairs it.
HOPELESS = frozenset(
    {
        "account_blocked",
        "auth_failed",
        "auth_not_offered",
        "access_denied",
        "auth_required",
        "basic_auth_off",
        "greeting_refused",
        "proxy_auth_failed",
        "mailbox_unknown",
        "quota_exceeded",
        "relaying_denied",
        "starttls_refused",
        "starttls_required",
        "tls_certificate_expired",
        "tls_certificate_invalid",
        "tls_certificate_not_yet_valid",
        "tls_certificate_untrusted",
        "tls_certificate_wrong_host",
        "tls_failed",
        "token_refused",
        DENIED,
        UNAVAILABLE,
    }
)
# The class of the code says nothing of these: HTTP's 401 lasts as long as SMTP's 535.
LASTING = frozenset({"access_denied", "mailbox_unknown", "token_refused"})
# Relays count wrong passwords, and lock the account after a few.
ABOUT_LOGIN = frozenset(
    {"auth_failed", "auth_not_offered", "auth_required", "basic_auth_off", "token_refused"}
)
# Over as soon as there is a token.
ABOUT_TOKEN = frozenset({DENIED, UNAVAILABLE})
# It refuses everything, or only this message. Whether it takes other messages tells which.
NOT_FOR_US = frozenset({"auth_required", "relaying_denied"})
# Only another relay can take it, whatever time goes by.
UNFIT = frozenset(
    {"eight_bit_not_offered", "other_recipients", "smtputf8_not_offered", "too_large"}
)
# The relay answered, so it works; what is wrong lies between it and this message.
BETWEEN_US = UNFIT | SLOWER | {"identity_not_verified", "out_of_step", "sender_not_allowed"}
# The two ends are in step after these: the connection can go on.
IN_STEP = (
    UNFIT
    | NOT_FOR_US
    | SLOWER
    | {"account_blocked", "identity_not_verified", "quota_exceeded", "sender_not_allowed"}
)
# It takes no messages now, and may do so on the next connection: as postscreen after its tests.
NOT_ACCEPTING = "not_accepting"
# The others may be named in the next transaction. RFC 5321, section 4.5.3.1.10.
TOO_MANY = "too_many_recipients"
# This service ended the conversation, so it says nothing about the relay.
OURS = "aborted"
# On a used connection these only mean that the connection is worn out.
WORN_OUT = frozenset({"closing", "connection_lost", "malformed_reply", "stray_reply", "timeout"})

# How Postfix, Exim, Sendmail, Exchange, qmail and others refuse to relay.
_NOT_RELAYED = re.compile(
    r"relay(ing)? (access )?(temporarily )?(denied|prohibited|not (permitted|allowed))"
    r"|(unable|not (permitted|allowed)) to relay|credentials for relay|rcpthosts"
    r"|administrative prohibition",
    re.IGNORECASE,
)
# The same before or at RCPT; Postfix and Exim say there, too, what they think of our address.
_NOT_LET_IN = re.compile(
    r"client host (rejected|\S+ blocked)|helo command rejected"
    r"|(smtp )?auth(entication)? (is )?required|requires authentication",
    re.IGNORECASE,
)
_NOT_AS_THIS_ONE = re.compile(
    r"send ?as ?denied|not owned by user|sender address rejected: not logged in"
    r"|bad outbound sender",
    re.IGNORECASE,
)
_USED_UP = re.compile(
    r"\b(sending|daily|hourly|monthly|submission|outgoing|outbound|relay)\b"
    r".{0,40}\b(quota|limit|allowance)\b|submissionquota|\b(quota|limit)\b.{0,20}\bper (hour|day)",
    re.IGNORECASE,
)
# Exchange while it puts a mail in the *sender's* mailbox, which is full.
_OWN_MAILBOX = re.compile(r"storedrv\.(submission|clientsubmit)", re.IGNORECASE)
_TOO_LARGE = re.compile(r"\bsize\b|\btoo (big|large|long)\b", re.IGNORECASE)
_TOO_MANY = re.compile(r"too many recipients", re.IGNORECASE)

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
# A 4xx here does not concern the operator's settings: another connection may succeed.
_TEMPORARY = {
    Stage.TLS: "starttls_unavailable",  # RFC 3207, section 4: 454
    Stage.AUTH: "auth_unavailable",  # RFC 4954, section 6: 454; and 432, 421
}
# Codes by which relays ask for less: 421 and 450 4.7.x, 432 and 454 by Exchange and Amazon.
_FEWER = re.compile(r"4(21|32|54)|450[ -]4\.7\.")


class Unfit(Exception):
    """The relay cannot be used as the operator asks; `name` is the fault's."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class Refused(Exception):
    """The relay has refused a step of the handshake."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.line)
        self.reply = reply


class TokenRefused(Refused):
    """A relay has refused a token, and also the newer one that was fetched then."""


def classify(error: BaseException, stage: Stage) -> Failure:
    """The failure for an exception that was raised while a connection was opened."""
    match error:
        case Unfit(name=name) | NoToken(name=name):
            return relay_failure(stage, name, str(error))
        case TokenRefused(reply=reply):
            return replace(refusal(stage, reply), name="token_refused")
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
            return relay_failure(Stage.TLS, name, f"the relay's certificate is not valid: {why}")
        case ssl.SSLError():
            return relay_failure(Stage.TLS, "tls_failed", f"TLS failed: {_words(str(error))}")
        case gaierror():
            return relay_failure(stage, "dns_failed", f"the name was not found: {error.strerror}")
        case TimeoutError():
            name = _SILENT.get(stage, "timeout")
            return relay_failure(stage, name, f"the relay did not answer in time ({stage})")
        case ConnectionRefusedError():
            return relay_failure(stage, "connection_refused", "the relay refuses connections")
        case ConnectionError():
            name = "tls_failed" if stage is Stage.TLS else "connection_lost"
            return relay_failure(stage, name, f"the connection was lost ({stage})")
    return relay_failure(stage, "connect_failed", _words(error.strerror or str(error)))


def refusal(stage: Stage, reply: Reply) -> Failure:
    """The failure for a reply that refuses something."""
    scope, name = _blame(stage, reply)
    permanent = 500 <= reply.code < 600 and reply.code != OUT_OF_STEP and name != TOO_MANY
    return Failure(
        scope=scope,
        permanent=permanent and (scope is not Scope.RELAY or name in UNFIT),
        stage=stage,
        reply=reply.line,
        code=reply.code,
        name=name,
    )


def _blame(stage: Stage, reply: Reply) -> tuple[Scope, str]:
    """The table, in its order."""
    code = reply.code
    known = known_fault(stage, reply)
    if known in SLOWER:
        return Scope.RELAY, known
    if known == MAILBOX_BUSY:
        return Scope.RECIPIENT if stage is Stage.RCPT else Scope.MESSAGE, known
    if stage in _TURNED_DOWN:
        if known in ABOUT_LOGIN:
            return Scope.RELAY, known
        temporary = _TEMPORARY.get(stage) if 400 <= code < 500 else None
        return Scope.RELAY, temporary or _TURNED_DOWN[stage]
    if code == CLOSING:
        return (Scope.MESSAGE, "") if stage is Stage.DOT else (Scope.RELAY, "closing")
    if name := known or _of_the_relay(stage, reply):
        return Scope.RELAY, name
    if stage is Stage.DOT:
        return Scope.MESSAGE, ""
    if code == OUT_OF_STEP or not 400 <= code < 600:
        return Scope.RELAY, "out_of_step"
    if stage is not Stage.RCPT:
        return Scope.MESSAGE, ""
    too_many = reply.enhanced in ("4.5.3", "5.5.3") or _TOO_MANY.search(reply.line)
    return Scope.RECIPIENT, TOO_MANY if too_many else ""


def _of_the_relay(stage: Stage, reply: Reply) -> str:
    """The fault where a relay refuses us, or fails itself; empty: it refuses this message."""
    code, said = reply.code, reply.line
    if not 400 <= code < 600 or code == OUT_OF_STEP:
        return ""
    if code in NOT_TRUSTED:
        return "auth_required"
    if code == 432 or reply.enhanced == "4.3.2":
        return NOT_ACCEPTING
    if _NOT_RELAYED.search(said):
        return "relaying_denied"
    return _by_words(stage, reply) if code >= 500 else ""


def _by_words(stage: Stage, reply: Reply) -> str:
    """The fault that the text of a 5xx names, if its code does not."""
    code, said = reply.code, reply.line
    if _NOT_AS_THIS_ONE.search(said):
        return "sender_not_allowed"
    if _OWN_MAILBOX.search(said):
        full = reply.enhanced == "5.2.2" or "quota" in said.lower()
        return "quota_exceeded" if full else "sender_not_allowed"
    of_a_mailbox = stage is Stage.RCPT and reply.enhanced[:3] in ("5.1", "5.2")
    if _USED_UP.search(said) and not of_a_mailbox:
        return "quota_exceeded"
    if stage is not Stage.DOT and _NOT_LET_IN.search(said):
        return "relaying_denied"
    if code == 552 and not reply.enhanced and stage is not Stage.RCPT:
        # RFC 1870, section 6.1
        return "too_large" if stage is Stage.MAIL or _TOO_LARGE.search(said) else ""
    return ""


def setback(failure: Failure, *, takes: bool) -> Setback | None:
    """
    What a relay's failure says about the relay itself. None: the relay works. `takes`: the relay is
    known to accept messages, so what it does not relay is no reason to let it rest.
    """
    name = failure.name
    if (name in BETWEEN_US and not failure.wait) or (takes and name in NOT_FOR_US):
        return None
    of_one = failure.stage in ABOUT_ONE
    temporary = failure.code is not None and failure.code < 500 and name not in LASTING
    in_doubt = of_one and name in NOT_FOR_US
    return Setback(
        # 4xx from a relay that takes messages: it was one connection too many.
        at_once=(name in HOPELESS and not of_one and not (takes and temporary)) or failure.wait > 0,
        in_doubt=in_doubt,
        of_login=name in ABOUT_LOGIN and not in_doubt,
        at_least=min(failure.wait, LONGEST_ASKED),
    )


def relay_failure(stage: Stage, name: str, reason: str) -> Failure:
    """A failure of the relay; `reply` is ours if the relay said nothing."""
    return Failure(scope=Scope.RELAY, permanent=False, stage=stage, reply=reason, name=name)


def unsendable(reason: str, *, name: str) -> Failure:
    """A message that SMTP cannot express; the relay was not asked."""
    return Failure(scope=Scope.MESSAGE, permanent=True, stage=Stage.MAIL, reply=reason, name=name)


def unfit(reason: str, *, name: str) -> Failure:
    """A message that this relay can never take, as its EHLO has shown; the relay was not asked."""
    return Failure(scope=Scope.RELAY, permanent=True, stage=Stage.MAIL, reply=reason, name=name)


def asks_for_less(failure: Failure) -> bool:
    """Whether a relay says that it gets too much at a time."""
    if failure.code is None or failure.name in NOT_FOR_US:
        return False
    if failure.name in SLOWER:
        return failure.name == TOO_MANY_CONNECTIONS
    return _FEWER.match(failure.reply) is not None


def slows(failure: Failure) -> bool:
    """Whether a relay is to be asked more slowly after it."""
    return failure.name in SLOWER


def _words(said: str) -> str:
    return " ".join(said.split())[:KEPT]

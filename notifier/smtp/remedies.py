"""What an operator can do about each fault of a relay, by the fault's name, in words."""

from notifier.relayspec import RelaySpec

LOGIN_IN_CLEAR = (
    "user and password go over the network in clear; smtp+starttls:// or smtps:// protects them"
)
REMEDIES = {
    "dns_failed": (
        "Is the name in NOTIFIER_RELAYS right? `getent hosts NAME` asks the same resolver."
    ),
    "connection_refused": (
        "Nothing listens on port {port} there. Relays listen on 587 (smtp+starttls://), "
        "465 (smtps://) or 25 (smtp://)."
    ),
    "connect_timeout": (
        "Does the name server answer? Else something between here and there drops the connection. "
        "Many networks block port 25: try 587, or ask whoever runs the firewall about port {port}."
    ),
    "connect_failed": "Is there a way from here to {host}? Ask whoever runs the network.",
    "greeting_timeout": (
        "If the port expects TLS from the first octet (465 does), write smtps:// instead."
    ),
    "greeting_refused": (
        "The relay does not want us now; its words say why. Is this address allowed in?"
    ),
    "timeout": "The relay is there and does not answer in time. Its own log may say why.",
    "connection_lost": (
        "The relay hung up. Its own log says why; some do so to addresses they do not know."
    ),
    "closing": "The relay ends the connection; its words say why.",
    "ehlo_refused": (
        "The relay does not speak ESMTP with us. Does the port belong to a mail server? If it "
        "does not like our name, set NOTIFIER_EHLO_NAME to a name that it can look up."
    ),
    "malformed_reply": "This is not SMTP. Does the port belong to a mail server?",
    "stray_reply": "Something answers that was not asked. Is there a proxy in between?",
    "tls_failed": (
        "If the port does not speak TLS from the first octet (587 does not), write "
        "smtp+starttls:// instead of smtps://. Else the two sides have no TLS in common."
    ),
    "tls_timeout": (
        "If the port does not speak TLS from the first octet (587 does not), write "
        "smtp+starttls:// instead of smtps://."
    ),
    "starttls_required": (
        "Without it nothing is sent: it would go in clear. Use smtps:// on port 465, or smtp:// "
        "if the network between is yours."
    ),
    "starttls_unavailable": "The relay cannot do STARTTLS just now; its own log says why.",
    "starttls_refused": "The relay offers STARTTLS and cannot do it now; its own log says why.",
    "tls_certificate_expired": (
        "Whoever runs the relay must renew it. Is the clock of this machine right?"
    ),
    "tls_certificate_not_yet_valid": "Is the clock of this machine right?",
    "tls_certificate_untrusted": (
        "Its authority is not known here, or it is signed by itself. If that is meant, name the "
        "authority, or the certificate, with ca=PATH."
    ),
    "tls_certificate_wrong_host": (
        "It is for another name than {host}. Write the name that the certificate has."
    ),
    "tls_certificate_invalid": (
        "Ask whoever runs the relay for a good one, or name its authority with ca=PATH."
    ),
    "auth_not_offered": (
        "Many relays offer a login only under TLS: write smtp+starttls:// or smtps://."
    ),
    "auth_failed": (
        "Are user and password right, and is the account allowed to send by SMTP? In a URL, "
        "characters like @ : / % must be percent-encoded. Some providers want a password for apps."
    ),
    "auth_unavailable": "The relay cannot check logins just now; its own log says why.",
    "auth_required": (
        "The relay wants a login: write user:password@ into the URL, with smtp+starttls:// or "
        "smtps:// so that nobody can read it."
    ),
    "relaying_denied": (
        "The relay does not pass on mail for us. Does it want a login? Write user:password@ into "
        "the URL; else whoever runs it must allow it to this account, or to this address of ours."
    ),
    "sender_not_allowed": (
        "May this account send as {sender}? Set NOTIFIER_DEFAULT_FROM to an address that it "
        "may use."
    ),
    "quota_exceeded": "What the relay takes from us in a while is used up. Wait, or ask for more.",
    "not_accepting": "The relay takes no mail just now. Try again in a minute.",
    "out_of_step": "This is not SMTP as it should be. Is there a proxy in between?",
    "too_large": "The relay takes no mail of any size from us; its words say why.",
    "smtputf8_not_offered": "Set NOTIFIER_DEFAULT_FROM to an address in ASCII.",
}


def remedy(fault: str, spec: RelaySpec, *, sender: str = "") -> str:
    """Empty where we know none; `sender` is who we say that we are."""
    return REMEDIES.get(fault, "").format(host=spec.host, port=spec.port, sender=sender)

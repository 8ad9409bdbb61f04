"""What an operator can do about each fault of a relay, by the fault's name."""

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
        "Does the name server answer? If so, a firewall on the way may drop the "
        "connection. Many networks block port 25: try 587, or have the firewall "
        "opened for port {port}."
    ),
    "connect_failed": "Is there a route from here to {host}? Ask the administrator of the network.",
    "proxy_unreachable": (
        "Is the proxy of proxy= running, and are its host and port right? The relay itself was not "
        "asked."
    ),
    "proxy_refused": (
        "The proxy does not connect us to {host}, port {port}; its reply says why. Do"
        " its rules allow that host and port? Many allow CONNECT to port 443 alone."
    ),
    "proxy_auth_failed": (
        "The proxy wants a login: write proxy=http://user:password@host:port, with special "
        "characters percent-encoded."
    ),
    "greeting_timeout": (
        "If the port expects TLS from the first octet (465 does), write smtps:// instead."
    ),
    "greeting_refused": (
        "The relay refuses this connection; its reply says why. Does it allow our address?"
    ),
    "timeout": "The relay is there and does not answer in time. Its own log may say why.",
    "connection_lost": (
        "The relay closed the connection. Its log says why; some do so to unknown addresses."
    ),
    "closing": "The relay closes the connection; its reply says why.",
    "ehlo_refused": (
        "The relay refuses EHLO. Does the port belong to a mail server? If it "
        "does not like our name, set NOTIFIER_EHLO_NAME to a name that it can look up."
    ),
    "malformed_reply": "This is not SMTP. Does the port belong to a mail server?",
    "stray_reply": "The relay sent a reply to no command of ours. Is there a proxy in between?",
    "tls_failed": (
        "If the port does not speak TLS from the first octet (587 does not), write "
        "smtp+starttls:// instead of smtps://. Otherwise the relay and this machine "
        "support no common version of TLS."
    ),
    "tls_timeout": (
        "If the port does not speak TLS from the first octet (587 does not), write "
        "smtp+starttls:// instead of smtps://."
    ),
    "starttls_required": (
        "With smtp+starttls:// nothing is sent in clear. Use smtps:// on port 465, or"
        " smtp:// if you trust the network in between."
    ),
    "starttls_unavailable": "The relay cannot do STARTTLS just now; its own log says why.",
    "starttls_refused": "The relay offers STARTTLS but cannot do it now; its own log says why.",
    "tls_certificate_expired": (
        "The relay's administrator must renew it. Is the clock of this machine right?"
    ),
    "tls_certificate_not_yet_valid": "Is the clock of this machine right?",
    "tls_certificate_untrusted": (
        "Its authority is not known here, or it is self-signed. If that is intended, "
        "name the authority or the certificate with ca=PATH."
    ),
    "tls_certificate_wrong_host": (
        "The certificate is not for {host}. Write a name that is in the certificate."
    ),
    "tls_certificate_invalid": (
        "Ask the relay's administrator for a valid certificate, or name its authority with ca=PATH."
    ),
    "auth_not_offered": (
        "Many relays offer a login only under TLS: write smtp+starttls:// or smtps://."
    ),
    "auth_failed": (
        "Are user and password right, and is the account allowed to send by SMTP? In a URL, "
        "characters like @ : / % must be percent-encoded. Some providers require an app password."
    ),
    "token_unavailable": (
        "The token endpoint issues no token now, so nothing is sent by this relay. "
        "Can this machine reach the endpoint?"
    ),
    "token_denied": (
        "The token endpoint refuses to issue a token; its reply says why. Has the "
        "secret or the certificate expired, is client_id right, and has an "
        "administrator consented to what the application may do?"
    ),
    "token_refused": (
        "The relay refuses a token that has just been issued. With Microsoft 365 `535 5.7.139` "
        "usually means that SMTP AUTH is off for the mailbox (which is its default), that the "
        "application lacks SMTP.SendAsApp or an administrator's consent, that its service "
        "principal has no permission on the mailbox, or that security defaults are on. `535 5.7.3` "
        "usually means that the user of the URL is not that mailbox. The guide's page on OAuth 2 "
        "says how each is set."
    ),
    "access_denied": (
        "Has the application the permission Mail.Send, with an administrator's consent, and do its "
        "access policies let it use this mailbox?"
    ),
    "server_error": "The relay has failed by itself. Try again in a minute.",
    "other_recipients": "Only a relay that speaks SMTP can send it.",
    "mailbox_unknown": "Is mailbox= the address of a mailbox in this tenant?",
    "auth_unavailable": "The relay cannot check logins just now; its own log says why.",
    "auth_required": (
        "The relay requires a login: write user:password@ into the URL, with smtp+starttls:// or "
        "smtps:// so that nobody can read it."
    ),
    "relaying_denied": (
        "The relay does not relay for us. Does it require a login? Write user:password@ into "
        "the URL; else its administrator must allow it for this account, or for our address."
    ),
    "sender_not_allowed": (
        "May this account send as {sender}? Set NOTIFIER_DEFAULT_FROM to an address that it "
        "may use."
    ),
    "throttled": (
        "The relay accepts fewer messages in a time. The service sends at the pace "
        "that the relay accepts; rate= in the URL, as rate=30/min, keeps below it "
        "from the start."
    ),
    "too_many_connections": (
        "The relay accepts fewer connections at a time, from all who use this account"
        " or address together. The service opens fewer now; connections= in the URL "
        "keeps below the limit from the start."
    ),
    "account_blocked": (
        "The provider has blocked the account for a time, because too many of its "
        "mails failed for the same reason; its reply says which. Remove that reason; "
        "the block then ends by itself."
    ),
    "basic_auth_off": (
        "Logins by password are off, which is Microsoft's default. Log in by OAuth 2 "
        "(oauth= in the URL), or have SMTP AUTH allowed for this mailbox as long as "
        "that is possible."
    ),
    "identity_not_verified": (
        "Amazon SES sends only from addresses and domains that were verified in this "
        "region; while the account is in its sandbox, it also sends only to those. "
        "Verify the one that its reply names."
    ),
    "mailbox_busy": (
        "The mailbox of one recipient gets too many messages at a time. The service tries"
        " again later."
    ),
    "quota_exceeded": "Our quota at the relay is used up. Wait, or ask for a larger one.",
    "not_accepting": "The relay accepts no mail for now. Try again in a minute.",
    "out_of_step": "The replies do not match our commands. Is there a proxy in between?",
    "too_large": "The relay accepts no mail of any size from us; its reply says why.",
    "eight_bit_not_offered": (
        "The mail came in as a whole and holds octets beyond ASCII. Have its sender encode it "
        "(quoted-printable or base64), or add a relay that offers 8BITMIME."
    ),
    "smtputf8_not_offered": "Set NOTIFIER_DEFAULT_FROM to an address in ASCII.",
}

# What the relay does, for people who only want to know why a message waits.
MEANINGS = {
    "account_blocked": "has blocked our account for a time",
    "basic_auth_off": "takes no login by password any more",
    "identity_not_verified": "has not verified the sender's address",
    "mailbox_busy": "says that a recipient gets too many messages at a time",
    "quota_exceeded": "says that our quota is used up",
    "relaying_denied": "does not relay for us",
    "sender_not_allowed": "does not let our account send as this sender",
}


def remedy(fault: str, spec: RelaySpec, *, sender: str = "") -> str:
    """The remedy for a fault; empty: none is known. `sender`: the address in MAIL FROM."""
    return REMEDIES.get(fault, "").format(host=spec.host, port=spec.port, sender=sender)

"""What an operator can do about each trouble with a relay, in words."""

REMEDIES = {
    "dns": "Is the name in NOTIFIER_RELAYS right? `getent hosts NAME` asks the same resolver.",
    "dns_silent": "Is the network up? See /etc/resolv.conf for the name servers in use.",
    "tcp_refused": (
        "Nothing listens on port {port} there. Relays listen on 587 (smtp+starttls://), "
        "465 (smtps://) or 25 (smtp://)."
    ),
    "tcp_silent": (
        "Something between here and there drops the connection. Many networks block port 25: "
        "try 587, or ask whoever runs the firewall about port {port}."
    ),
    "greeting_silent": (
        "If the port expects TLS from the first octet (465 does), write smtps:// instead."
    ),
    "greeting": "The relay does not want us now; its words say why. Is this address allowed in?",
    "cut_off": "The relay hung up. Its own log says why; some do so to addresses they do not know.",
    "ehlo": "The relay does not speak ESMTP with us. Does the port belong to a mail server?",
    "tls_plain": "The port does not speak TLS at once: write smtp+starttls:// instead of smtps://.",
    "tls": "The two sides found no TLS in common. The relay may be too old for this one.",
    "starttls": (
        "Without it nothing is sent: it would go in clear. Use smtps:// on port 465, or smtp:// "
        "if the network between is yours."
    ),
    "certificate": "Ask whoever runs the relay for a good one, or name its authority with ca=PATH.",
    "no_auth": "Many relays offer a login only under TLS: write smtp+starttls:// or smtps://.",
    "auth": (
        "Are user and password right, and is the account allowed to send by SMTP? In a URL, "
        "characters like @ : / % must be percent-encoded. Some providers want a password for apps."
    ),
    "sender": (
        "May this account send as {sender}? Set NOTIFIER_DEFAULT_FROM to an address that it may "
        "use. `530` means that a login is needed: write user:password@ into the URL."
    ),
}

# By OpenSSL's verify code.
CERTIFICATES = {
    9: "It is not valid yet. Is the clock of this machine right?",
    10: "It has expired. Whoever runs the relay must renew it. Is the clock of this machine right?",
    18: "It is signed by itself. If that is meant, name it with ca=PATH.",
    19: "Its authority is not known here. If it is your own, name it with ca=PATH.",
    20: "Its authority is not known here. If it is your own, name it with ca=PATH.",
    62: "It is for another name than {host}. Write the name that the certificate has.",
    64: "It is for another address than {host}. Write the name that the certificate has.",
}

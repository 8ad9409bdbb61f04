"""OpenSMTPD, with a filter in the protocol of smtpd-filters(7)."""

from tests.interop.server import PASSWORD, SIZE, USER, MailServer

CONFIGURATION = """
smtp max-message-size {size}
{limits}
pki ours cert "/etc/tls/cert.pem"
pki ours key "/etc/tls/key.pem"
table users file:/etc/mail/users
filter recipients proc-exec "/etc/mail/recipients"
listen on 127.0.0.1 port {plain} hostname opensmtpd.example.net filter recipients
listen on 127.0.0.1 port {submission} tls-require {login}
listen on 127.0.0.1 port {smtps} smtps {login}
action onwards relay host smtp://127.0.0.1:{sink}
match auth from any for any action onwards
match from any for any action onwards
"""
LOGIN = "hostname opensmtpd.example.net pki ours auth <users> filter recipients"
RECIPIENTS = """#!/bin/sh
while read -r line && [ "$line" != "config|ready" ]; do :; done
echo "register|filter|smtp-in|rcpt-to"
echo "register|ready"
while read -r line; do
    fields=${line#*|*|*|*|*|}
    session=${fields%%|*}
    fields=${fields#*|}
    token=${fields%%|*}
    recipient=${fields#*|}
    recipient=${recipient#<}
    recipient=${recipient%>}
    answer=proceed
    case $recipient in
        refused*) answer="reject|550 5.1.1 there is nobody of this name" ;;
        grey*)
            if ! [ -e "/var/grey/$recipient" ]; then
                : >"/var/grey/$recipient"
                answer="reject|451 4.2.0 greylisted, see you later"
            fi ;;
    esac
    echo "filter-result|$session|$token|$answer"
done
"""


class OpenSmtpd(MailServer):
    """Its processes stay in the foreground, and have users of their own."""

    name = "opensmtpd"
    command = ("smtpd", "-d", "-v", "-f", "/etc/mail/smtpd.conf")
    main = "smtpd"
    smtputf8 = False
    keeps_envid = keeps_orcpt = False

    def configure(self):
        limits = self.limits
        lines = []
        if limits.messages:
            lines.append(f"smtp limit max-mails {limits.messages}")
        self.etc(
            "mail/smtpd.conf",
            CONFIGURATION.format(
                size=SIZE,
                limits="\n".join(lines),
                login=LOGIN,
                plain=self.plain,
                submission=self.submission,
                smtps=self.smtps,
                sink=self.sink.port,
            ),
        ).chmod(0o600)
        self.etc("mail/recipients", RECIPIENTS).chmod(0o755)
        hashed = self.run("/usr/libexec/opensmtpd/encrypt", PASSWORD).strip()
        self.etc("mail/users", f"{USER} {hashed}\n")
        self.var("spool/smtpd").chmod(0o711)
        self.var("lib/opensmtpd/empty")
        self.var("run")
        self.etc("ssl/certs/ca-certificates.crt", self.ca.read_text())

"""Haraka, the mail server in JavaScript."""

import json
import re

from tests.interop import packages
from tests.interop.server import PASSWORD, SIZE, USER, MailServer

PLUGIN = """
const fs = require('node:fs')
exports.hook_rcpt = (next, connection, params) => {
  const { user, host } = params[0]
  if (user.startsWith('refused')) return next(DENY, '5.1.1 there is nobody of this name')
  if (connection.local.port !== LIMITS.plain && !connection.relaying) {
    return next(DENY, '5.7.1 relaying denied')
  }
  const seen = `/var/grey/${user}@${host}`
  if (user.startsWith('grey') && !fs.existsSync(seen)) {
    fs.writeFileSync(seen, '')
    return next(DENYSOFT, '4.2.0 greylisted, see you later')
  }
  next(OK)
}
let connections = 0
exports.hook_connect = (next) => {
  connections += 1
  if (LIMITS.connections && connections > LIMITS.connections) {
    return next(DENYSOFTDISCONNECT, '4.7.0 too many connections from you')
  }
  next()
}
exports.hook_disconnect = (next) => {
  connections -= 1
  next()
}
exports.hook_mail = (next, connection) => {
  connection.notes.mails = (connection.notes.mails || 0) + 1
  if (LIMITS.messages && connection.notes.mails > LIMITS.messages) {
    return next(DENYSOFTDISCONNECT, '4.7.0 too many messages on this connection')
  }
  next()
}
"""
# ffdhe2048 of RFC 7919, so that it does not look for one of its own.
DH_PARAMETERS = """\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""
FILES = {
    "plugins": "tls\nauth/flat_file\nrecipients\nqueue/smtp_forward\n",
    "me": "haraka.example.net",
    "dhparams.pem": DH_PARAMETERS,
    "tls.ini": "key=/etc/tls/key.pem\ncert=/etc/tls/cert.pem\ndhparam=dhparams.pem\n",
    "log.ini": "[main]\nlevel=info\n",
    "outbound.ini": "disabled=true\n",
}


class Haraka(MailServer):
    """Sends on while it is told the end of a mail: it queues nothing."""

    name = "haraka"
    command = ("node", "/opt/haraka/node_modules/Haraka/bin/haraka", "-c", "/etc/haraka")
    main = "node"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5")
    dsn = False
    commands_behind_content = False  # so that no content can pass for commands

    def configure(self):
        limits = self.limits
        told = {"plain": self.plain, "connections": limits.connections, "messages": limits.messages}
        self.etc("haraka/plugins/recipients.js", f"const LIMITS = {json.dumps(told)}\n{PLUGIN}")
        self.offer(*self.mechanisms)
        for name, text in FILES.items():
            self.etc(f"haraka/config/{name}", text)
        # One of this name stands in for its own, which it needs as a whole.
        usual = (
            packages.root() / "opt/haraka/node_modules/Haraka/config/connection.ini"
        ).read_text()
        self.etc("haraka/config/connection.ini", re.sub(r"(?m)^bytes=.*", f"bytes={SIZE}", usual))
        listen = ",".join(f"127.0.0.1:{port}" for port in (self.plain, self.submission, self.smtps))
        idle = limits.idle or 300
        self.etc(
            "haraka/config/smtp.ini",
            f"listen={listen}\nsmtps_port={self.smtps}\ninactivity_timeout={idle}\nnodes=0\n",
        )
        self.etc(
            "haraka/config/smtp_forward.ini",
            f"host=127.0.0.1\nport={self.sink.port}\nenable_outbound=true\n",
        )

    def offer(self, *mechanisms):
        """Let it offer these mechanisms alone, from its next start on."""
        self.etc(
            "haraka/config/auth_flat_file.ini",
            f"[core]\nmethods={','.join(mechanisms)}\nconstrain_sender=false\n"
            f"[users]\n{USER}={PASSWORD}\n",
        )

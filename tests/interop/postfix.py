"""Postfix, with the passwords of Cyrus SASL."""

from tests.interop.server import PASSWORD, SIZE, USER, MailServer

MAIN = """
compatibility_level = 3.6
maillog_file = /var/log/postfix.log
maillog_file_prefixes = /var
myhostname = postfix.example.net
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
relayhost = [127.0.0.1]:{sink}
message_size_limit = {size}
# Commands that come too early are an error, as they are to a careful administrator.
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_forbid_bare_newline = yes
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_restriction_classes = greylisting
greylisting = check_policy_service unix:private/greylist
smtpd_recipient_restrictions = check_recipient_access regexp:/etc/postfix/recipients
smtpd_tls_cert_file = /etc/tls/cert.pem
smtpd_tls_key_file = /etc/tls/key.pem
smtpd_tls_auth_only = yes
cyrus_sasl_config_path = /etc/postfix/sasl
smtpd_sasl_security_options = noanonymous
# What is limited by client address counts for loopback, too.
smtpd_client_event_limit_exceptions =
smtpd_client_connection_count_limit = {connections}
smtpd_client_message_rate_limit = {rate}
anvil_rate_time_unit = 10s
smtpd_timeout = {idle}s
smtputf8_enable = yes
"""
# service, type, private, unprivileged, chroot, wake-up, processes, command
SERVICES = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
MASTER = """
127.0.0.1:{plain} inet n - n - - smtpd
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{smtps} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
greylist unix - n n - 0 spawn user=nobody argv=/bin/sh /etc/postfix/greylist
"""
QUEUES = (
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop",
    "private", "public", "saved", "trace",
)  # fmt: skip
RECIPIENTS = """
/^refused/ 550 5.1.1 there is nobody of this name
/^grey/ greylisting
"""
# Postfix's policy protocol: lines of name=value, an empty one, and an answer of the same form.
GREYLIST = """
while :; do
    recipient=
    while read -r line && [ -n "$line" ]; do
        case $line in recipient=*) recipient=${line#*=} ;; esac
    done
    [ -n "$recipient" ] || exit 0
    if [ -e "/var/grey/$recipient" ]; then
        printf 'action=dunno\\n\\n'
    else
        : >"/var/grey/$recipient"
        printf 'action=450 4.2.0 Greylisted, see you later\\n\\n'
    fi
done
"""


class Postfix(MailServer):
    """Its `master` runs in the foreground, and starts the rest."""

    name = "postfix"
    command = ("/usr/lib/postfix/sbin/master", "-s")  # its start-up script takes seconds
    main = "master"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5")

    def configure(self):
        limits = self.limits
        settings = MAIN.format(
            sink=self.sink.port,
            size=SIZE,
            connections=limits.connections or 0,
            rate=limits.rate or 0,
            idle=limits.idle or 300,
        )
        self.etc("postfix/main.cf", settings)
        ports = {"plain": self.plain, "submission": self.submission, "smtps": self.smtps}
        self.etc("postfix/master.cf", MASTER.format(**ports) + SERVICES)
        self.etc("postfix/recipients", RECIPIENTS)
        self.etc("postfix/greylist", GREYLIST)
        self.offer(*self.mechanisms)
        for each in QUEUES:
            self.var(f"spool/postfix/{each}", "postfix").chmod(0o700)
        self.var("spool/postfix/pid")
        self.var("lib/postfix", "postfix")
        domain = ("-c", "-p", "-u", "postfix.example.net", USER)
        self.run("saslpasswd2", *domain, "-f", "/etc/sasldb2", text=PASSWORD)
        (self.here / "etc/sasldb2").chmod(0o644)

    def offer(self, *mechanisms):
        """Let it offer these mechanisms alone, from its next start on."""
        self.etc(
            "postfix/sasl/smtpd.conf",
            "pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
            f"sasldb_path: /etc/sasldb2\nmech_list: {' '.join(mechanisms)}\n",
        )

"""Exim, in one process for each connection."""

import shutil

from tests.interop.server import PASSWORD, SIZE, USER, USERS, MailServer

CONFIGURATION = """
primary_hostname = exim.example.net
log_file_path = /var/log/exim-%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = {plain} : {submission} : {smtps}
tls_on_connect_ports = {smtps}
tls_advertise_hosts = ${{if eq{{$received_port}}{{{submission}}}{{*}}}}
tls_certificate = /etc/tls/cert.pem
tls_privatekey = /etc/tls/key.pem
auth_advertise_hosts = ${{if def:tls_in_cipher{{*}}}}
host_lookup =
rfc1413_query_timeout = 0s
message_size_limit = {size}
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
smtp_receive_timeout = {idle}s
smtp_accept_max = {connections}
smtp_accept_max_per_connection = {messages}
smtp_accept_queue_per_connection = 0
accept_8bitmime = true
acl_smtp_mail = check_mail
acl_smtp_rcpt = check_recipient
acl_smtp_data = accept
keep_environment =
never_users =
queue_run_max = 0

begin acl
check_mail:
{rate}
  accept
check_recipient:
  deny condition = ${{if !eq{{$received_port}}{{{plain}}}}}
       !authenticated = *
       message = relay not permitted
  deny local_parts = ^refused
       message = there is nobody of this name
  accept local_parts = ^grey
         ratelimit = 1.5 / 1h / per_cmd / strict / $local_part@$domain
  defer local_parts = ^grey
        message = greylisted, see you later
  accept

begin routers
onwards:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = onwards

begin transports
onwards:
  driver = smtp
  port = {sink}
  allow_localhost
  hosts_avoid_tls = *

begin retry
* * F,1h,1s

begin authenticators
{authenticators}
"""
AUTHENTICATORS = {
    "PLAIN": """
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
""",
    "LOGIN": """
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = ${{if and{{{{eq{{$auth1}}{{{user}}}}}{{eq{{$auth2}}{{{password}}}}}}}}}
  server_set_id = $auth1
""",
    "CRAM-MD5": """
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{user}}}{{{password}}}fail}}
  server_set_id = $auth1
""",
}
RATE = """
  defer ratelimit = {rate} / 10s / per_mail / strict
        message = 4.7.1 you send too fast: $sender_rate in $sender_rate_period
"""


class Exim(MailServer):
    """Its daemon runs in the foreground, and forks for each connection."""

    name = "exim"
    command = ("exim4", "-bdf")
    main = "exim4"
    mechanisms = ("PLAIN", "LOGIN", "CRAM-MD5")

    def configure(self):
        shutil.chown(self.here / "etc/tls/key.pem", USERS["Debian-exim"])
        self.var("spool/exim4", "Debian-exim")
        self.var("log", "Debian-exim")
        self.offer(*self.mechanisms)

    def offer(self, *mechanisms):
        """Let it offer these mechanisms alone, from its next start on."""
        limits = self.limits
        each = [AUTHENTICATORS[name].format(user=USER, password=PASSWORD) for name in mechanisms]
        self.etc(
            "exim4/exim4.conf",
            CONFIGURATION.format(
                plain=self.plain,
                submission=self.submission,
                smtps=self.smtps,
                sink=self.sink.port,
                size=SIZE,
                idle=limits.idle or 300,
                connections=limits.connections or 0,
                messages=limits.messages or 1000,
                rate=RATE.format(rate=limits.rate) if limits.rate else "",
                authenticators="".join(each),
            ),
        )

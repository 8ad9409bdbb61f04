"""Postfix as a durable queue, with a configuration and a queue of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import psutil

from tests.benchmarks.peers import Peer, listens
from tests.benchmarks.processes import until
from tests.interop.postfix import SERVICES

PACKAGE = "postfix (Debian)"
SBIN = ("/usr/sbin", "/usr/lib/postfix/sbin", "/usr/libexec/postfix")
SETTINGS = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
myhostname = queue.example.org
mydestination =
local_recipient_maps =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
disable_dns_lookups = yes
relayhost = [127.0.0.1]:{relay}
# Mail may come in faster than it leaves, without being slowed down.
in_flow_delay = 0
"""
LISTENER = "127.0.0.1:{port} inet n - n - - smtpd\n"


class Postfix(Peer):
    """Handed in by SMTP over kept connections; every mail is fsynced to its queue before `250`."""

    name = "Postfix as a queue, by SMTP"
    share = 0.3
    smtp = True

    @classmethod
    def missing(cls):
        if program("postfix") is None:
            return PACKAGE
        return "" if os.geteuid() == 0 else f"{PACKAGE} starts as root only"

    def start(self):
        self.folder.chmod(0o711)  # its daemons run as users of their own
        for name in ("config", "queue", "data"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        relay = self.relay.rpartition(":")[2]
        config = self.folder / "config"
        (config / "main.cf").write_text(SETTINGS.format(folder=self.folder, relay=relay))
        (config / "master.cf").write_text(LISTENER.format(port=self.port) + SERVICES)
        self.control("start")
        pid_file = self.folder / "queue/pid/master.pid"
        until(lambda: pid_file.exists() and listens(self.port), self.last_output)
        self.family.roots.append(psutil.Process(int(pid_file.read_text())))

    def control(self, verb):
        with self.log.open("ab") as log:
            command = [program("postfix"), "-c", self.folder / "config", verb]
            subprocess.run(command, check=True, stdout=log, stderr=log, timeout=30)

    def __exit__(self, *exc_info):
        self.control("stop")
        self.family.end()


def program(name):
    """Where it is, also where only the administrator looks."""
    places = [shutil.which(name), *(str(Path(folder) / name) for folder in SBIN)]
    return next((each for each in places if each and os.access(each, os.X_OK)), None)

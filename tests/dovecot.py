"""A real IMAP server: Debian's Dovecot, on loopback, in a folder of its own."""

import contextlib
import imaplib
import os
import pwd
import shutil
import socket
import subprocess
import time

import psutil

from tests.process import free_port

PROGRAM = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
USER, PASSWORD = "bounces@example.org", 'sword/fish "7'
LIMIT = 30.0

CONFIG = """
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
instance_name = {name}
log_path = {folder}/log
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{folder}/mail/%u
{ssl}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
{capability}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/home
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {secure}
  }}
}}
"""


class Dovecot:
    """Serves a mailbox that is empty at first. `capability`: what it offers instead of all."""

    def __init__(self, folder, *, certificate=None, capability=""):
        self.folder = folder
        self.port = free_port()
        self.secure = free_port() if certificate else 0
        user = pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else "nobody"
        for each in ("run", "state", "mail", "home"):
            (folder / each).mkdir(parents=True)
            if not os.geteuid():
                shutil.chown(folder / each, user)
        tls = "ssl = no"
        if certificate:
            tls = f"ssl = yes\nssl_cert = <{certificate}/cert.pem\nssl_key = <{certificate}/key.pem"
        (folder / "dovecot.conf").write_text(
            CONFIG.format(
                folder=folder, name=folder.name, user=user, port=self.port, secure=self.secure,
                group="nogroup" if user == "nobody" else user, ssl=tls,
                capability=f"imap_capability = {capability}" if capability else "",
            )
        )  # fmt: skip
        (folder / "users").write_text(f"{USER}:{PASSWORD}\n")
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            [PROGRAM, "-F", "-c", self.folder / "dovecot.conf"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        end = time.monotonic() + LIMIT
        while not self._listens():
            assert self._process.poll() is None, self._process.stderr.read().decode()
            assert time.monotonic() < end, self.log
            time.sleep(0.02)
        return self

    def stop(self):
        """All connections end."""
        if self._process is not None:
            whole = psutil.Process(self._process.pid)
            whole.suspend()  # it starts no more of them
            children = whole.children(recursive=True)
            for each in (whole, *children):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            self._process.wait(LIMIT)
            psutil.wait_procs(children, LIMIT)
            self._process.stderr.close()
            self._process = None

    def clear(self):
        """An empty mailbox again, once nobody is logged in: a session's end writes into it."""
        end = time.monotonic() + LIMIT
        while self._serves():
            assert time.monotonic() < end, self.log
            time.sleep(0.02)
        shutil.rmtree(self.folder / "mail" / USER, ignore_errors=True)

    @property
    def log(self):
        return (self.folder / "log").read_text()

    def _serves(self):
        """Whether somebody is logged in."""
        try:
            children = psutil.Process(self._process.pid).children()
            return any(each.name() == "imap" for each in children)
        except psutil.NoSuchProcess:  # one that has just ended
            return True

    def _listens(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    # ------------------------------------------------------------------ as a person's client

    @contextlib.contextmanager
    def client(self, folder="INBOX"):
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=LIMIT) as client:
            client.login(USER, PASSWORD)
            client.select(folder)
            yield client

    def put(self, *mails, folder="INBOX"):
        with self.client() as client:
            for mail in mails:
                assert client.append(folder, None, None, mail)[0] == "OK"

    def subjects(self, folder="INBOX", which="ALL"):
        """Of the mails in a folder, sorted; None: there is no such folder."""
        with self.client() as client:
            if client.select(folder, readonly=True)[0] != "OK":
                return None
            found = client.search(None, which)[1][0].split()
            # Beside what was asked for, the server tells what another client changes meanwhile.
            texts = [
                part[1]
                for n in found
                for part in client.fetch(n, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
                if isinstance(part, tuple)
            ]
        return sorted(text.decode().strip().removeprefix("Subject: ") for text in texts)

"""A real mail server in a file system and a process tree of its own."""

import contextlib
import shutil
import socket
import subprocess
import time

import psutil

from tests.interop import packages
from tests.process import free_port

USER, PASSWORD = "shop", "swordfish 7"
SIZE = 2_000_000  # octets of a mail at most
LIMIT = 60.0  # seconds for a start or an end

# The package's files, with the server's own /etc, /var and so on over them. All this ends with
# the namespace, of which the shell is the first process.
ENTER = """
set -e
mount --bind "$ROOT" "$HERE/root"
for each in etc var run tmp; do mount --bind "$HERE/$each" "$HERE/root/$each"; done
mount --rbind /dev "$HERE/root/dev"
mount -t proc proc "$HERE/root/proc"
trap '' TERM
chroot "$HERE/root" "$@"
"""
USERS = {"postfix": 64101, "postdrop": 64102, "Debian-exim": 64103, "opensmtpd": 64104,
         "opensmtpq": 64105, "nobody": 65534}  # fmt: skip


class Limits:
    """What a server allows; None: as much as one likes."""

    def __init__(self, *, idle=None, messages=None, connections=None, rate=None):
        self.idle = idle  # seconds without a command
        self.messages = messages  # of one connection
        self.connections = connections  # at a time
        self.rate = rate  # messages in ten seconds


class MailServer:
    """
    Listens on three ports of loopback: `plain` without login, `submission` with STARTTLS, and
    `smtps` with TLS; the last two want a login. It takes mail for everybody but `refused...`,
    for `grey...` at the second try, and sends it on to the sink.
    """

    name: str
    command: tuple[str, ...]
    main: str  # the name of the process that ends them all
    mechanisms = ("PLAIN", "LOGIN")
    smtputf8 = True
    dsn = True
    keeps_envid = keeps_orcpt = True  # in its reports
    commands_behind_content = True  # it takes them there, where it offers PIPELINING

    def __init__(self, folder, sink, authority, limits=None):
        self.here = folder
        self.sink = sink
        self.limits = limits or Limits()
        self.plain, self.submission, self.smtps = free_port(), free_port(), free_port()
        self._process = None
        for each in ("root", "etc", "var/log", "run", "tmp"):
            (folder / each).mkdir(parents=True)
        self.var("grey").chmod(0o777)
        (folder / "tmp").chmod(0o1777)
        self._write_certificate(authority)
        self._write_users()
        self.configure()

    # ------------------------------------------------------------------ configuration

    def configure(self):
        """Write its files."""
        raise NotImplementedError

    def etc(self, name, text):
        """A file under /etc, with this text."""
        file = self.here / "etc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def var(self, name, owner=None):
        """A folder under /var."""
        folder = self.here / "var" / name
        folder.mkdir(parents=True, exist_ok=True)
        if owner is not None:
            shutil.chown(folder, USERS[owner], USERS[owner])
        return folder

    def _write_certificate(self, authority):
        made = authority.issue_cert("127.0.0.1", "localhost")
        self.etc("tls/key.pem", made.private_key_pem.bytes().decode()).chmod(0o640)
        chain = b"".join(each.bytes() for each in made.cert_chain_pems)
        self.etc("tls/cert.pem", chain.decode())
        self.ca = self.here / "ca.pem"
        authority.cert_pem.write_to_path(self.ca)

    def _write_users(self):
        each = [f"{name}:x:{id}:{id}::/:/bin/sh\n" for name, id in USERS.items()]
        self.etc("passwd", "root:x:0:0:root:/root:/bin/sh\n" + "".join(each))
        each = [f"{name}:x:{id}:\n" for name, id in USERS.items()]
        self.etc("group", "root:x:0:\nmail:x:8:\n" + "".join(each))
        self.etc("hosts", "127.0.0.1 localhost\n")
        self.etc("resolv.conf", "")
        self.etc("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
        shutil.copy(packages.root() / "etc/services", self.here / "etc/services")

    @property
    def _environment(self):
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        return {"ROOT": str(packages.root()), "HERE": str(self.here), "PATH": path}

    # ------------------------------------------------------------------ life

    @property
    def log(self):
        """What it has said, for a failed assertion to show."""
        files = [self.here / "output", *(self.here / "var/log").rglob("*log*")]
        return "\n".join(file.read_text(errors="replace") for file in files if file.is_file())

    def start(self):
        """Start it, and wait until all its ports are open."""
        with (self.here / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", ENTER,
                 "sh", *self.command],
                env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        for port in (self.plain, self.submission, self.smtps):
            self._until(lambda port=port: _listens(port), "does not listen")
        return self

    def stop(self):
        """Ask it to end, as its service manager would, and wait until it has."""
        below = psutil.Process(self._process.pid).children(recursive=True)
        next(process for process in below if process.name() == self.main).terminate()
        self._process.wait(LIMIT)

    def kill(self):
        """SIGKILL for all of its processes at once."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                for shell in psutil.Process(self._process.pid).children():
                    shell.kill()
            self._process.wait(LIMIT)

    def run(self, *command, text=""):
        """What a command prints that sees its files."""
        done = subprocess.run(
            ["unshare", "--mount", "/bin/sh", "-c", ENTER, "sh", *command],
            env=self._environment, input=text, capture_output=True, text=True,
            timeout=LIMIT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _until(self, condition, complaint):
        end = time.monotonic() + LIMIT
        while not condition():
            assert self._process.poll() is None, f"{self.name} has ended: {self.log}"
            assert time.monotonic() < end, f"{self.name} {complaint}: {self.log}"
            time.sleep(0.02)

    # ------------------------------------------------------------------ relay URLs

    def url(self, scheme="smtp", **parameters):
        """A relay URL, with login and certificate where its port wants them."""
        port = {"smtp": self.plain, "smtp+starttls": self.submission, "smtps": self.smtps}[scheme]
        user = ""
        if scheme != "smtp":
            user = f"{USER}:{PASSWORD.replace(' ', '%20')}@"
            parameters = {"ca": self.ca} | parameters
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"{scheme}://{user}127.0.0.1:{port}?{query}"


def _listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False

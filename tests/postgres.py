"""A real PostgreSQL server of the tests' own, run by a user without rights."""

import asyncio
import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.process import free_port

LIMIT = 60  # seconds for any of the server's own tools
NOBODY = "nobody"  # PostgreSQL refuses to be run by root


def binaries():
    """Where initdb and pg_ctl are; None: nowhere."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr/local").glob("pgsql/bin")]
    if pg_ctl := shutil.which("pg_ctl"):
        found.append(Path(pg_ctl).resolve().parent)
    found = [folder for folder in found if (folder / "initdb").exists()]
    return max(found, key=str, default=None)


class Cluster:
    """One server on a loopback port; each test gets a database of its own."""

    def __init__(self, *, durable=False):
        self._durable = durable  # as an operator would have it; else as quick as can be
        self._bin = binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="notifier-postgres-"))
        self._data = self._folder / "data"
        self._user = {"user": NOBODY, "group": _group(), "extra_groups": []} if _root() else {}
        self._made = 0
        self.port = free_port()

    def start(self):
        if _root():
            shutil.chown(self._folder, NOBODY, _group())
        self._run(
            "initdb", "--auth=trust", "--username=notifier", "--encoding=UTF8", "--no-locale",
            "--no-sync", f"--pgdata={self._data}",
        )  # fmt: skip
        with (self._data / "postgresql.conf").open("a") as conf:
            conf.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\n"
                f"unix_socket_directories = '{self._folder}'\nmax_connections = 100\n"
            )
            # A process that is killed loses nothing by this; a power cut would.
            if not self._durable:
                conf.write("fsync = off\nfull_page_writes = off\nshared_buffers = 64MB\n")
        self.up()

    def up(self):
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", self._folder / "log", "-s")

    def down(self, mode="immediate"):
        self._run("pg_ctl", "stop", "-w", "-D", self._data, "-m", mode, "-s")

    def remove(self):
        with contextlib.suppress(subprocess.SubprocessError):
            self.down()
        shutil.rmtree(self._folder, ignore_errors=True)

    def pid(self):
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def new_database(self):
        return asyncio.run(self.database())

    async def database(self):
        """The URL of a new, empty database."""
        self._made += 1
        name = f"test{self._made}"
        await self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name):
        return f"postgresql://notifier@127.0.0.1:{self.port}/{name}"

    async def execute(self, sql, *, url=None):
        import asyncpg

        db = await asyncpg.connect(url or self.url("postgres"))
        try:
            return await db.fetch(sql)
        finally:
            await db.close()

    def _run(self, tool, *arguments):
        subprocess.run(
            [self._bin / tool, *arguments], check=True, timeout=LIMIT, cwd="/",
            stdout=subprocess.DEVNULL, **self._user,
        )  # fmt: skip


def _root():
    return os.geteuid() == 0


def _group():
    return pwd.getpwnam(NOBODY).pw_gid


def missing():
    """Why there can be no PostgreSQL in these tests; empty: there can."""
    try:
        import asyncpg  # noqa: F401 - only whether it is there
    except ImportError:
        return "asyncpg is not installed (pip install '.[postgres]')"
    return "" if binaries() else "no PostgreSQL server is installed (Debian: postgresql)"


def started():
    """A server that runs, for a fixture to yield; skips where there is none."""
    if why := missing():
        pytest.skip(why)
    cluster = Cluster()
    try:
        cluster.start()
    except BaseException:
        cluster.remove()
        raise
    return cluster

"""What a Node shop would build: Fastify, BullMQ on Redis, and a pool of nodemailer's."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.benchmarks.peers import Broker
from tests.benchmarks.processes import ROOT

APPS = Path(__file__).parent / "apps" / "node"
INSTALLED = ROOT / "bench-node"  # kept from run to run
CONCURRENCY = 32  # jobs side by side: the fastest of 16, 32, 64 and 128
INSTALL_SECONDS = 300.0


class Node(Broker):
    """One process takes messages, another sends them; both as in production."""

    name = "Fastify + BullMQ + nodemailer"
    share = 0.4
    concurrency = CONCURRENCY

    @classmethod
    def missing(cls):
        programs = [each for each in ("node", "npm") if shutil.which(each) is None]
        return ", ".join(filter(None, (*programs, super().missing())))

    def start_apps(self):
        folder = installed()
        self.env |= {"NODE_ENV": "production", "BENCH_PORT": str(self.port)}
        self.env |= {"BENCH_CONCURRENCY": str(self.concurrency)}
        for script in ("worker.js", "api.js"):
            self.run("node", folder / script, env=self.env)


@cache
def installed():
    """A folder with the scripts and the packages that package.json pins, fetched if need be."""
    INSTALLED.mkdir(exist_ok=True)
    for path in APPS.iterdir():
        shutil.copy(path, INSTALLED)
    if _versions() != json.loads((APPS / "package.json").read_text())["dependencies"]:
        shutil.rmtree(INSTALLED / "node_modules", ignore_errors=True)
        options = ["--omit=dev", "--no-package-lock", "--no-audit", "--no-fund"]
        subprocess.run(
            ["npm", "install", *options, "--loglevel=error"],
            cwd=INSTALLED, check=True, timeout=INSTALL_SECONDS,
        )  # fmt: skip
    return INSTALLED


def _versions():
    """The versions of the packages that are there, of those that are asked for by name."""
    found = INSTALLED / "node_modules"
    wanted = json.loads((APPS / "package.json").read_text())["dependencies"]
    paths = {name: found / name / "package.json" for name in wanted}
    return {
        name: json.loads(path.read_text())["version"]
        for name, path in paths.items()
        if path.exists()
    }

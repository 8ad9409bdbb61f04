"""The metrics, alert rules and dashboard, as Prometheus's own tool judges them."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx2
import pytest

from tests.paths import ROOT
from tests.process import Server, message
from tests.relay import ScriptedRelay

SHIPPED = ROOT / "notifier" / "metrics"

RULES = ROOT / "notifier/metrics/alerts.yaml"
CASES = Path(__file__).with_name("alerts.yaml")

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="there is no promtool; Debian's package prometheus has it",
)


def promtool(*arguments, **options):
    """What it has said; a fault that it finds is a failure."""
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_rule_fires_for_its_case_alone():
    """Each rule fires for its case, and not for a case close to it."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    promtool("test", "rules", CASES)
    cases = CASES.read_text()
    rules = re.findall(r"alert: (\w+)", RULES.read_text())
    assert len(rules) >= 10
    for name in rules:
        assert f"alertname: {name}\n        exp_alerts:\n          - " in cases


def test_the_dashboard_asks_what_prometheus_understands(tmp_path):
    """Each query, with every instance chosen, is one; JSON is YAML, too."""
    panels = json.loads((SHIPPED / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$instance", ".*")}
        for number, query in enumerate(queries)
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", file)


async def test_answers_of_a_server_are_in_order(tmp_path):
    """After traffic of every outcome, so that no family is empty: no fault, and no advice."""
    async with ScriptedRelay() as relay:
        relay.answer("RCPT", "550 no such user", to="n1@example.org")
        relays = f"smtp://127.0.0.1:{relay.port}"
        async with (
            Server(tmp_path, relays=relays) as server,
            httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client,
        ):
            for number in range(3):
                headers = {"Prefer": "wait=30"}
                answer = await client.post("/v1/messages", json=message(number), headers=headers)
                assert answer.status_code == 200
            await client.get("/nowhere")
            figures = (await client.get("/metrics")).text
    assert 'notifier_messages_finished_total{channel="email",outcome="failed"} 1.0' in figures
    assert promtool("check", "metrics", input=figures) == ""

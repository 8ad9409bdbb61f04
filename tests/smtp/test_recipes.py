"""The guide's recipes for relays: their settings are what the real parsers take."""

import json
import re
import shlex
from pathlib import Path

import pytest

import notifier
from notifier.oauth.sections import read_sections
from notifier.preflight import grants
from notifier.settings import Settings

PAGE = Path(notifier.__file__).parent / "guide" / "providers.md"
KEY = {"client_email": "a@b", "private_key": "k", "token_uri": "https://oauth2.example/token"}


def recipes():
    """Each block of settings, with the OAuth file that follows it, if one does."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for (kind, text), (next_kind, following) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "sh":
            yield text, following if next_kind == "toml" else ""


def settings_of(text, folder, oauth):
    """What the settings of a block come to; the files that they name are in this folder."""
    for path in set(re.findall(r"/(?:etc|run)/[\w./-]+", text + oauth)):
        file = folder / path.rpartition("/")[2]
        if not file.exists():
            file.write_text(json.dumps(KEY) if file.suffix == ".json" else "secret")
        text, oauth = text.replace(path, str(file)), oauth.replace(path, str(file))
    if oauth:
        (folder / "oauth.toml").write_text(oauth)
    given = dict(pair.split("=", 1) for pair in shlex.split(text))
    return Settings.read(given | {"NOTIFIER_DATA_DIR": str(folder)})


RECIPES = list(recipes())


@pytest.mark.parametrize(
    ("text", "oauth"), RECIPES, ids=[text.split("?")[0] for text, _ in RECIPES]
)
def test_a_recipe_is_read_as_it_is_written(text, oauth, tmp_path):
    """One relay, protected wherever it is not this machine, that can log in if it has to."""
    settings = settings_of(text, tmp_path, oauth)
    (spec,) = settings.relays
    assert settings.default_from
    if spec.host == "127.0.0.1":
        return
    assert spec.tls
    assert not spec.login_in_clear
    if spec.oauth:
        assert spec.oauth in read_sections(tmp_path / "oauth.toml")
        assert spec.name in grants(settings)
    else:
        assert spec.password


def test_each_provider_has_a_recipe():
    """Microsoft 365, Gmail, SES and Postfix."""
    hosts = " ".join(text for text, _ in RECIPES)
    for each in ("office365", "gmail", "amazonaws", "127.0.0.1", "corp.example:587"):
        assert each in hosts

"""Who may change where a secret is sent may not read it by that."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.state import PutDocument
from checks.catalogue import Catalogue
from checks.channel_catalogue import ChannelCatalogue
from checks.errors import CheckError
from checks.sealed import HIDDEN
from tests.checks.fakes import MemoryReader, MirrorBox

CHECK = {"url": "https://shop.example/health", "username": "henge", "password": "geheim"}
MAIL = {"to": "a@b.example", "smtp_host": "mail.example", "username": "henge", "password": "geheim"}
CARRIED_OFF: dict[str, dict[str, Any]] = {
    "another host": {"url": "https://evil.example/health"},
    "another port": {"url": "https://shop.example:8443/health"},
    "no encryption": {"url": "http://shop.example/health"},
    "through a proxy": {"proxy": "http://evil.example:3128"},
    "whoever answers": {"verify_tls": False},
    "another host, the hidden form sent along": {"url": "https://evil.example/", "password": HIDDEN},
}
ALLOWED: dict[str, dict[str, Any]] = {
    "another path": {"url": "https://shop.example/status"},
    "another keyword": {"keyword": "well"},
    "the secret written again": {"url": "https://evil.example/", "password": "geheim"},
    "the secret taken away": {"url": "https://evil.example/", "password": "", "username": ""},
}


@pytest.fixture(name="check_catalogue")
def check_catalogue_fixture() -> tuple[Catalogue, str]:
    reader = MemoryReader()
    catalogue = Catalogue(reader, MirrorBox())
    draft = catalogue.create({"kind": "http", "name": "shop", "options": CHECK})
    reader.apply_all(draft.mutations)
    return catalogue, draft.id


@pytest.mark.parametrize("options", CARRIED_OFF.values(), ids=CARRIED_OFF.keys())
def test_a_secret_does_not_follow_to_another_receiver(
    check_catalogue: tuple[Catalogue, str], options: dict[str, Any]
) -> None:
    catalogue, check_id = check_catalogue
    with pytest.raises(CheckError, match="write the secret again") as caught:
        catalogue.patch(check_id, {"options": options})
    assert caught.value.field == "options.password"
    with pytest.raises(CheckError, match="write the secret again"):
        catalogue.trial({"options": options}, check_id=check_id)


@pytest.mark.parametrize("options", ALLOWED.values(), ids=ALLOWED.keys())
def test_other_changes_keep_it(check_catalogue: tuple[Catalogue, str], options: dict[str, Any]) -> None:
    catalogue, check_id = check_catalogue
    changed = catalogue.patch(check_id, {"options": options}).check
    assert changed.options["password"] == options.get("password", "geheim")


def test_a_channel_of_mail_is_held_to_its_server() -> None:
    reader = MemoryReader()
    channels = ChannelCatalogue(reader, MirrorBox())
    draft = channels.create({"kind": "email", "name": "mail", "options": MAIL})
    reader.apply_all(draft.mutations)
    assert any(isinstance(mutation, PutDocument) for mutation in draft.mutations)
    for options in ({"smtp_host": "evil.example"}, {"smtp_port": 2525}, {"security": "none"}):
        with pytest.raises(CheckError, match="write the secret again"):
            channels.patch(draft.id, {"options": options})
    assert channels.patch(draft.id, {"options": {"to": "c@d.example"}}).channel.options["password"] == "geheim"

"""Names in the environment that look like settings."""

from __future__ import annotations

import pytest

from adapters.settings import PREFIX, Settings, without_effect


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CONFIGTRAIL_OIDC_AUDIENC", "CONFIGTRAIL_OIDC_AUDIENCE"),
        ("configtrail_nats_uri", "CONFIGTRAIL_NATS_URL"),
        ("CONFIGTRAIL_HTTP_LISTENING", None),
    ],
)
def test_a_mistyped_setting_is_found_and_the_right_one_named(name: str, meant: str | None) -> None:
    assert without_effect(["HOME", name]) == {name: meant}


def test_settings_and_what_is_read_elsewhere_are_none() -> None:
    settings = [PREFIX + name.upper() for name in Settings.model_fields]
    others = [
        "CONFIGTRAIL_CREDENTIAL_LAB",
        "CONFIGTRAIL_CREDENTIALS_DIR",
        "CONFIGTRAIL_VAULT_ADDR",
        "CONFIGTRAIL_NETBOX_TOKEN",
        "CONFIGTRAIL_API_KEY",
        "CONFIGTRAIL_POSTGRES_PASSWORD",
        "PATH",
    ]
    assert without_effect([*settings, *map(str.lower, settings), *others]) == {}

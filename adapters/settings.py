"""Settings, from the environment (`CONFIGTRAIL_…`) or given by a command's options."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting, with its default. Without `nats_url` and `postgres_dsn` both servers are
    embedded: started from wheels, with their data in `data_dir`."""

    model_config = SettingsConfigDict(env_prefix="CONFIGTRAIL_", extra="ignore")

    nats_url: SecretStr | None = None
    postgres_dsn: SecretStr | None = None
    data_dir: Path = Path(".configtrail")
    master_key: SecretStr | None = Field(
        default=None, description="32 bytes in base64; wraps every tenant's keys"
    )
    master_key_file: Path | None = Field(
        default=None, description="where the master key lies; default: master.key in data_dir"
    )
    tenant: str = "default"
    http_host: str = "127.0.0.1"
    http_port: int = 8480
    http_names: str = Field(
        default="",
        description="comma-separated names that the API is asked by, besides the loopback's; * any",
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
    trigger_timeout_seconds: float = Field(default=60.0, gt=0)
    policy_file: Path | None = Field(
        default=None, description="how values that machines write are told, by tenant (TOML)"
    )

    @property
    def key_file(self) -> Path:
        """Where the master key lies when it is not in the environment."""
        return self.master_key_file or self.data_dir / "master.key"

"""What is shipped for a deployment is well-formed, consistent, and keeps its promises."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from adapters.accounts.folder import AccountsFolder
from adapters.composition.chosen import chosen
from adapters.embedded.nats import MAX_PAYLOAD, nats_server_binary
from adapters.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def secrets_file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    make_secrets(path)
    return path


def make_secrets(path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "deploy/make_env.py"), str(path)], check=True)


def make_certificates(folder: Path) -> None:
    make = ROOT / "deploy/make_certificates.py"
    subprocess.run([sys.executable, str(make), str(folder)], check=True)


def values_of(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def compose() -> dict[str, Any]:
    return msgspec.yaml.decode((ROOT / "compose.yaml").read_bytes(), type=dict[str, Any])


def variables_of(service: dict[str, Any]) -> set[str]:
    return set(re.findall(r"\$\{(\w+):\?", str(service["environment"])))


def test_the_servers_configuration_passes_its_own_check(secrets_file: Path, tmp_path: Path) -> None:
    # The folders are looked at by the check, and these exist in the container only.
    config = tmp_path / "nats.conf"
    make_certificates(tmp_path / "tls")
    AccountsFolder(tmp_path).add(["acme"])
    config.write_text(
        (ROOT / "deploy/nats/nats.conf")
        .read_text()
        .replace("store_dir: /data", f"store_dir: {tmp_path}")
        .replace("/tls/", f"{tmp_path}/tls/")
    )
    check = [str(nats_server_binary()), "-t", "-c", str(config)]
    done = subprocess.run(
        check, env=values_of(secrets_file), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    unset = subprocess.run(check, env={}, capture_output=True, text=True, check=False)
    assert unset.returncode != 0


def test_the_servers_configuration_is_durable_and_encrypts() -> None:
    text = (ROOT / "deploy/nats/nats.conf").read_text()
    assert "sync_interval: always" in text
    assert "cipher: aes" in text
    assert f"max_payload: {MAX_PAYLOAD}" in text


def test_fresh_secrets_are_private_different_and_never_replaced(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    make_secrets(one)
    make_secrets(other)
    assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert not set(values_of(one).values()) & set(values_of(other).values())
    before = one.read_bytes()
    with pytest.raises(subprocess.CalledProcessError):
        make_secrets(one)
    assert one.read_bytes() == before


def test_certificates_are_for_the_names_that_compose_uses(tmp_path: Path) -> None:
    make_certificates(tmp_path / "tls")
    authority = x509.load_pem_x509_certificate((tmp_path / "tls/ca.crt").read_bytes())
    for name in ("nats", "postgres"):
        assert name in compose()["services"]
        assert stat.S_IMODE((tmp_path / f"tls/{name}.key").stat().st_mode) == 0o600
        found = x509.load_pem_x509_certificate((tmp_path / f"tls/{name}.crt").read_bytes())
        verifier = PolicyBuilder().store(Store([authority]))
        chain = verifier.build_server_verifier(x509.DNSName(name)).verify(found, [])
        assert chain == [found, authority]
    assert not (tmp_path / "tls/ca.key").exists()
    with pytest.raises(subprocess.CalledProcessError):
        make_certificates(tmp_path / "tls")


def test_between_the_containers_all_is_encrypted_and_names_are_checked() -> None:
    for program in ("configtrail", "sealer"):
        environment = compose()["services"][program]["environment"]
        assert environment["CONFIGTRAIL_NATS_URL"].startswith("tls://")
        assert environment["CONFIGTRAIL_NATS_URL"].endswith("?ca=/tls/ca.crt")
        assert "sslmode=verify-full" in environment["CONFIGTRAIL_POSTGRES_DSN"]
    assert "ssl=on" in compose()["services"]["postgres"]["command"]


def test_compose_asks_for_exactly_the_secrets_that_are_made(secrets_file: Path) -> None:
    services = compose()["services"]
    wanted = set().union(*(variables_of(service) for service in services.values()))
    assert wanted == set(values_of(secrets_file))


def test_no_server_is_given_a_secret_that_it_does_not_need() -> None:
    services = compose()["services"]
    assert variables_of(services["nats"]) == {
        "CONFIGTRAIL_NATS_PASSWORD",
        "CONFIGTRAIL_NATS_ADMIN_PASSWORD",
        "CONFIGTRAIL_JETSTREAM_KEY",
    }
    assert variables_of(services["postgres"]) == {
        "POSTGRES_PASSWORD",
        "CONFIGTRAIL_POSTGRES_PASSWORD",
    }
    for program in ("configtrail", "sealer"):
        assert variables_of(services[program]) == {
            "CONFIGTRAIL_NATS_PASSWORD",
            "CONFIGTRAIL_POSTGRES_PASSWORD",
            "CONFIGTRAIL_MASTER_KEY",
        }


def test_the_log_key_is_in_the_sealers_volume_alone() -> None:
    services = compose()["services"]
    sealing = [
        name
        for name, service in services.items()
        if "sealer" in chosen(service["environment"].get("CONFIGTRAIL_ROLES", "-sealer"))
    ]
    assert sealing == ["sealer"]
    assert services["configtrail"]["environment"]["CONFIGTRAIL_ROLES"] == "-sealer"
    # Where both are looked for: the key is made in the data folder.
    key_folder = re.search(r"CONFIGTRAIL_DATA_DIR=(\S+)", (ROOT / "Dockerfile").read_text())
    assert key_folder is not None
    with_it = {
        name: [one for one in service.get("volumes", []) if one.startswith("sealer-data:")]
        for name, service in services.items()
    }
    mounted = with_it.pop("sealer")
    assert mounted == [f"sealer-data:{key_folder[1]}"]
    assert not any(with_it.values())
    assert "CONFIGTRAIL_LOG_KEY" not in str(services)
    assert not services["sealer"]["ports"]


def test_compose_publishes_on_the_hosts_loopback_only() -> None:
    for name, service in compose()["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_compose_checks_health_keeps_data_and_waits() -> None:
    services, volumes = compose()["services"], compose()["volumes"]
    for name in ("nats", "postgres"):
        assert services[name]["healthcheck"]["test"][0] == "CMD"
        kept = [volume.split(":")[0] for volume in services[name]["volumes"]]
        assert any(volume in volumes for volume in kept), name
        for program in ("configtrail", "sealer"):
            assert services[program]["depends_on"][name]["condition"] == "service_healthy"
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()


def test_what_compose_mounts_and_the_image_copies_is_there() -> None:
    for service in compose()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            made = source.startswith("./deploy/tls")
            assert made or not source.startswith(".") or (ROOT / source).exists(), source
    for line in re.findall(r"^COPY (.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split():
            assert (ROOT / source).exists(), source


def test_the_services_environment_has_names_that_the_settings_know() -> None:
    known = {f"CONFIGTRAIL_{name.upper()}" for name in Settings.model_fields}
    image = set(re.findall(r"\b(CONFIGTRAIL_\w+)=", (ROOT / "Dockerfile").read_text()))
    for program in ("configtrail", "sealer"):
        assert set(compose()["services"][program]["environment"]) | image <= known


def test_the_image_runs_as_nobody_special() -> None:
    assert re.search(r"^USER configtrail$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_make_explains_itself() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for target in ("demo", "test", "lint", "fmt", "clean"):
        assert f"make {target}" in shown


def test_without_a_python_that_fits_make_says_so(tmp_path: Path) -> None:
    (tmp_path / "sh").symlink_to("/bin/sh")
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "deploy/make_venv.sh"), str(tmp_path / "venv")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr


@pytest.mark.parametrize("script", [".ci/run", "deploy/postgres-init.sh"])
def test_scripts_can_be_run(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)

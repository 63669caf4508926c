"""TLS to Postgres as DATABASE_URL asks for it, with a certificate authority made for the test."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.services.test_worker_in_trouble import add, done, ended, living, worker_of

from reveille.database import connect, connect_pool, is_transient
from reveille.dsn import CertificateRefused
from reveille.embedded import EmbeddedPostgres
from reveille.migrate import migrate
from reveille.postgres_binaries import unprivileged_user
from reveille.processes import start_module
from reveille.testing import Database

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")

EXIT_CONFIGURATION = 78


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A server whose certificate is for 127.0.0.1, signed by `authority`; `stranger` signed nothing."""

    dsn: str
    authority: Path
    stranger: Path

    def by(self, mode: str, authority: Path, host: str = "127.0.0.1") -> str:
        """The address with this much distrust."""
        dsn = self.dsn.replace("127.0.0.1", host)
        return f"{dsn}?sslmode={mode}&sslrootcert={authority}"


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_authority(folder: Path, name: str) -> Path:
    openssl(
        folder,
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", "2", "-subj", f"/CN={name}"),
        *("-addext", "keyUsage=critical,keyCertSign"),
    )
    return folder / f"{name}.crt"


def make_certificate(folder: Path, authority: str, address: str) -> None:
    openssl(
        folder,
        *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=database"),
    )
    (folder / "names").write_text(f"subjectAltName=IP:{address}\n")
    openssl(
        folder,
        *("x509", "-req", "-in", "server.csr", "-days", "2", "-extfile", "names"),
        *("-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-CAcreateserial"),
        *("-out", "server.crt"),
    )
    key = folder / "server.key"
    key.chmod(0o600)
    if user := unprivileged_user():
        shutil.chown(key, user)


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Encrypted]:
    """A server that speaks TLS, with the schema."""
    with tempfile.TemporaryDirectory(prefix="reveille-tls-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        authority, stranger = make_authority(folder, "ours"), make_authority(folder, "stranger")
        make_certificate(folder, "ours", "127.0.0.1")
        files = {"ssl_cert_file": folder / "server.crt", "ssl_key_file": folder / "server.key"}
        settings = {"ssl": "on", **{setting: str(path) for setting, path in files.items()}}
        with EmbeddedPostgres(settings=settings) as postgres:
            asyncio.run(migrate(postgres.dsn))
            yield Encrypted(postgres.dsn, authority, stranger)


async def test_worker_speaks_tls_on_all_its_connections(encrypted: Encrypted) -> None:
    """Pool, LISTEN and heartbeat each open connections of their own, all as the address says."""
    dsn = encrypted.by("verify-full", encrypted.authority)
    pool = await connect_pool(dsn, application_name="test")
    try:
        database = Database(dsn, pool)
        async with living(worker_of(database, done), database):
            assert (await ended(database, await add(database)))["status"] == "completed"
            rows = await database.fetch(
                "SELECT application_name AS name, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                "WHERE application_name LIKE 'reveille%'"
            )
    finally:
        pool.terminate()

    assert {row["name"] for row in rows} == {
        "reveille text-worker",
        "reveille text-worker listener",
        "reveille heartbeat",
    }
    assert all(row["ssl"] for row in rows)


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
async def test_certificate_of_another_authority_is_refused(encrypted: Encrypted, mode: str) -> None:
    """Whoever pretends to be the database gets no password; trying again would not help."""
    with pytest.raises(
        CertificateRefused, match=r"certificate .* was refused: .*sslrootcert"
    ) as no:
        await connect(encrypted.by(mode, encrypted.stranger), application_name="test")
    assert not is_transient(no.value)
    assert encrypted.dsn.partition("@")[0] not in str(no.value)


async def test_certificate_for_another_host_is_refused(encrypted: Encrypted) -> None:
    """verify-full is about the host, verify-ca is not."""
    there = encrypted.by("verify-full", encrypted.authority, host="localhost")
    with pytest.raises(CertificateRefused, match="localhost"):
        await connect(there, application_name="test")

    there = encrypted.by("verify-ca", encrypted.authority, host="localhost")
    connection = await connect(there, application_name="test")
    await connection.close()


@pytest.mark.parametrize("wrong", ["certificate", "password", "database"])
async def test_service_that_may_not_connect_ends_and_says_why(
    encrypted: Encrypted, tmp_path: Path, wrong: str
) -> None:
    """One sentence and the exit status of wrong settings, not a traceback or endless tries."""
    user, _, place = encrypted.dsn.rpartition("@")
    dsn = {
        "certificate": encrypted.by("verify-full", encrypted.stranger),
        "password": f"{user}wrong@{place}",
        "database": f"{user}@{place.rpartition('/')[0]}/nowhere",
    }[wrong]
    child = start_module(
        "text_worker", environment={"DATABASE_URL": dsn}, log_path=tmp_path / "worker.log"
    )
    try:
        code = await asyncio.to_thread(child.process.wait, 30)
    finally:
        child.stop(wait_seconds=5)

    said = child.log_tail()
    assert code == EXIT_CONFIGURATION, said
    assert "the database cannot be used" in said
    assert wrong in said
    assert "Traceback" not in said

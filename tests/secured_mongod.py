"""A mongod as it should be guarded: TLS with certificates on both sides, a key file, users."""

import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pymongo import MongoClient

from tests.mongod_process import MongodProcess

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
OF_A_CA = ("-addext", "basicConstraints=critical,CA:TRUE")
OF_A_PEER = ("-addext", "basicConstraints=critical,CA:FALSE", "-addext")


class Authority:
    """A certificate authority below `directory`; what it signs is good for two days."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate = directory / "ca.crt"
        self._openssl("ca", "/CN=tests", *OF_A_CA)

    def sign(self, name: str, host: str = "IP:127.0.0.1") -> Path:
        """Return a file with a new key and its certificate, for `host`."""
        signed_by = ("-CA", str(self.certificate), "-CAkey", str(self._directory / "ca.key"))
        self._openssl(name, f"/O={name}/CN={name}", *signed_by, *OF_A_PEER, f"subjectAltName={host}")
        both = self._directory / f"{name}.pem"
        parts = [self._directory / f"{name}.{suffix}" for suffix in ("key", "crt")]
        both.write_text("".join(part.read_text() for part in parts))
        return both

    def _openssl(self, name: str, subject: str, *options: str) -> None:
        out = ("-keyout", self._directory / f"{name}.key", "-out", self._directory / f"{name}.crt")
        command = ("openssl", "req", "-x509", *KEY, *out, "-subj", subject, *options)
        subprocess.run(command, check=True, capture_output=True)


def need_openssl() -> None:
    """Skip the test where no certificate can be made."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt-get install openssl")


class SecuredMongod(MongodProcess):
    """Wants TLS, a certificate of its authority, and a login; `host` is the one in its own certificate."""

    def __init__(self, directory: Path, *, password: str, host: str = "IP:127.0.0.1") -> None:
        self.authority = Authority(directory / "authority")
        self.client_file = self.authority.sign("client")
        options = ("--tlsMode", "requireTLS", "--tlsCAFile", str(self.authority.certificate))
        options += ("--tlsCertificateKeyFile", str(self.authority.sign("server", host)))
        super().__init__(directory, *options, user="root", password=password)

    @property
    def uri(self) -> str:
        """What leads to it, as root."""
        return self.uri_with(
            tlsCAFile=str(self.authority.certificate), tlsCertificateKeyFile=str(self.client_file)
        )

    def uri_with(self, user: str = "root", password: str | None = None, **options: str) -> str:
        """Return a URI of `user` with only these options for TLS."""
        login = f"{user}:{quote(password or self.password or '', safe='')}"
        tls = "".join(f"&{name}={quote(value, safe='')}" for name, value in options.items())
        return f"mongodb://{login}@{self.address}/?replicaSet={self.replica_set}&authSource=admin{tls}"

    def _connect(self) -> MongoClient[dict[str, Any]]:
        return MongoClient(
            self.address,
            directConnection=True,
            timeoutMS=2000,
            tlsCAFile=str(self.authority.certificate),
            tlsCertificateKeyFile=str(self.client_file),
            tlsAllowInvalidHostnames=True,
        )

"""One cluster that speaks TLS, with certificates made here; the settings are Dask's own."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import dask.config
import pytest
from distributed import Security

from executor.distributed import DaskExecutor
from tests import tasks
from tests.distributed.cluster import Cluster, cluster
from tests.support import HANG, eventually


def make_certificate(directory: Path, name: str) -> tuple[str, str]:
    """A key and a certificate that vouches for itself."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-days", "2", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return str(key), str(certificate)


def security(key: str, certificate: str) -> Security:
    return Security(tls_ca_file=certificate, tls_client_cert=certificate, tls_client_key=key, require_encryption=True)


def options(key: str, certificate: str) -> list[str]:
    return ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key, "--protocol", "tls"]


def test_tls(tmp_path: Path) -> None:
    ours = make_certificate(tmp_path, "ours")
    with cluster(1, tmp_path, *options(*ours)) as secure:
        assert secure.address.startswith("tls://127.0.0.1:")
        with DaskExecutor(secure.address, security=security(*ours)) as executor:
            assert executor.submit(tasks.square, 3).result(HANG) == 9
        with dask.config.set(config_of(*ours)), DaskExecutor(secure.address) as executor:
            assert executor.submit(tasks.square, 4).result(HANG) == 16
        refuse_without_certificate(secure, tmp_path)


def config_of(key: str, certificate: str) -> dict[str, object]:
    tls = "distributed.comm.tls"
    own = {f"{tls}.ca-file": certificate, f"{tls}.client.cert": certificate, f"{tls}.client.key": key}
    return {**own, "distributed.comm.require-encryption": True}


def refuse_without_certificate(secure: Cluster, directory: Path) -> None:
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        threads = set(threading.enumerate())
        with pytest.raises(TypeError, match="TLS") as raised:
            DaskExecutor(secure.address)
        # Nothing is left that only the garbage collector would end, in whatever thread that runs.
        eventually(lambda: threads.issuperset(threading.enumerate()))
        del raised
        with pytest.raises(OSError, match="certificate"):
            DaskExecutor(secure.address, security=security(*make_certificate(directory, "stranger")))

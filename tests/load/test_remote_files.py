"""Objects at addresses: an S3 server in memory, and a web server with TLS, both on loopback."""

from __future__ import annotations

import datetime as dt
import http.server
import os
import ssl
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import obstore
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto.server import ThreadedMotoServer

from pgfan import api
from pgfan.errors import UsageError
from pgfan.load import remote
from pgfan.load.sources import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "made-up"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[obstore.store.S3Store]:
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    store = obstore.store.S3Store("bucket")
    yield store
    for part in obstore.list(store):
        obstore.delete(store, [one["path"] for one in part])


def test_a_load_from_s3_takes_a_file_a_pattern_and_a_folder(
    bucket: obstore.store.S3Store, dsn18: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "RANGE_BYTES", 1000)  # an object of several ranges
    rows = "".join(f"{number},x\n" for number in range(1000))
    obstore.put(bucket, "a/one.csv", f"n,s\n{rows}".encode())
    obstore.put(bucket, "a/é two.csv", b"s,n\ny,-1\n")
    obstore.put(bucket, "a/three.txt", b"")
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (n int, s text)")
        for name, count, total in (
            ("s3://bucket/a/one.csv", 1000, 499500),
            ("s3://bucket/a/*.csv", 1001, 499499),
        ):
            connection.execute("TRUNCATE t")
            result = api.load(dsn18, [name], "t", api.LoadOptions(jobs=2))
            assert result.ok, result.error
            found = connection.execute("SELECT count(*), sum(n) FROM t").fetchone()
            assert found == (count, total)
    assert list(remote.cache().iterdir()) == []
    assert [Path(copy).name for copy in remote.fetch("s3://bucket/a/")] == [
        "one.csv",
        "three.txt",
        "é two.csv",
    ]


def test_a_copy_is_kept_for_a_resume_and_not_for_another_version(
    bucket: obstore.store.S3Store,
) -> None:
    obstore.put(bucket, "a.csv", b"1\n")
    (first,) = remote.fetch("s3://bucket/a.csv")
    before = Path(first).stat()
    (again,) = remote.fetch("s3://bucket/a.csv")
    assert (again, Path(again).stat().st_ino) == (first, before.st_ino)
    obstore.put(bucket, "a.csv", b"2\n")
    (changed,) = remote.fetch("s3://bucket/a.csv")
    assert Path(changed).read_bytes() == b"2\n"
    assert changed != first
    remote.forget(["s3://bucket/a.csv"])
    assert not Path(changed).exists()


def test_an_object_that_changes_while_it_is_fetched_is_refused(
    bucket: obstore.store.S3Store,
) -> None:
    obstore.put(bucket, "a.csv", b"1\n")
    store, address, path = remote._store("s3://bucket/a.csv")
    (one,) = remote._objects(store, address, path)
    obstore.put(bucket, "a.csv", b"2\n")
    with pytest.raises(FileError, match="was changed while it was fetched"):
        remote._copy(store, one, remote.cache() / one.place)
    assert not (remote.cache() / one.place).exists()


def test_what_is_not_there_or_not_allowed_is_refused(
    bucket: obstore.store.S3Store, tmp_path: Path
) -> None:
    del bucket
    with pytest.raises(UsageError, match="no such object"):
        list(remote.fetch("s3://bucket/nothing.csv"))
    with pytest.raises(UsageError, match="password"):
        list(remote.fetch("https://user:secret@127.0.0.1/a.csv"))
    (tmp_path / f"pgfan-remote-{os.getuid()}").mkdir(exist_ok=True)
    (tmp_path / f"pgfan-remote-{os.getuid()}").chmod(0o777)
    with pytest.raises(UsageError, match="yours alone"):
        remote.cache()


class Ranges(http.server.BaseHTTPRequestHandler):
    """One file, whole or a range of it."""

    data = b"n\n" + b"".join(b"%d\n" % number for number in range(500))

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        data, asked = self.data, self.headers.get("Range")
        self.send_response(206 if asked else 200)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            lo, hi = int(first), int(last) + 1
            self.send_header("Content-Range", f"bytes {lo}-{hi - 1}/{len(data)}")
            data = data[lo:hi]
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Last-Modified", "Mon, 02 Jan 2023 03:04:05 GMT")
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem, form, plain))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_file_of_the_web_is_fetched_in_ranges_over_tls(
    web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "RANGE_BYTES", 500)
    (copy,) = remote.fetch(f"{web}/folder/data%20a.csv")
    assert Path(copy).name == "data a.csv"
    assert Path(copy).read_bytes() == Ranges.data

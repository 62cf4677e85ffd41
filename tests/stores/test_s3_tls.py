"""TLS before radosgw: nobody is trusted unasked."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from contextlib import asynccontextmanager, suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.servers import radosgw
from tests.servers.listener import Listener, closing
from tests.stores.s3 import Bucket, store_of

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind, Retry, StoreError

OBJECT = Key("run/model.bin")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The file of a certificate for 127.0.0.1 that nobody has signed but itself."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shoso test")])
    host = ipaddress.ip_address("127.0.0.1")
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(host)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "ca.pem"


@asynccontextmanager
async def _secured(certificate):
    """A port where TLS is spoken, in front of the gateway."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))

    async def pump(reader, writer):
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", radosgw.port())
        async with closing(up_writer):
            await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

    async with Listener(serve, tls=context) as listener:
        yield listener.port


@pytest.fixture
async def settings(certificate):
    """What opens the gateway over TLS."""
    async with _secured(certificate) as port:
        yield {**radosgw.environment(), "MLFLOW_S3_ENDPOINT_URL": f"https://127.0.0.1:{port}"}


@pytest.fixture
def bucket():
    """An empty one."""
    made = Bucket()
    yield made
    made.close()


async def test_a_certificate_that_is_not_trusted_is_named_with_the_fix(bucket, settings):
    async with store_of(bucket.uri, settings) as store:
        for call in (store.stat(OBJECT), store.write(OBJECT, BytesSource(b".")), anext(store.list(ROOT))):
            with pytest.raises(StoreError) as caught:
                await call
            assert (caught.value.kind, caught.value.retry) == (Kind.CONFIG, Retry.NEVER)
            assert "AWS_CA_BUNDLE" in caught.value.message
            assert settings["MLFLOW_S3_ENDPOINT_URL"] in caught.value.message


@pytest.mark.parametrize("trust", ["AWS_CA_BUNDLE", "MLFLOW_S3_IGNORE_TLS"])
async def test_a_certificate_that_is_trusted_works(bucket, settings, certificate, trust):
    value = str(certificate) if trust == "AWS_CA_BUNDLE" else "true"
    async with store_of(bucket.uri, {**settings, trust: value}) as store:
        await store.write(OBJECT, BytesSource(b"." * 9_000_000))
        assert len(await read_bytes(store, OBJECT)) == 9_000_000


async def test_an_address_that_speaks_no_tls_is_named(bucket):
    endpoint = f"https://127.0.0.1:{radosgw.port()}"
    async with store_of(bucket.uri, {**radosgw.environment(), "MLFLOW_S3_ENDPOINT_URL": endpoint}) as store:
        with pytest.raises(StoreError) as caught:
            await store.stat(OBJECT)
    assert caught.value.kind is Kind.CONFIG
    assert "http://" in caught.value.message

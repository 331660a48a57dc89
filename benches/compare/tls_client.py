"""The client side of TLS: one version and one cipher suite for everybody, since servers would choose different ones.

Python cannot name a suite of TLS 1.3, but OpenSSL reads one from a file, once, when it is loaded: so a program that makes TLS
connections imports this before anything else. `connect` looks whether it worked.
"""

import os
import pathlib
import socket

os.environ["OPENSSL_CONF"] = str(pathlib.Path(__file__).resolve().with_name("client.cnf"))
import ssl  # noqa: E402

del os.environ["OPENSSL_CONF"]  # the programs that are started choose for themselves

SUITE = "TLS_AES_128_GCM_SHA256"


def context():
    """What a client trusts: everybody, as it is no part of the server's work."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.set_alpn_protocols(["http/1.1"])
    return made


def connect(port, within=None, session=None):
    """A connection after its handshake, with the one suite."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=60)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = (within or context()).wrap_socket(raw, server_hostname="localhost", session=session)
    if stream.cipher()[0] != SUITE:
        stream.close()
        raise OSError(f"the suite is {stream.cipher()[0]}")
    return stream

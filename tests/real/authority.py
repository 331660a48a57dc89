"""A certificate authority for tests, made with openssl: its certificate, and certificates it signs."""

import itertools
import pathlib
import subprocess

SERIALS = itertools.count(4097)


def openssl(*argv, **options):
    """Runs openssl and gives what it prints."""
    done = subprocess.run(["openssl", *map(str, argv)], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, f"openssl {argv}: {done.stderr}"
    return done.stdout


class Authority:
    """An authority in `folder`; `file` is its certificate."""

    def __init__(self, folder, name="authority"):
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir(parents=True)
        self.file, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", 30,
            "-subj", f"/CN={name}", "-keyout", self.key, "-out", self.file,
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    def sign(self, file, *names, client=False):
        """A certificate `file`.pem with its `file`.key for these host names or addresses, the first of them the subject's; its
        serial number is returned in hexadecimal as openssl prints it."""
        key, wish, out = (self.folder / f"{file}.{end}" for end in ("key", "csr", "pem"))
        serial = next(SERIALS)
        openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={names[0]}",
            "-keyout", key, "-out", wish,
        )  # fmt: skip
        alternatives = ",".join(("IP:" if name.replace(".", "").isdigit() else "DNS:") + name for name in names)
        usage = "clientAuth" if client else "serverAuth"
        extensions = self.folder / f"{file}.ext"
        extensions.write_text(
            f"subjectAltName={alternatives}\nextendedKeyUsage={usage}\nbasicConstraints=critical,CA:FALSE\n"
            "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n"
        )
        openssl(
            "x509", "-req", "-in", wish, "-CA", self.file, "-CAkey", self.key, "-set_serial", serial, "-days", 20, "-sha256",
            "-extfile", extensions, "-out", out,
        )  # fmt: skip
        key.chmod(0o600)
        return f"{serial:04X}"

    def paths(self, file):
        """Where the certificate and the key of `file` are."""
        return self.folder / f"{file}.pem", self.folder / f"{file}.key"

    def toml(self, file):
        """`file` as an entry of `tls.certificates`."""
        certificate, key = self.paths(file)
        return f'{{ certificate = "{certificate}", key = "{key}" }}'

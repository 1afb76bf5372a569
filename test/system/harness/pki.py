# SPDX-License-Identifier: Apache-2.0
"""A small certificate authority made by the openssl command, in a directory of the test run."""

import os
import ssl
import subprocess
from datetime import datetime, timedelta, timezone

_CONFIG = """
[ca]
default_ca = here
[here]
database = {dir}/index.txt
new_certs_dir = {dir}
rand_serial = yes
default_md = sha256
policy = any
email_in_dn = no
unique_subject = no
copy_extensions = none
[any]
commonName = supplied
"""


class Authority:
    """Root or intermediate. issue() gives paths of a certificate (chain included) and its key."""

    def __init__(self, directory, name="root", key_type="ec", parent=None):
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory)
        self.name = name
        self.parent = parent
        self.key = self._path("ca.key")
        self.cert = self._path("ca.pem")
        with open(self._path("openssl.cnf"), "w") as f:
            f.write(_CONFIG.format(dir=self.directory))
        open(self._path("index.txt"), "w").close()
        make_key(self.key, key_type)
        if parent is None:
            openssl("req", "-x509", "-new", "-key", self.key, "-out", self.cert, "-days", "30",
                    "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
                    "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        else:
            issued = parent.issue(name, key_type=key_type, is_ca=True, key=self.key)
            self.cert = issued["cert"]

    def _path(self, name):
        return os.path.join(self.directory, name)

    def issue(self, common_name, san=None, key_type="ec", days=(-1, 30), is_ca=False, client=False,
              key=None):
        """
        days: from and to, from now. san as openssl writes it: "DNS:localhost,IP:127.0.0.1".
        """
        base = self._path(f"{len(os.listdir(self.directory))}-{common_name.replace('/', '_')}")
        key = key or make_key(base + ".key", key_type)
        extensions = [f"basicConstraints=critical,CA:{'TRUE' if is_ca else 'FALSE'}"]
        if is_ca:
            extensions.append("keyUsage=critical,keyCertSign,cRLSign")
        else:
            extensions.append("keyUsage=digitalSignature,keyEncipherment")
            # etcd uses its server certificate as a client's towards itself.
            usage = "clientAuth" if client else "serverAuth,clientAuth"
            extensions.append(f"extendedKeyUsage={usage}")
        if san:
            extensions.append(f"subjectAltName={san}")
        with open(base + ".ext", "w") as f:
            f.write("\n".join(extensions) + "\n")
        openssl("req", "-new", "-key", key, "-out", base + ".csr", "-subj", f"/CN={common_name}")
        start, end = (stamp(d) for d in days)
        openssl("ca", "-batch", "-notext", "-config", self._path("openssl.cnf"), "-cert", self.cert,
                "-keyfile", self.key, "-in", base + ".csr", "-out", base + ".pem",
                "-startdate", start, "-enddate", end, "-extfile", base + ".ext")
        if self.parent is not None:
            with open(base + ".pem", "a") as chain, open(self.cert) as own:
                chain.write(own.read())
        return {"cert": base + ".pem", "key": key, "ca": self.root_cert()}

    def root_cert(self):
        return self.parent.root_cert() if self.parent else self.cert


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def make_key(path, key_type):
    if key_type == "ec":
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", path)
    else:
        openssl("genrsa", "-out", path, "2048")
    return path


def stamp(days):
    moment = datetime.now(timezone.utc) + timedelta(days=days)
    return moment.strftime("%Y%m%d%H%M%SZ")


def server_context(issued, alpn=("h2",), client_ca=None, max_version=None):
    """For the fake server: what Python's ssl needs to speak with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued["cert"], issued["key"])
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if max_version:
        context.maximum_version = max_version
    return context


def client_context(ca, cert=None, key=None):
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["h2"])
    if cert:
        context.load_cert_chain(cert, key)
    return context

"""What a credential costs: the same questions, asked without one and with each kind.

The servers are the same but for who may ask, each with a database of its own, and are asked in turn. What
counts is the server's processor time a check, as a ratio to that of a check without a credential; the
encryption itself is told by the two kinds that need it.
"""

import base64
import json
import subprocess
import time

from .load import Load
from .page import keep, spread, table
from .product import Bancheck, seeded
from .rounds import Subject, play
from .stage import SERVER_CORE, Failed, output
from .wire import ONE_IN

PRINCIPAL, ISSUER, AUDIENCE = "measure", "https://issuer.example", "bancheck"
# From the one that all are compared with to the dearest.
KINDS = {
    "nothing": "none",
    "key": "API key",
    "jwt": "JWT, RS256",
    "tls": "TLS, API key",
    "mtls": "TLS, client certificate",
}


class Credentials:
    """What is told on the command line, and what has come of it."""

    def __init__(self, stage, binaries, told, results):
        self.stage, self.binaries, self.told, self.results = stage, binaries, told, results
        self.load, self.bans = Load(stage), told.bans // 10
        self.issuer = Issuer(stage.folder)
        self.certificates = Certificates(stage.folder)

    def run(self):
        servers = {
            "nothing": self.open("nothing"),
            "key": self.guarded("key"),
            "tls": self.guarded("tls", scheme="https"),
        }
        servers["jwt"], servers["mtls"] = servers["key"], servers["tls"]
        subjects = [self.subject(kind, servers[kind]) for kind in KINDS]
        play(self.results, "credentials", subjects, self.told.rounds)

    def serve(self, name, environment, **more):
        folder = seeded(self.binaries, self.stage.folder / name, self.bans)
        return Bancheck(
            self.stage, self.binaries, name, folder, core=SERVER_CORE, environment=environment, **more
        )

    def open(self, name):
        return self.serve(name, {"BANCHECK_AUTH": "off"})

    def guarded(self, name, scheme="http"):
        settings = (self.certificates if scheme == "https" else self.issuer).settings
        server = self.serve(name, settings, scheme=scheme).with_key()
        server.ask("grant", "set", PRINCIPAL, "--scope", "check", "--all-tenants")
        return server

    def subject(self, kind, server):
        shown = {"key": server.key, "tls": server.key, "jwt": self.issuer.token()}.get(kind)
        flags = self.certificates.flags if kind == "mtls" else ()

        def ask(part):
            seconds = max(1, round(part * self.told.seconds))
            return self.load.at_a_rate(
                self.binaries.bancheck,
                server.port,
                None,
                seconds,
                self.bans * ONE_IN,
                shown,
                ["--ca", self.certificates.root, *flags] if server.scheme == "https" else (),
                warm_up=0,
                scheme=server.scheme,
            )

        return Subject(kind, server.server, ask)


class Issuer:
    """Whoever signs tokens."""

    def __init__(self, folder):
        self.key = folder / "issuer.pem"
        output(["openssl", "genrsa", "-out", self.key, "2048"])
        modulus = output(["openssl", "rsa", "-in", self.key, "-noout", "-modulus"]).strip().partition("=")[2]
        published = {
            "kty": "RSA",
            "kid": "1",
            "alg": "RS256",
            "use": "sig",
            "n": text(bytes.fromhex(modulus)),
            "e": "AQAB",
        }
        keys = folder / "jwks.json"
        keys.write_text(json.dumps({"keys": [published]}))
        self.settings = {
            "BANCHECK_AUTH": "on",
            "BANCHECK_JWT_ISSUER": ISSUER,
            "BANCHECK_JWT_AUDIENCE": AUDIENCE,
            "BANCHECK_JWT_JWKS": str(keys),
        }

    def token(self):
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": PRINCIPAL,
            "iat": now,
            "nbf": now,
            "exp": now + 43_200,
        }
        parts = {"alg": "RS256", "typ": "JWT", "kid": "1"}, claims
        signed = ".".join(text(json.dumps(part).encode()) for part in parts)
        done = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self.key], input=signed.encode(), capture_output=True
        )
        if done.returncode != 0:
            raise Failed(f"openssl: {done.stderr.decode()}")
        return f"{signed}.{text(done.stdout)}"


class Certificates:
    """A root, a server's certificate and a client's."""

    def __init__(self, folder):
        self.folder, self.root = folder, folder / "root.pem"
        # What the machine's own would add is left out.
        (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = name\n[name]\n")
        self.make("root", "basicConstraints=critical,CA:TRUE")
        self.make("server", "subjectAltName=IP:127.0.0.1", by="root")
        self.make(PRINCIPAL, f"subjectAltName=DNS:{PRINCIPAL}", by="root")
        mine = folder / f"{PRINCIPAL}.pem", folder / f"{PRINCIPAL}.key"
        self.flags = ["--client-cert", mine[0], "--client-key", mine[1]]
        self.settings = {
            "BANCHECK_AUTH": "on",
            "BANCHECK_TLS_CERT": str(folder / "server.pem"),
            "BANCHECK_TLS_KEY": str(folder / "server.key"),
            "BANCHECK_TLS_CLIENT_CA": str(self.root),
            "BANCHECK_CA": str(self.root),
        }

    def make(self, name, extension, by=None):
        key, certificate = self.folder / f"{name}.key", self.folder / f"{name}.pem"
        signed = ["-CA", self.folder / f"{by}.pem", "-CAkey", self.folder / f"{by}.key"] if by else []
        output(
            ["openssl", "req", "-x509", "-config", self.folder / "openssl.cnf", "-days", "2", "-nodes"]
            + ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={name}"]
            + ["-addext", extension, "-keyout", key, "-out", certificate, *signed]
        )


def write(results, facts, into):
    """docs/performance/credentials.md."""
    costs = {kind: results.median("credentials", kind, "cpu") for kind in KINDS}
    rows = []
    for kind, name in KINDS.items():
        row = [
            spread(results.all("credentials", kind, what), results.median("credentials", kind, what))
            for what in ("rate", "cpu")
        ]
        rows.append([name, *row, f"{costs[kind] / costs['nothing']:.2f}"])
    page = [
        "# What a credential costs",
        "",
        "Made by `benches/compare credentials`; do not edit. Servers that differ only in who may ask, with a tenth of",
        "`--bans` each, asked in turn by `bancheck bench load` about numbers drawn at random; server on one core, load",
        "on the other. The load has more to do than the server, so what counts is the server's CPU a check, the eight",
        "handshakes of each run included. HTTP/2 as Rust's clients speak it (h2) sends `authorization` letter by letter",
        "with each request, never from its table of headers, so a longer credential costs more; a certificate is shown",
        "once a connection.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        *table(["what", "checks/s", "server CPU a check, µs", "÷ none"], rows),
    ]
    keep(into, "credentials", page)


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

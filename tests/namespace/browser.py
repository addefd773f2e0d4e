"""Chromium with Segment's own SDK for browsers, snippet included, in a network namespace where Segment's names are segue; then the same with
Segment dead, its source retired and segue started anew. Run by tests/story_names.rs: browser.py SEGUE SDKS SCRIPTS SCRATCH"""

import http.server
import json
import os
import ssl
import subprocess
import sys
import threading

from world import API, US_KEY, Scene, run, wait_for

segue, sdks, scripts, scratch = sys.argv[1:]
HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = os.path.join(sdks, "node/node_modules")
CDN_PORT = 9104
# The version that CDN serves; another one stands there after a release of Segment's.
VERSIONS = {"1.84.3": "@segment/analytics-next", "1.70.0": "segment-next-1-70"}


class Cdn(http.server.BaseHTTPRequestHandler):
    """cdn.segment.com: the SDK as it stands in its package, and settings as the stand-in has them."""

    protocol_version = "HTTP/1.1"
    version, standin = None, None

    def do_GET(self):
        files = os.path.join(MODULES, VERSIONS[Cdn.version], "dist/umd")
        if self.path == f"/analytics.js/v1/{US_KEY}/analytics.min.js":
            # The snippet's script finds its write key where Segment writes it in.
            with open(os.path.join(files, "standalone.js"), "rb") as file:
                return self.say(200, "application/javascript", file.read().replace(b"__WRITE_KEY__", US_KEY.encode()))
        if self.path.startswith("/analytics-next/bundles/"):
            path = os.path.join(files, os.path.basename(self.path))
            if os.path.exists(path):
                with open(path, "rb") as file:
                    return self.say(200, "application/javascript", file.read())
        if self.path == f"/v1/projects/{US_KEY}/settings":
            return self.say(200, "application/json", Cdn.standin.ask("GET", self.path).encode())
        self.say(404, "text/plain", b"not found")

    def say(self, status, kind, body):
        self.send_response(status)
        for name, value in [("Content-Type", kind), ("Content-Length", str(len(body))), ("Access-Control-Allow-Origin", "*")]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(port, handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def trust_by_browser(config, home):
    """What `certs export --for browser` says, done."""
    os.makedirs(os.path.join(home, ".pki/nssdb"))
    environment = {**os.environ, "HOME": home}
    run("certutil", "-d", f"sql:{home}/.pki/nssdb", "-N", "--empty-password", env=environment)
    printed = run(segue, "certs", "export", "--for", "browser", "--config", config)
    lines = [line for line in printed.splitlines() if line.startswith("certutil") and "$HOME" in line]
    assert lines, printed
    for line in lines:
        run("sh", "-c", line, env=environment)


def visit(home, label, trusted=True):
    """A visit in a fresh profile: what the page sent, and what it complained of."""
    words = ["node", os.path.join(HERE, "browser.mjs"), "--modules", os.path.join(sdks, "node"), "--write-key", US_KEY, "--label", label]
    ended = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "HOME": home}, timeout=120)
    assert ended.returncode == 0, f"{label}: {ended.stdout}{ended.stderr}"
    visited = json.loads(ended.stdout)
    if trusted:
        assert not visited["complaints"], f"{label}: {visited['complaints']}"
        assert set(visited["kinds"]) == {"page", "identify", "track"}, visited
    return visited


def misuse(home):
    """What somebody could do who has the CA's key: a leaf for another name is refused, by the constraint alone. One for a name of the CA's
    own, made the same way, is taken."""
    certs = os.path.join(scratch, "certs")
    verdicts = {}
    for port, name in [(9443, "bank.example"), (9444, API)]:
        path = lambda ending: os.path.join(scratch, f"{name}.{ending}")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("key"), "-out", path("csr"), "-subj", f"/CN={name}")
        with open(path("ext"), "w") as file:
            file.write(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n")
        run("openssl", "x509", "-req", "-in", path("csr"), "-CA", f"{certs}/intermediate.pem", "-CAkey", f"{certs}/intermediate.key", "-set_serial", str(port),
            "-days", "3", "-extfile", path("ext"), "-out", path("pem"))
        with open(path("chain"), "w") as chain:
            chain.write(open(path("pem")).read() + open(f"{certs}/intermediate.pem").read())
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Cdn)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path("chain"), path("key"))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with open("/etc/hosts", "a") as hosts:
            hosts.write(f"127.0.0.1 {name}\n")
        words = ["node", os.path.join(HERE, "browser.mjs"), "--modules", os.path.join(sdks, "node"), "--open", f"https://{name}:{port}/"]
        verdicts[name] = run(*words, env={**os.environ, "HOME": home}).strip()
    assert "ERR_CERT" in verdicts["bank.example"] and verdicts[API] == "404", verdicts
    print(f"a leaf for another name, signed with the CA's key: {verdicts['bank.example']}")


def names(standin):
    return {event["name"] for event in standin.lines("taken") if event["name"]}


def main():
    cdn = serve(CDN_PORT, Cdn)
    scene = Scene(segue, scratch, web=CDN_PORT)
    Cdn.standin = scene.us
    scene.sidecar.start()
    run(os.path.join(scripts, "front/hosts"), "add", "127.0.0.1")
    home, stranger = os.path.join(scratch, "home"), os.path.join(scratch, "stranger")
    trust_by_browser(scene.config, home)
    os.mkdir(stranger)

    for version in VERSIONS:
        Cdn.version = version
        visited = visit(home, version)
        wait_for("both vendors have what the page sent", lambda: set(visited["ids"]) <= scene.us.ids() & scene.rudder.ids())
        wait_for("and what it sent as it was left", lambda: f"Left {version}" in names(scene.us) & names(scene.rudder))
        assert scene.us.ids() == scene.rudder.ids()
        # From 1.84 on each post has a header that asks for a preflight (clients.md 4.6).
        assert version != "1.84.3" or visited["preflighted"] > 5, visited
        print(f"Chromium, snippet, analytics-next {version}: {len(visited['ids'])} events at both, {visited['preflighted']} posts after a preflight, no complaint")

    misuse(home)
    before = len(scene.rudder.ids())
    visited = visit(stranger, "stranger", trusted=False)
    assert not visited["ids"] and len(scene.rudder.ids()) == before and any("CERT" in text for text in visited["complaints"]), visited
    print("a browser without trust fails closed")

    # Segment is switched off: its source first, at segue.
    scene.sidecar.tell("route", "set", "us", "rudderstack-only", "--yes")
    scene.sidecar.tell("source", "retire", "us", "--yes", "--reason", "the contract ended")
    scene.us.stop()
    cdn.shutdown()
    cdn.server_close()
    scene.sidecar.stop()
    scene.sidecar.start()
    taken = scene.rudder.ids()
    visited = visit(home, "without Segment")
    wait_for("RudderStack has what the page sent", lambda: set(visited["ids"]) <= scene.rudder.ids())
    wait_for("and what it sent as it was left", lambda: "Left without Segment" in names(scene.rudder))
    assert set(visited["ids"]) and not set(visited["ids"]) & taken
    print(f"the same with Segment dead and segue started anew: {len(visited['ids'])} events at RudderStack, no complaint")
    scene.sidecar.stop()


main()

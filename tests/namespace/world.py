"""A small Internet inside a network namespace: Segment's names at public addresses, a name server that knows them, TLS in front of
the stand-ins. Everything ends with the process that made it."""

import http.client
import json
import os
import shlex
import socket
import ssl
import struct
import subprocess
import threading
import time

API, EU, CDN, CDN_SETTINGS = "api.segment.io", "events.eu1.segmentapis.com", "cdn.segment.com", "cdn-settings.segment.com"
# Addresses of the Internet, so that nothing takes them for private ones; here they are loopback's.
ADDRESSES = {API: "52.31.7.1", EU: "52.31.7.2", CDN: "52.31.7.3", CDN_SETTINGS: "52.31.7.4"}
NAME_SERVER = "52.31.7.53"
US_KEY, EU_KEY = "wk_test_names_us_aaaaaaaaaaaa", "wk_test_names_eu_bbbbbbbbbbbb"
US_RUDDER, EU_RUDDER = "wk_test_rudder_us_cccccccc", "wk_test_rudder_eu_dddddddd"
# Whom segue runs as.
NOBODY = 65534
HOSTS = "127.0.0.1 localhost\n::1 localhost\n"

CONFIG = """
listen_tls = "127.0.0.1:443"
listen = "127.0.0.1:8088"
public_host = "api.segment.io"
metrics = "127.0.0.1:9464"
[journal]
dir = "{scratch}/data"
[tls]
dir = "{scratch}/certs"
[segment]
ca_file = "{web_ca}"
resolver = ["{name_server}"]
[rudderstack]
url = "http://127.0.0.1:9103"
[[source]]
name = "us"
segment_write_key = "{us}"
rudderstack_write_key = "{us_rudder}"
route = "both"
[[source]]
name = "eu"
region = "eu"
segment_write_key = "{eu}"
rudderstack_write_key = "{eu_rudder}"
route = "both"
"""


def run(*words, **more):
    return subprocess.run(words, check=True, text=True, capture_output=True, **more).stdout


def wait_for(what, is_so, seconds=30):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


def lay_out():
    """The namespace's addresses, and files of /etc that are its own."""
    run("ip", "link", "set", "lo", "up")
    for address in [*ADDRESSES.values(), NAME_SERVER]:
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    # Ports of servers without root, in this namespace alone.
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w") as setting:
        setting.write("53")


def own_file(path, scratch, content):
    """Puts a file of ours over one of the machine's, in this mount namespace alone."""
    ours = os.path.join(scratch, os.path.basename(path))
    with open(ours, "w") as file:
        file.write(content)
    run("mount", "--bind", ours, path)


def serve_names():
    """Answers for Segment's names, and denies every other one."""
    asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asked.bind((NAME_SERVER, 53))

    def answer(question):
        labels, place = [], 12
        while question[place]:
            labels.append(question[place + 1 : place + 1 + question[place]].decode())
            place += question[place] + 1
        end = place + 5
        (kind,) = struct.unpack(">H", question[place + 1 : place + 3])
        address = ADDRESSES.get(".".join(labels).lower())
        has_answer = address is not None and kind == 1
        flags = 0x8180 if address else 0x8183
        reply = question[:2] + struct.pack(">HHHHH", flags, 1, has_answer, 0, 0) + question[12:end]
        if has_answer:
            reply += struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
        return reply

    def serve():
        while True:
            question, asker = asked.recvfrom(512)
            asked.sendto(answer(question), asker)

    threading.Thread(target=serve, daemon=True).start()


def terminate_tls(address, chain, key, port):
    """Segment's TLS at one of its addresses: what comes is passed on, in the clear, to a stand-in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    listener = socket.create_server((address, 443), backlog=64)

    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for side in (source, sink):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def take(plain):
        try:
            client = context.wrap_socket(plain, server_side=True)
            server = socket.create_connection(("127.0.0.1", port))
        except OSError:
            plain.close()
            return
        threading.Thread(target=pump, args=(server, client), daemon=True).start()
        pump(client, server)

    def serve():
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=take, args=(plain,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


def certify(scratch):
    """A CA of the small Internet, and one certificate for Segment's names by it. Returns the CA's, the chain and its key."""
    path = lambda name: os.path.join(scratch, name)
    names = ",".join(f"DNS:{name}" for name in ADDRESSES)
    for name, subject in [("web-ca", "/CN=a public CA"), ("web", "/CN=segment")]:
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path(f"{name}.key"),
            "-out", path(f"{name}.csr"), "-subj", subject)
    with open(path("ca.ext"), "w") as file:
        file.write("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n")
    with open(path("leaf.ext"), "w") as file:
        file.write(f"subjectAltName={names}\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    run("openssl", "x509", "-req", "-in", path("web-ca.csr"), "-signkey", path("web-ca.key"), "-days", "30", "-extfile", path("ca.ext"), "-out", path("web-ca.pem"))
    run("openssl", "x509", "-req", "-in", path("web.csr"), "-CA", path("web-ca.pem"), "-CAkey", path("web-ca.key"), "-CAcreateserial",
        "-days", "30", "-extfile", path("leaf.ext"), "-out", path("web.pem"))
    return path("web-ca.pem"), path("web.pem"), path("web.key")


class Standin:
    """A vendor's stand-in, in a process of its own."""

    def __init__(self, segue, vendor, port, *keys):
        self.port = port
        flags = [word for key in keys for word in ("--key", key)]
        self.process = subprocess.Popen([segue, "standin", vendor, "--listen", f"127.0.0.1:{port}", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(f"the {vendor} stand-in listens", lambda: is_open("127.0.0.1", port))

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body)
        return connection.getresponse().read().decode()

    def lines(self, what):
        return [json.loads(line) for line in self.ask("GET", f"/__standin/{what}").splitlines()]

    def ids(self):
        """The messageIds of the events that it took."""
        return {event["message_id"] for event in self.lines("taken") if event["verdict"] == "accepted"}

    def stop(self):
        self.process.terminate()
        self.process.wait()


def is_open(address, port):
    try:
        socket.create_connection((address, port), timeout=1).close()
        return True
    except OSError:
        return False


def trusting(segue, config, runtime, *more):
    """The environment in which a runtime trusts segue: the lines that `certs export` prints, taken as they are."""
    printed = run(segue, "certs", "export", "--for", runtime, "--config", config, *more)
    words = [shlex.split(line) for line in printed.splitlines() if line and not line.startswith("#")]
    return dict(word.split("=", 1) for line in words for word in line if "=" in word)


class Sidecar:
    """segue, on port 443 as a user like any other."""

    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]

    def __init__(self, segue, config, log):
        self.segue, self.config, self.log = segue, config, log

    def start(self):
        out = open(self.log, "a")
        words = [*self.user, self.segue, "run", "--config", self.config]
        self.process = subprocess.Popen(words, stdout=out, stderr=out)
        wait_for("segue listens on 443", lambda: is_open("127.0.0.1", 443) or self.process.poll() is not None)
        assert self.process.poll() is None, self.said()

    def stop(self):
        self.process.terminate()
        assert self.process.wait() == 0, self.said()

    def said(self):
        with open(self.log) as file:
            return file.read()

    def tell(self, *words):
        """A command for the running sidecar, by the user that it runs as."""
        run(*self.user, self.segue, *words, "--config", self.config)


class Scene:
    """The small Internet with both regions and RudderStack, and a sidecar that is not started yet."""

    def __init__(self, segue, scratch, web=None):
        os.chmod(scratch, 0o755)
        lay_out()
        own_file("/etc/hosts", scratch, HOSTS)
        own_file("/etc/resolv.conf", scratch, f"nameserver {NAME_SERVER}\n")
        serve_names()
        self.web_ca, chain, key = certify(scratch)
        self.us, self.eu = Standin(segue, "segment", 9101, US_KEY), Standin(segue, "segment", 9102, EU_KEY)
        self.rudder = Standin(segue, "rudderstack", 9103, US_RUDDER, EU_RUDDER)
        ports = {API: 9101, EU: 9102, CDN: web or 9101, CDN_SETTINGS: 9101}
        for name, address in ADDRESSES.items():
            terminate_tls(address, chain, key, ports[name])
        self.config = os.path.join(scratch, "sidecar.toml")
        with open(self.config, "w") as file:
            file.write(CONFIG.format(scratch=scratch, web_ca=self.web_ca, name_server=NAME_SERVER, us=US_KEY, eu=EU_KEY, us_rudder=US_RUDDER, eu_rudder=EU_RUDDER))
        certs, data = os.path.join(scratch, "certs"), os.path.join(scratch, "data")
        run(segue, "certs", "init", "--dir", certs, "--config", self.config)
        os.mkdir(data, 0o700)
        for place in [data, certs, *(os.path.join(certs, name) for name in os.listdir(certs))]:
            os.chown(place, NOBODY, NOBODY)
        self.sidecar = Sidecar(segue, self.config, os.path.join(scratch, "segue.log"))

"""Apps that cannot be changed, in a network namespace where Segment's names are segue: by hosts file, by DNS, by redirect. Run by
tests/story_names.rs as root in namespaces of its own: by_name.py SEGUE SDKS SCRIPTS SCRATCH"""

import json
import os
import subprocess
import sys

from world import API, CDN, CDN_SETTINGS, EU, EU_KEY, HOSTS, NAME_SERVER, NOBODY, US_KEY, Scene, is_open, run, trusting, wait_for

segue, sdks, scripts, scratch = sys.argv[1:]
front = os.path.join(scripts, "front")
# Without what this machine may have apps trust.
PLAIN = {name: value for name, value in os.environ.items() if not name.endswith(("_CA_BUNDLE", "_CA_CERTS")) and not name.startswith(("SSL_CERT", "NODE_"))}


def main():
    scene = Scene(segue, scratch)
    us, eu, rudder, sidecar = scene.us, scene.eu, scene.rudder, scene.sidecar
    sidecar.start()
    apps = Apps(scene.config, scene.web_ca)

    print("== by hosts file")
    run(os.path.join(front, "hosts"), "add", "127.0.0.1")
    run(os.path.join(front, "hosts"), "add", "127.0.0.1")
    assert open("/etc/hosts").read().count(API) == 1, "adding twice leaves one block"
    apps.send("hosts")
    settings = json.loads(apps.fetch(CDN, f"/v1/projects/{US_KEY}/settings"))
    assert settings["integrations"]["Segment.io"]["apiHost"] == "api.segment.io/v1", settings
    assert apps.fetch(CDN_SETTINGS, f"/v1/projects/{US_KEY}/settings")
    # A key of one region, sent to the other's name, still ends where its source lives.
    apps.curl(API, EU_KEY, "eu-by-us-name")
    apps.curl(EU, EU_KEY, "eu-by-its-name")
    apps.distrust("a client without trust")
    consult(scene, apps)
    run(os.path.join(front, "hosts"), "remove")
    assert open("/etc/hosts").read() == HOSTS
    facts, code = doctor(scene, PLAIN)
    assert code == 0 and facts[f"name {API}"]["verdict"] == "note" and "past segue" in facts[f"name {API}"]["what"], facts

    print("== by DNS")
    lines = os.path.join(scratch, "dnsmasq.conf")
    with open(lines, "w") as file:
        file.write(run(os.path.join(front, "dns"), "dnsmasq", "127.0.0.1"))
    words = ["dnsmasq", "--keep-in-foreground", f"--conf-file={lines}", "--no-hosts", "--no-resolv", f"--server={NAME_SERVER}", "--listen-address=127.0.0.2", "--bind-interfaces", "--user=root"]
    name_server = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    wait_for("dnsmasq listens", lambda: is_open("127.0.0.2", 53))
    with open("/etc/resolv.conf", "w") as file:
        file.write("nameserver 127.0.0.2\n")
    apps.send("dns")
    apps.distrust("a client without trust, by DNS")
    with open("/etc/resolv.conf", "w") as file:
        file.write(f"nameserver {NAME_SERVER}\n")
    name_server.terminate()
    name_server.wait()

    print("== by redirect")
    redirect = os.path.join(front, "redirect")
    run(redirect, "on", "--to", "443", "--except-user", str(NOBODY))
    run(redirect, "on", "--to", "443", "--except-user", str(NOBODY))
    apps.send("redirect")
    apps.distrust("a client without trust, redirected")
    run(redirect, "off")
    # What goes past segue is seen to go past it: the way back is open.
    before = len(us.lines("requests"))
    apps.curl(API, US_KEY, "past", ca=scene.web_ca)
    assert len(us.lines("requests")) == before + 1

    wait_for("all is delivered", lambda: apps.sent - {"past"} <= rudder.ids() and apps.sent <= us.ids() | eu.ids())
    of_eu = {id for id in apps.sent if id.startswith("eu-")}
    assert (us.ids(), eu.ids()) == (apps.sent - of_eu, of_eu), "an event at the wrong region"
    assert rudder.ids() == apps.sent - {"past"}
    print(f"{len(apps.sent)} events by hosts file, by DNS and by redirect, each where it belongs")

    print("== without a name server of its own segue does not follow the names back to itself")
    sidecar.stop()
    with open(scene.config) as file:
        without = "".join(line for line in file if not line.startswith("resolver"))
    with open(scene.config, "w") as file:
        file.write(without)
    run(os.path.join(front, "hosts"), "add", "127.0.0.1")
    sidecar.start()
    apps.curl(API, US_KEY, "kept")
    wait_for("RudderStack has it", lambda: "kept" in rudder.ids())
    wait_for("it is told", lambda: "not a public address" in sidecar.said())
    assert "kept" not in us.ids()
    run(os.path.join(front, "hosts"), "remove")
    wait_for("Segment has it as soon as its name leads there", lambda: "kept" in us.ids(), 60)
    sidecar.stop()


def doctor(scene, environment):
    """What `segue doctor` finds, as whoever the app runs as, and how it ends."""
    ended = subprocess.run([*scene.sidecar.user, segue, "doctor", "--json", "--config", scene.config], capture_output=True, text=True, env=environment)
    assert ended.returncode in (0, 3), ended
    return {fact["about"]: fact for fact in json.loads(ended.stdout)["facts"]}, ended.returncode


def consult(scene, apps):
    """It finds nothing wrong where nothing is, and what is wrong where something is, with what to do."""
    facts, code = doctor(scene, {**apps.environment("node"), **apps.environment("python"), **apps.environment("curl")})
    wanted = ["sidecar", "disk", "port", "clock", "listen", "way to Segment", "way to RudderStack", "settings of us", "trust of node", "trust of python", "trust of curl"]
    for about in [*wanted, *(f"name {name}" for name in (API, CDN, CDN_SETTINGS, EU))]:
        assert facts[about]["verdict"] == "ok", facts[about]
    assert code == 0, facts
    facts, code = doctor(scene, PLAIN)
    assert code == 3
    for runtime in ("node", "python", "curl"):
        fact = facts[f"trust of {runtime}"]
        assert fact["verdict"] == "bad" and f"segue certs export --for {runtime}" in fact["fix"], fact
    print(f"segue doctor: {len(facts)} facts, and what an app without trust has to do")


class Apps:
    """Apps with Segment's own SDKs, none of which is told of another host."""

    def __init__(self, config, web_ca):
        self.config, self.web_ca, self.sent = config, web_ca, set()
        self.roots = ["--roots", web_ca]

    def environment(self, runtime):
        # Not root's: whoever segue runs as is not redirected, and apps are somebody else.
        return {**PLAIN, **trusting(segue, self.config, runtime, *self.roots)}

    def send(self, way):
        prefix = f"us-{way}"
        node = ["node", os.path.join(os.path.dirname(__file__), "../sdk/node.mjs"), "--modules", os.path.join(sdks, "node"), "--sdk", "@segment/analytics-node"]
        python = [os.path.join(sdks, "python/bin/python"), os.path.join(os.path.dirname(__file__), "../sdk/python.py")]
        for runtime, words in [("node", node), ("python", python)]:
            told = run(*words, "--host", f"https://{API}", "--write-key", US_KEY, "--count", "12", "--prefix", f"{prefix}-{runtime}", env=self.environment(runtime))
            events = json.loads(told)
            print(f"{events['sdk']}: {len(events['events'])} events by {way}")
            self.sent |= {event["id"] for event in events["events"]}
        self.curl(API, US_KEY, f"{prefix}-curl")

    def curl(self, host, write_key, id, ca=None):
        environment = {**PLAIN, "CURL_CA_BUNDLE": ca} if ca else self.environment("curl")
        body = json.dumps({"type": "track", "event": "E", "userId": "u", "messageId": id, "writeKey": write_key})
        answer = run("curl", "--silent", "--show-error", "--fail", "-d", body, f"https://{host}/v1/track", env=environment)
        assert json.loads(answer) == {"success": True}, answer
        self.sent.add(id)

    def fetch(self, host, path):
        return run("curl", "--silent", "--show-error", "--fail", f"https://{host}{path}", env=self.environment("curl"))

    def distrust(self, who):
        """Fails closed: the handshake is where it ends."""
        ended = subprocess.run(["curl", "--silent", "--cacert", self.web_ca, "-d", "{}", f"https://{API}/v1/track"], capture_output=True, env=PLAIN)
        assert ended.returncode == 60, f"{who}: {ended}"
        script = "fetch('https://api.segment.io/v1/track',{method:'POST',body:'{}'}).then(()=>process.exit(9),error=>{console.log(error.cause.code);process.exit(3)})"
        ended = subprocess.run(["node", "-e", script], capture_output=True, text=True, env=PLAIN)
        assert ended.returncode == 3 and "CERT" in ended.stdout, f"{who}: {ended}"


main()

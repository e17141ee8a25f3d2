"""Measures the quickstart: see quickstart.sh, which calls this."""

import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone

ROOT = pathlib.Path(sys.argv[1])
MUSTER = os.environ["MUSTER_BIN"]
KUBECTL = os.environ["KUBECTL"]
EDITS = int(os.environ.get("QUICKSTART_EDITS", "20"))
MANY = int(os.environ.get("QUICKSTART_MANY", "1000"))
IDLE_SECONDS = float(os.environ.get("QUICKSTART_IDLE", "60"))
LATENCY_LIMIT = 2.0
MEMORY_LIMIT_MIB = 500

TWO_PACKAGES = """\
apiVersion: muster.dev/v1alpha1
kind: PackageBaseline
metadata:
  name: two
spec:
  machineSelector: {}
  packages:
    - {name: openssl, version: latest}
    - {name: curl, version: latest}
  rollout:
    maxUnavailable: 10%
"""

# What each edit writes: a package that comes and goes on every machine, so that each edit needs activities.
TOGGLE = """\
apiVersion: muster.dev/v1alpha1
kind: PackageBaseline
metadata:
  name: toggle
spec:
  machineSelector: {{}}
  packages:
    - name: {package}
      state: {state}
  removals: Allow
  rollout:
    maxUnavailable: 100%
"""

rows = []
failures = []


def row(what, value, limit="", ok=True, within=True):
    """One line of the table. `ok` must be so; `within` is a time's goal, which a busy machine may miss."""
    result = "FAILED" if not ok else "ok" if within else "over"
    rows.append((what, value, limit, result))
    if not ok:
        failures.append(what)
    print(f"  {what}: {value} {'(goal ' + limit + ')' if limit else ''} {result}", flush=True)


class Up:
    """A running `muster up`."""

    def __init__(self, source, state, *more):
        command = [MUSTER, "up", str(source), "--state-dir", str(state), "-o", "json", *more]
        environment = {**os.environ, "RUST_LOG": os.environ.get("RUST_LOG", "warn")}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"muster up ended before it was ready ({self.process.wait()}): {' '.join(command)}")
        self.ready = json.loads(line)

    def kubectl(self, *arguments):
        command = [KUBECTL, "--kubeconfig", self.ready["kubeconfig"], *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def status(self):
        command = [MUSTER, "status", "--kubeconfig", self.ready["kubeconfig"], "-o", "json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def until_converged(self, count, seconds):
        """Asks once a second: kubectl wait would watch each of a thousand machines."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            machines = self.status()["machines"]
            if machines["converged"] == machines["total"] == count:
                return True
            time.sleep(1)
        return False

    def wait_converged(self, seconds, count=20):
        """kubectl wait listens to the API; the loop is for machines that change, or enrol, in between."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            left = max(1, int(end - time.monotonic()))
            try:
                self.kubectl("wait", "fm", "--all", "--for=condition=Converged", f"--timeout={left}s")
            except subprocess.CalledProcessError:
                # No machine yet, or one was not converged in time.
                time.sleep(0.2)
                continue
            machines = self.status()["machines"]
            if machines["converged"] == machines["admitted"] == count:
                return True
            time.sleep(0.2)
        return False

    def peak_mib(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "no end within 30 s"
        self.process.stdout.close()
        return code


class Audit:
    """Reads the audit file from where it was left."""

    def __init__(self, path):
        self.path, self.offset = path, 0

    def read(self):
        """Complete new lines, as objects."""
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


WRITES = ("create", "update", "patch", "delete", "deletecollection")


def is_write(event, resource=None):
    reference = event.get("objectRef", {})
    return (
        event["verb"] in WRITES
        and reference.get("apiGroup") == "muster.dev"
        and (resource is None or reference.get("resource") == resource)
        and event.get("responseStatus", {}).get("code", 0) < 300
    )


def instant(event):
    return datetime.fromisoformat(event["requestReceivedTimestamp"].replace("Z", "+00:00")).timestamp()


def first_command(work):
    """The README's first command, with an end to it."""
    begin = time.monotonic()
    code = subprocess.call(
        [MUSTER, "up", str(ROOT / "examples/quickstart"), "--state-dir", str(work / "first"),
         "--simulate", "20", "--until", "converged", "--timeout", "300s"]
    )
    took = time.monotonic() - begin
    row("quickstart, 20 machines converge", f"{took:.1f} s, exit {code}", "60 s", code == 0, took <= 60)


def tour(up):
    """What the README shows next."""
    listing = up.kubectl("get", "fm,act,pb,kb,mw,br")
    print(listing)
    row("kubectl get fm,act,pb,kb,mw,br", f"{len(listing.splitlines())} lines", "", "fleetmachine.muster.dev/sim-00000" in listing)


def edits(up, folder, audit):
    """From closing an edited file to the first activity's creation, by the audit file's clock."""
    latencies = []
    for edit in range(EDITS):
        audit.read()
        text = TOGGLE.format(package="htop", state="Absent" if edit % 2 else "Present")
        with open(folder / "toggle.yaml", "w") as file:
            file.write(text)
        closed = time.time()
        created, end = None, time.monotonic() + 30
        while created is None and time.monotonic() < end:
            for event in audit.read():
                if created is None and is_write(event, "activities") and event["verb"] == "create" and instant(event) >= closed:
                    created = instant(event)
            time.sleep(0.02)
        if created is None:
            row("edits", f"edit {edit} made no activity within 30 s", "", False)
            return
        latencies.append(created - closed)
        if not up.wait_converged(60):
            row("edits", f"edit {edit} did not converge within 60 s", "", False)
            return
    latencies.sort()
    p95 = latencies[math.ceil(0.95 * len(latencies)) - 1]
    median = latencies[len(latencies) // 2]
    row(f"file closed → activity, p95 of {EDITS}", f"{p95 * 1000:.0f} ms (median {median * 1000:.0f})", "2000 ms", True, p95 <= LATENCY_LIMIT)


def quickstart(work):
    first_command(work)
    folder = work / "quickstart"
    shutil.copytree(ROOT / "examples/quickstart", folder)
    audit_path = work / "edits.audit"
    more = ("--simulate", "20", "--sim-step", "200ms", "--audit", str(audit_path))
    up = Up(folder, work / "edits", *more)
    row("before the edits", "converged", "", up.wait_converged(60))
    tour(up)
    edits(up, folder, Audit(audit_path))
    before = up.status()["machines"]
    code = up.stop()
    row("SIGTERM", f"exit {code}", "", code == 0)
    up = Up(folder, work / "edits", *more)
    same = up.wait_converged(60) and up.status()["machines"]["total"] == before["total"]
    row("stop and start", f"{before['total']} machines go on", "", same)
    up.stop()


def many(work):
    """A thousand machines, from nothing to rest, in one process."""
    folder = work / "many"
    folder.mkdir()
    (folder / "two.yaml").write_text(TWO_PACKAGES)
    audit = Audit(work / "many.audit")
    begin = time.monotonic()
    up = Up(folder, work / "many-state", "--simulate", str(MANY), "--sim-step", "2s", "--audit", str(audit.path))
    converged = up.until_converged(MANY, 600)
    took = time.monotonic() - begin
    row(f"{MANY} machines converge", f"{took:.0f} s", "120 s", converged, took <= 120)
    # The last totals and presence are written within seconds of the last machine.
    row("it comes to rest", "no write for 10 s", "60 s", settle(audit))
    cpu = cpu_seconds(up.process.pid)
    time.sleep(IDLE_SECONDS)
    spent = cpu_seconds(up.process.pid) - cpu
    writes = [event for event in audit.read() if is_write(event)]
    for event in writes[:10]:
        print("    idle write:", event["verb"], event["requestURI"], event.get("userAgent", ""))
    row(f"writes to our objects in {IDLE_SECONDS:.0f} s of idleness", str(len(writes)), "0", not writes)
    row("CPU meanwhile", f"{100 * spent / IDLE_SECONDS:.1f} % of one core")
    peak = up.peak_mib()
    row("peak memory", f"{peak:.0f} MiB", f"{MEMORY_LIMIT_MIB} MiB", peak <= MEMORY_LIMIT_MIB)
    code = up.stop()
    row("SIGTERM", f"exit {code}", "", code == 0)


def settle(audit):
    """Waits for ten seconds without a write, at most for a minute."""
    end, quiet_since = time.monotonic() + 60, time.monotonic()
    while time.monotonic() < end:
        if any(is_write(event) for event in audit.read()):
            quiet_since = time.monotonic()
        if time.monotonic() - quiet_since > 10:
            return True
        time.sleep(0.5)
    return False


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    print(f"{datetime.now(timezone.utc):%H:%M:%S} {MUSTER}")
    with tempfile.TemporaryDirectory(prefix="muster-quickstart.") as folder:
        work = pathlib.Path(folder)
        quickstart(work)
        many(work)
    width = max(len(what) for what, *_ in rows)
    values = max(len(value) for _, value, *_ in rows)
    print()
    for what, value, limit, result in rows:
        print(f"{what:<{width}}  {value:<{values}}  {limit:<8}  {result}")
    if failures:
        sys.exit("broken: " + "; ".join(failures))


main()

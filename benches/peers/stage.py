"""The machine that is measured on: its cores, its servers, and what must not outlive a run."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
HZ = os.sysconf("SC_CLK_TCK")
# Whoever answers is on one core, whoever asks on the other, so that neither is measured with the
# other's work.
SERVER_CORE, LOAD_CORE = 0, 1


def say(text):
    print(f"compare: {text}", file=sys.stderr, flush=True)


class Failed(Exception):
    """What ends the run, in words for whoever started it."""


def output(command, stdin=subprocess.DEVNULL, ends=(0,), **more):
    """What a command prints; that it failed, or ended otherwise than it may, ends the run."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=stdin, **more)
    if done.returncode not in ends:
        raise Failed(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done.stdout


def pinned_to(core):
    """For a process that is about to begin: to stay on a core."""
    return None if core is None else lambda: os.sched_setaffinity(0, {core})


class Stage:
    """A folder and servers, which are gone when the run is over, however it ends."""

    def __enter__(self):
        if len(os.sched_getaffinity(0)) < 2:
            raise Failed("two cores are needed, one for the server and one for the load")
        # Postgres runs under another name, and has to reach its part of it.
        self.folder = Path(tempfile.mkdtemp(prefix="bancheck-compare."))
        self.folder.chmod(0o755)
        self.servers = []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        return self

    def __exit__(self, *_):
        for server in reversed(self.servers):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def begin(self, name, command, keeps_log=True, **more):
        server = Server(name, command, self.folder / f"{name}.log" if keeps_log else None, **more)
        self.servers.append(server)
        return server

    def ports(self, count):
        """Ports that are free, all drawn at once, so that no two are the same."""
        sockets = [socket.socket() for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        numbers = [one.getsockname()[1] for one in sockets]
        for one in sockets:
            one.close()
        return numbers


class Server:
    """A process that answers, with whatever it has started itself."""

    def __init__(self, name, command, log, core=None, environment=None, user=None, end=signal.SIGTERM):
        self.name, self.log, self.end = name, log, end
        with open(log or os.devnull, "wb") as words:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                cwd="/",
                env={**os.environ, **(environment or {})},
                user=user,
                preexec_fn=pinned_to(core),
            )

    def until(self, is_there, seconds=120, pause=0.005):
        """Waits for it to answer."""
        for _ in range(int(seconds / pause)):
            if is_there():
                return self
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended: {self.words()}")
            time.sleep(pause)
        raise Failed(f"{self.name} does not answer: {self.words()}")

    def until_connected(self, port):
        return self.until(lambda: can_connect(port))

    def words(self):
        return self.log.read_text(errors="replace")[-2000:] if self.log else "its log is not kept"

    def processes(self):
        """The processes that it consists of, its own first."""
        parents = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and (fields := stat(folder.name)):
                parents.setdefault(int(fields[1]), []).append(int(folder.name))
        found = [self.process.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    def cpu(self):
        """Seconds of processor time that it has had so far, ended children included."""
        seconds = 0
        for pid in self.processes():
            if fields := stat(pid):
                seconds += sum(map(int, fields[11:15])) / HZ
        return seconds

    def move_to(self, core):
        """Takes it to a core, and what it starts from now on."""
        for pid in self.processes():
            for task in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {core})

    def resident(self):
        """Bytes of resident memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(self.end)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def stat(pid):
    """The fields of /proc/PID/stat after the name, which may hold blanks itself."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False

"""Hosts that are reached by SSH, on one machine: each in namespaces of its own, joined by a bridge.

A host has its own name, processes, addresses, /tmp, /run, /srv, /dev/shm and home folder, and its own
writable view of the Python environment. No route leads out. Needs root, and Debian's openssh-server,
openssh-client, rsync and iproute2.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT = Path(sys.prefix)
PROGRAMS = ("ip", "unshare", "nsenter", "sshd", "ssh", "ssh-keygen", "rsync")
PRIVATE = ("/tmp", "/run", "/srv", "/root")
SHARED = "/srv/interfero"
"""One folder for all hosts, as NFS would give it."""
START_S = 30

SSHD = """
Port 22
HostKey /run/host_key
AuthorizedKeysFile /run/authorized_keys
UsePAM no
StrictModes no
PasswordAuthentication no
PidFile none
MaxStartups 100
Subsystem sftp internal-sftp
"""


def what_is_missing():
    """Why such hosts cannot be made here; empty if they can."""
    if os.getuid() != 0:
        return "needs root"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"needs {', '.join(missing)} (openssh-server openssh-client rsync iproute2)"
    trial = "mount -t tmpfs tmpfs /mnt && mkdir /mnt/l /mnt/u /mnt/w && mount -t overlay overlay " \
        "-o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w /mnt/l"  # fmt: skip
    done = subprocess.run(["unshare", "-m", "-n", "sh", "-c", trial], capture_output=True)
    return "" if done.returncode == 0 else f"no namespaces here: {done.stderr.decode().strip()}"


class Host:
    """One host; files of its private folders lie in `root` of the machine that runs the test."""

    def __init__(self, name, address, network, folder, shared):
        self.name, self.address, self.network = name, address, network
        self.root = folder / name
        self._shared = shared
        self._process = None

    def start(self, names, public_key):
        for private in PRIVATE:
            (self.root / private.lstrip("/")).mkdir(parents=True)
        home, run = self.root / "root", self.root / "run"
        (home / "environment").symlink_to(ENVIRONMENT)
        (home / ".bashrc").write_text("")
        (self.root / "srv/interfero").mkdir()
        (run / "sshd").mkdir()
        (run / "sshd_config").write_text(SSHD)
        (run / "authorized_keys").write_text(public_key)
        (run / "hosts").write_text(names)
        (run / "resolv.conf").write_text("")
        # Without PAM, sshd refuses accounts whose password is locked.
        (run / "shadow").write_text("root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n")
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(run / "host_key")], check=True
        )
        script = run / "start.sh"
        script.write_text(self._script())
        with (self.root / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self.network, "unshare", "-m", "-u", "-i", "-p", "--fork",
                 "--mount-proc", "--kill-child", "bash", "-e", str(script)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._wait_for_sshd()

    def _script(self):
        """Private folders, with what the Python environment needs of them left visible."""
        needed = {ENVIRONMENT, Path(sys.base_prefix), Path(__file__).resolve().parents[2]}
        lines = [
            f"hostname {self.name}",
            "mount --make-rprivate /",
            "mount -t tmpfs tmpfs /dev/shm",
            # What `ray up` installs stays on this host.
            "mount -t tmpfs tmpfs /mnt",
            "mkdir /mnt/upper /mnt/work",
            f"mount -t overlay overlay -o lowerdir={ENVIRONMENT},upperdir=/mnt/upper,"
            f"workdir=/mnt/work {ENVIRONMENT}",
            f"mount --bind {self._shared} {self.root}{SHARED}",
        ]
        for folder in PRIVATE:
            for path in sorted(p for p in needed if p.is_relative_to(folder)):
                lines += [f"mkdir -p {self.root}{path}", f"mount --rbind {path} {self.root}{path}"]
        # /tmp last: the others' originals may lie in it.
        for folder in sorted(PRIVATE, key=lambda f: f == "/tmp"):
            lines.append(f"mount --rbind {self.root}{folder} {folder}")
        for name in ("hosts", "resolv.conf", "shadow"):
            lines.append(f"mount --bind -o ro /run/{name} $(realpath -m /etc/{name})")
        lines.append("exec $(command -v sshd || echo /usr/sbin/sshd) -D -e -f /run/sshd_config")
        return "\n".join(lines) + "\n"

    def _wait_for_sshd(self):
        log, deadline = self.root / "log", time.monotonic() + START_S
        while "Server listening" not in log.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"host {self.name} does not start: {log.read_text()}")
            time.sleep(0.05)

    def run(self, command, *, timeout, **variables):
        """A command on the host, from the repository's root; its output is in the result."""
        (inner,) = self._children()
        environment = {
            "HOME": "/root", "USER": "root", "LANG": "C.UTF-8", "TERM": "dumb",
            "PATH": f"{ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore",
        } | variables  # fmt: skip
        return subprocess.run(
            ["nsenter", "-t", inner, "-m", "-u", "-i", "-n", "-p",
             f"--wd={Path(__file__).resolve().parents[2]}", "env", "-i",
             *(f"{name}={value}" for name, value in environment.items()), "bash", "-c", command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def processes(self, word):
        """Command lines of the host's processes that contain a word."""
        done = self.run("ps -eo args --no-headers -ww", timeout=20)
        return [line for line in done.stdout.splitlines() if word in line and "ps -eo" not in line]

    def _children(self):
        pid = self._process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def stop(self):
        if self._process is not None:
            # --kill-child ends the first process of the host, and with it all others.
            self._process.kill()
            self._process.wait()


@contextmanager
def ssh_hosts(folder, addresses):
    """Hosts by name, each reachable from each by SSH with the key ~/.ssh/id_ed25519 of all.

    Args:
        folder: For their files.
        addresses: (name, address) pairs of one /24 network. The first host holds the bridge.
    """
    shared = folder / "shared"
    shared.mkdir()
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    networks = {name: f"interfero{os.getpid()}-{name}" for name, _ in addresses}
    names = "127.0.0.1 localhost\n" + "".join(f"{ip} {name}\n" for name, ip in addresses)
    hosts = {n: Host(n, ip, networks[n], folder / "hosts", shared) for n, ip in addresses}
    try:
        _join(addresses, networks)
        for host in hosts.values():
            host.start(names, key.with_suffix(".pub").read_text())
            (host.root / "root/.ssh").mkdir()
            shutil.copy(key, host.root / "root/.ssh/id_ed25519")
        yield hosts, shared
    finally:
        for host in hosts.values():
            host.stop()
        for network in networks.values():
            subprocess.run(["ip", "netns", "del", network], check=False, capture_output=True)


def _join(addresses, networks):
    """A bridge in the first host's network, and a cable from each host to it."""
    first = networks[addresses[0][0]]
    for network in networks.values():
        _ip(f"netns add {network}")
        _ip(f"-n {network} link set lo up")
    _ip(f"-n {first} link add bridge type bridge")
    _ip(f"-n {first} link set bridge up")
    for number, (name, address) in enumerate(addresses):
        network = networks[name]
        _ip(f"-n {first} link add port{number} type veth peer name eth0 netns {network}")
        _ip(f"-n {first} link set port{number} master bridge up")
        _ip(f"-n {network} addr add {address}/24 dev eth0")
        _ip(f"-n {network} link set eth0 up")
        # Ray asks which interface would lead out; nothing answers behind this one.
        _ip(f"-n {network} route add default dev eth0")


def _ip(arguments):
    subprocess.run(["ip", *shlex.split(arguments)], check=True, capture_output=True)

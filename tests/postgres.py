"""PostgreSQL as Debian packages it, in a folder and on a port of its own."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import psycopg

from tests.processes import kill_all

ADMIN, WRITER, READER = "postgres", "tracker", "guest"
PASSWORD = "of-the-tracker"
STARTS_IN_S = 120
UNPRIVILEGED, GROUP = "nobody", "nogroup"


def programs():
    """Folder of initdb and postgres, which Debian keeps out of PATH: of the newest version, or None."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: float(p.parents[1].name)
    )
    path = shutil.which("initdb") or (found[-1] if found else None)
    return None if path is None else Path(path).parent


def missing():
    """Why there is no PostgreSQL here; empty if there is."""
    if programs() is None:
        return "needs PostgreSQL (apt-get install postgresql)"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "needs setpriv (util-linux): PostgreSQL refuses to run as root"
    return ""


class Postgres:
    """A server whose database `mlflow` belongs to WRITER; READER may read what is in it."""

    def __init__(self):
        # Not below a test's folder: those are closed to the user that PostgreSQL runs as under root.
        self.folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        (self.folder / "password").write_text(PASSWORD)
        self._as_user = []
        if os.geteuid() == 0:
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, UNPRIVILEGED, GROUP)
            ids = [f"--reuid={UNPRIVILEGED}", f"--regid={GROUP}", "--clear-groups"]
            self._as_user = ["setpriv", *ids]
        self._process = None
        made = self._spawn(
            "initdb", "--auth=scram-sha-256", f"--username={ADMIN}", "--encoding=UTF8",
            f"--pwfile={self.folder}/password", "--locale=C.UTF-8", f"--pgdata={self.folder}/data",
        ).wait(STARTS_IN_S)  # fmt: skip
        assert made == 0, self.log()
        self.start()
        for role in (WRITER, READER):
            self.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'", database="postgres")
        self.sql(f"CREATE DATABASE mlflow OWNER {WRITER}", database="postgres")

    def uri(self, user=WRITER, password=PASSWORD):
        """Of the database, as MLflow takes it."""
        return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/mlflow"

    def start(self):
        """Return when it answers."""
        self._process = self._spawn(
            "postgres", "-D", f"{self.folder}/data", "-p", f"{self.port}", "-h", "127.0.0.1",
            "-k", f"{self.folder}",
        )  # fmt: skip
        deadline = time.monotonic() + STARTS_IN_S
        while True:
            try:
                return self.sql("SELECT 1", database="postgres")
            except psycopg.OperationalError:
                assert self._process.poll() is None, self.log()
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.1)

    def kill(self):
        """SIGKILL to all its processes at once: what it had confirmed is on the disk, nothing else."""
        if self._process is not None:
            kill_all(psutil.Process(self._process.pid))
            self._process.wait()
            self._process = None

    def sql(self, statement, *, user=ADMIN, database="mlflow"):
        """Rows that a statement gives."""
        place = {"host": "127.0.0.1", "port": self.port, "dbname": database}
        with psycopg.connect(**place, user=user, password=PASSWORD, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def let_read(self):
        """READER sees MLflow's tables, which must be there by now."""
        self.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")

    def log(self):
        return (self.folder / "log").read_text()

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder)

    def _spawn(self, name, *arguments):
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*self._as_user, programs() / name, *arguments],
                cwd="/tmp", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

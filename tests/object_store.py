"""An S3-compatible object store (moto) in a process of its own, whose requests need a user's right signature.

This file is that process, too: it obeys the words that come on its standard input.
"""

import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

SERVERS = Path(sys.prefix) / "servers"
"""Where `make faults` installs what such servers need."""
BUCKET, USER, REGION = "team-bucket", "mlflow", "us-east-1"
ACCOUNT = "123456789012"
"""Moto's own."""


def missing(module="moto"):
    """Why there is no such server here; empty if there is."""
    if (SERVERS / module).is_dir():
        return ""
    return f"needs {module} in {SERVERS} (make {SERVERS}/.installed)"


def with_servers(**environment):
    """What a process needs in its environment to import from there."""
    paths = [str(SERVERS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), **environment}


class ObjectStore:
    """Keeps its bucket while it does not answer."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, str(port)], text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **with_servers()},
        )  # fmt: skip
        self.key, self.secret = self._answer()

    def environment(self, **changes):
        """What a client needs: the library, the address and the user's key."""
        return with_servers(
            **{
                "MLFLOW_S3_ENDPOINT_URL": self.endpoint, "AWS_DEFAULT_REGION": REGION,
                "AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret, **changes,
            }
        )  # fmt: skip

    def tell(self, word):
        """`stop`, `start`; `deny` or `allow` writing; `hide`, `show` or `list` the bucket."""
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self._answer()

    def objects(self):
        """Size of each object in bytes, by its name."""
        return self.tell("list")

    def remove(self):
        self.process.kill()
        self.process.communicate()

    def _answer(self):
        line = self.process.stdout.readline()
        assert line, "the object store has ended"
        return json.loads(line)


def serve(port):
    """Obey until the end of the standard input."""
    import boto3
    from moto import settings
    from moto.core.authorization import ActionAuthenticatorMixin
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    place = {"endpoint_url": f"http://127.0.0.1:{port}", "region_name": REGION}
    pair = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
    boto3.client("s3", **place, **pair).create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam", **place, **pair)
    iam.create_user(UserName=USER)
    key = iam.create_access_key(UserName=USER)["AccessKey"]
    pair = {
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }
    iam = boto3.client("iam", **place, **pair)
    buckets, hidden = s3_backends[ACCOUNT]["aws"].buckets, {}
    # It would look there for a bucket that is hidden.
    s3_backends.bucket_accounts.clear()

    def allow(*actions):
        rule = {"Effect": "Allow", "Action": [*actions, "iam:*"], "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
        iam.put_user_policy(UserName=USER, PolicyName="files", PolicyDocument=policy)

    words = {
        "stop": server.stop,
        "start": server.start,
        "allow": lambda: allow("s3:*"),
        "deny": lambda: allow("s3:GetObject", "s3:ListBucket"),
        "hide": lambda: hidden.update({BUCKET: buckets.pop(BUCKET)}),
        "show": lambda: buckets.update(hidden),
        "list": lambda: {name: held.size for name, held in buckets[BUCKET].keys.items()},
    }
    words["allow"]()
    # From here on no request without a right signature and a policy that allows it.
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    check = ActionAuthenticatorMixin._authenticate_and_authorize_s3_action

    def check_headers(self, *arguments, **options):
        # Moto (5.2) looks for a signature there, and not in an address that somebody has signed.
        if "Signature=" not in self.uri:
            check(self, *arguments, **options)

    ActionAuthenticatorMixin._authenticate_and_authorize_s3_action = check_headers
    _say(list(pair.values()))
    for line in sys.stdin:
        _say(words[line.strip()]())


def _say(answer):
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(int(sys.argv[1]))

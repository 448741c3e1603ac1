"""A reverse proxy as teams put one before MLflow: a path, credentials, and at times trouble."""

import http.client
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PREFIX = "/team/mlflow"
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "host"}


class Proxy:
    """Passes on what has the right `Authorization`; `answers` and `delay_s` are its trouble."""

    def __init__(self, port, authorization):
        self.authorization = authorization
        self.answers = []
        """Status codes of the next requests, which are not passed on."""
        self.delay_s = 0.0
        """Between a request that was carried out and its answer."""
        self.read_only = False
        """Whether it lets nothing pass but what reads; MLflow searches by POST."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self):
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Authorization") != proxy.authorization:
                    return self.answer(401, b"Unauthorized")
                if not self.path.startswith(PREFIX + "/"):
                    return self.answer(404, b"no such page")
                if proxy.read_only and self.command != "GET" and not self.path.endswith("/search"):
                    return self.answer(403, b"Forbidden")
                if proxy.answers:
                    return self.answer(proxy.answers.pop(0), b"<html>trouble</html>")
                wanted = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
                wanted.pop("Authorization")
                server = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                server.request(self.command, self.path.removeprefix(PREFIX), content, wanted)
                response = server.getresponse()
                text = response.read()
                time.sleep(proxy.delay_s)
                return self.answer(response.status, text, response.getheader("Content-Type"))

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def answer(self, status, content, kind="text/html"):
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", kind or "application/octet-stream")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True  # The client has given up.

            def log_message(self, *arguments):
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_port}{PREFIX}"

    @contextmanager
    def serving(self):
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

"""A headless Chromium for tests, spoken to in the W3C WebDriver protocol: no package is needed for it.

Debian: `apt-get install chromium chromium-driver`.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

DRIVERS = ("chromedriver", "/usr/lib/chromium/chromedriver")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_S = 120
SCRIPT_S = 240


def found(names):
    return next((path for name in names if (path := shutil.which(name))), None)


class Browser:
    """One window."""

    def __init__(self, address):
        options = {
            "binary": found(BROWSERS),
            # Root and containers have no user namespaces to build a sandbox of.
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                     "--disable-dev-shm-usage"],
        }  # fmt: skip
        wanted = {
            "browserName": "chrome",
            # A browser beside tests that take every core is slow, not stuck: the protocol's 30 s are too few.
            "timeouts": {"script": SCRIPT_S * 1000},
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self._base = address
        value = self._call("POST", "session", {"capabilities": {"alwaysMatch": wanted}})
        self._base = f"{address}/session/{value['sessionId']}"

    def _call(self, verb, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._base}/{path}".rstrip("/"), data, method=verb)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=SCRIPT_S + 60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error

    def open(self, address, width=1280, height=900):
        self.size(width, height)
        self.logs("performance")
        self._call("POST", "url", {"url": address})

    def size(self, width, height):
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def devtools(self, command, **params):
        return self._call("POST", "goog/cdp/execute", {"cmd": command, "params": params})

    def run(self, script, *arguments):
        return self._call("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        """What is seen of an element, which asks no script of the page."""
        found = self._call("POST", "element", {"using": "css selector", "value": selector})
        return self._call("GET", f"element/{next(iter(found.values()))}/text")

    def frame(self, index):
        """Run what follows in a frame of the page; None is the page."""
        self._call("POST", "frame", {"id": index})

    def logs(self, kind):
        return self._call("POST", "se/log", {"type": kind})

    def requests(self):
        """Addresses that the page has asked for since `open`."""
        events = [json.loads(entry["message"])["message"] for entry in self.logs("performance")]
        return [
            e["params"]["request"]["url"]
            for e in events
            if e["method"] == "Network.requestWillBeSent"
        ]

    def console(self):
        """Errors and warnings, refused requests among them."""
        return [entry["message"] for entry in self.logs("browser")]

    def hover(self, x, y):
        self.devtools("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path, whole=False):
        value = self.devtools(
            "Page.captureScreenshot", format="png", captureBeyondViewport=whole,
            **({"clip": self._all()} if whole else {}),
        )  # fmt: skip
        Path(path).write_bytes(base64.b64decode(value["data"]))

    def _all(self):
        size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
        return {**size, "x": 0, "y": 0, "scale": 1}

    def close(self):
        self._call("DELETE", "")


@contextmanager
def chromium():
    """A browser, or None where there is none; ended with its driver."""
    driver = found(DRIVERS)
    if driver is None or found(BROWSERS) is None:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    process = subprocess.Popen(
        [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=environment,
    )  # fmt: skip
    try:
        browser = _opened(f"http://127.0.0.1:{port}")
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(10)


def _opened(address):
    give_up = time.monotonic() + START_S
    while True:
        try:
            return Browser(address)
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.2)

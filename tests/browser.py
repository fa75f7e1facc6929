"""A headless Chromium over its debugging pipe: open a file, click, type, look, and hear complaints.

``--remote-debugging-pipe`` speaks JSON, ended by a zero byte, on file descriptors 3 and 4, so that
no package is needed to drive it.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str | None:
    """$SSLIGHT_BROWSER, or a Chromium on the path."""
    return os.environ.get("SSLIGHT_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in one browser.

    Attributes:
        complaints: Console errors and warnings, uncaught exceptions, blocked or failed requests.
    """

    def __init__(self, program: str, profile: Path, seconds: float = 60) -> None:
        self.complaints: list[str] = []
        self.seconds = seconds
        self._number = 0
        self._rest = b""
        self._session: str | None = None
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        self._out, self._in = ours_out, ours_in
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        flags += ["--no-first-run", "--hide-scrollbars", f"--user-data-dir={profile}"]
        flags += ["--remote-debugging-pipe", "about:blank"]
        # The shell puts our pipes on the numbers that Chromium reads; Python may hold others there.
        redirect = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", redirect, program, *flags],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        targets = self("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + self.seconds
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(deadline - time.monotonic(), 0))
            part = os.read(self._in, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError("the browser said nothing for too long, or is gone")
            self._rest += part
        first, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(first)
        self._listen(message.get("method", ""), message.get("params", {}))
        return message

    def _listen(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(str(details.get("exception", {}).get("description", details)))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(str([arg.get("value") for arg in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if not url.startswith(("file:", "data:", "about:")):
                self.complaints.append(f"asked the network for {url}")

    # ---------------------------------------------------------------- what a person does

    def open(self, page: Path, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self("Emulation.setEmulatedMedia", features=theme)
        self.resize(width, height)
        self("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + self.seconds
        while self.ask("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() < deadline, "the page does not load"
            time.sleep(0.02)

    def resize(self, width: int, height: int) -> None:
        mobile = width < 500
        self("Emulation.setDeviceMetricsOverride", width=width, height=height,
             deviceScaleFactor=1, mobile=mobile)  # fmt: skip

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def place(self, query: str) -> tuple[float, float]:
        """Where the middle of the first element of a query is, scrolled into sight."""
        found = self.ask(
            f"(() => {{ const e = document.querySelector({json.dumps(query)}); if (!e) return null;"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const middle = () => { const b = e.getBoundingClientRect();"
            "return [b.left + b.width / 2, b.top + b.height / 2]; };"
            # Two frames later the scroll is done and its event told.
            "return new Promise(done => requestAnimationFrame(() =>"
            "requestAnimationFrame(() => done(middle())))); })()"
        )
        assert found, f"nothing on the page is {query}"
        return found[0], found[1]

    def move(self, x: float, y: float) -> None:
        self("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, query: str) -> None:
        x, y = self.place(query)
        for kind in ("mousePressed", "mouseReleased"):
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def picture(self, path: Path, whole: bool = False) -> None:
        """Save what is seen, or the whole page."""
        clip = {}
        if whole:
            size = self("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"clip": {**size, "scale": 1}, "captureBeyondViewport": True}
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", **clip)["data"]))

    def close(self) -> None:
        try:
            self._session = None
            self("Browser.close")
        except RuntimeError:
            self.process.terminate()
        self.process.wait(timeout=30)
        os.close(self._in)
        os.close(self._out)

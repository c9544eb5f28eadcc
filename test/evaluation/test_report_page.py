"""The HTML report as a real browser shows it, on a desk and on a phone."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from smotracker_ros.commands.evaluation import compare_app
from smotracker_ros.training.scene_files import write_scene
from smotracker_ros.training.scenes import SceneSettings

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FOUND = next(filter(None, map(shutil.which, BROWSERS)), None)
# width and height in CSS pixels, pixels of the screen for each, and whether the page's viewport counts
SCREENS = {"desk": (1280, 800, 1, False), "phone": (360, 740, 3, True)}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOUND is None, reason="no Chromium: apt-get install chromium-headless-shell"),
]


class Browser:
    """Chromium with one page, by its DevTools protocol over two pipes.

    Attributes:
        events: all that it has told by itself, in order.
    """

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # it reads from descriptor 3 and writes to 4, which must not be taken already
        given = [fcntl.fcntl(number, fcntl.F_DUPFD, 10) for number in (theirs_in, theirs_out)]
        redirected = f'exec "$0" "$@" 3<&{given[0]} 4>&{given[1]}'
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ]
        with (profile.parent / "browser.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", redirected, program, *options, "about:blank"], pass_fds=given, stdout=log, stderr=log
            )
        for number in (theirs_in, theirs_out, *given):
            os.close(number)
        self._to, self._from = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb")
        self._number, self._rest, self._session = 0, b"", {}
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._to.close()
        self._from.close()

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = self._from.read1()
            assert piece, "the browser has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        self._to.write(json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path) -> None:
        """Show a page and wait until it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(str(FOUND), tmp_path_factory.mktemp("browser") / "profile")
    yield found
    found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write_scene(folder / "data" / "scene", SceneSettings(256, 192, 16, 30.0, 3, "static", "infrared"), 4)
    options = ["--data", str(folder / "data"), "--cache", str(folder / "cache"), "--output", str(folder / "out")]
    done = CliRunner().invoke(compare_app, [*options, "--trackers", "bytetrack,sfsort"])
    assert done.exit_code == 0, done.output
    return folder / "out" / "report.html"


@pytest.mark.parametrize("screen", SCREENS)
def test_the_report_can_be_read_on(screen: str, report: Path, browser: Browser) -> None:
    width, height, scale, mobile = SCREENS[screen]
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
    )
    browser.open(report)
    told = [event for event in browser.events if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded",
                                                                     "Runtime.consoleAPICalled")]  # fmt: skip
    assert not told
    asked = [event["params"]["request"]["url"] for event in browser.events
             if event["method"] == "Network.requestWillBeSent"]  # fmt: skip
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}, "it is complete in itself"
    assert browser.evaluate("document.compatMode") == "CSS1Compat"
    assert browser.evaluate("[document.documentElement.lang, document.title]") == ["en", "Trackers on data"]
    pictures = browser.evaluate("[...document.images].map(i => [i.complete, i.naturalWidth, i.alt])")
    assert len(pictures) == 4, "two plots, the worst frame, ids over time"
    assert all(complete and wide >= 300 and text for complete, wide, text in pictures)
    assert len({text for *_, text in pictures}) == 4
    # the page itself does not move sideways; what is wider than the screen moves within its own frame
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("Math.min(...[...document.querySelectorAll('td,p')]"
                            ".map(i => parseFloat(getComputedStyle(i).fontSize)))") >= 14  # fmt: skip
    cut = "[...document.querySelectorAll('table,img')].filter(i => i.getBoundingClientRect().right > innerWidth && " \
          "!['auto', 'scroll'].includes(getComputedStyle(i.parentElement).overflowX)).length"  # fmt: skip
    assert browser.evaluate(cut) == 0
    names = "[...document.querySelectorAll('.wide')].map(i => (i.scrollLeft = 500, " \
            "i.querySelector('td')?.getBoundingClientRect().left >= 0))"  # fmt: skip
    assert browser.evaluate(names)[:2] == [True, True], "trackers' names stay where they are"
    natural = browser.evaluate("[...document.images].map(i => i.clientWidth / i.naturalWidth)")
    assert min(natural) >= 0.6, "captions of plots are large enough"

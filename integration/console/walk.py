#!/usr/bin/env python3
"""Walks every page of the console of a real gateway with a real browser.

    walk.py --tidegate PROGRAM [--pictures FOLDER] [--only WORD]

Needs Playwright for Python and Chromium (`apt-get install chromium`); with `axe-playwright-python` it looks for
faults of accessibility too. Without the first two it says so and ends well: there is nothing to walk with.
Leaves pictures of every page, light, dark and as wide as a phone, in FOLDER. Ends with 1 if something is wrong.
"""

import argparse
import contextlib
import pathlib
import shutil
import sys
import tempfile
import time

import answers
import claims
from door import Door
from stage import Stage

# Every page, by the name of its picture.
PAGES = {
    "overview": "#/", "alarms": "#/alarms", "shares": "#/shares", "share": "#/shares/files",
    "bucket": "#/shares/objects", "policies": "#/policies", "policy": "#/policies/nightly", "sources": "#/sources",
    "targets": "#/targets", "jobs": "#/jobs", "dr": "#/dr", "run": "#/dr/site-b/drill-2026-11",
    "clients": "#/clients", "keys": "#/keys", "audit": "#/audit", "missing": "#/nowhere",
}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 860}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 860}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
# How long a page may take to show what it is about, in milliseconds.
PATIENCE = 20_000


def main():
    """Runs everything; see the head of this file."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--tidegate", required=True, type=pathlib.Path, help="the program")
    options.add_argument("--pictures", type=pathlib.Path, help="a folder for pictures")
    options.add_argument("--only", default="", help="only claims and pages with this word in their name")
    given = options.parse_args()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return _skip("Playwright for Python is not there: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        return _skip("Chromium is not there: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="tidegate-console-") as folder:
        stage = Stage(given.tidegate.resolve(), folder)
        try:
            stage.start()
            stage.fill()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                return _walk(browser, stage, Door(stage.socket), given)
        finally:
            stage.stop()


def _skip(why):
    print(f"the console was not walked: {why}")
    return 0


def _walk(browser, stage, door, given):
    faults = []
    for name, claim in claims.all_claims():
        if given.only in name:
            faults += _tried(name, lambda claim=claim: claim(browser, stage, door.url))
    snapshots = stage.run("snapshot", "list", "files")
    moment = next(one["id"] for one in snapshots if one["name"] == "before-upgrade")
    pages = PAGES | {"browse": f"#/shares/files/browse?at=snapshot:{moment}&path=/reports"}
    for look, settings in LOOKS.items():
        for name, address in pages.items():
            if given.only in name:
                faults += _tried(f"{look} {name}", lambda: _page(browser, settings, f"{door.url}/console/{address}",
                                                                 given.pictures and given.pictures / f"{name}-{look}.png"))
    for fault in faults:
        print(f"FAULT {fault}")
    print(f"{len(faults)} faults")
    return 1 if faults else 0


def _tried(name, what):
    began = time.monotonic()
    try:
        found = list(what() or [])
    except Exception as error:  # Whatever it is, the others are to be walked too.
        found = [f"{type(error).__name__}: {error}"]
    print(f"{'FAULT' if found else 'good '} {name} ({time.monotonic() - began:.1f} s)", flush=True)
    return [f"{name}: {fault}" for fault in found]


@contextlib.contextmanager
def _opened(browser, settings, address):
    """A page, what it complained about, and its context."""
    context = browser.new_context(reduced_motion="reduce", **settings)
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    answers.give(page)
    page.goto(address)
    page.wait_for_selector("h1", timeout=PATIENCE)
    page.wait_for_selector(".page .empty:text-is('Asking the gateway…')", state="detached", timeout=PATIENCE)
    try:
        yield page, said
    finally:
        context.close()


def _page(browser, settings, address, picture):
    with _opened(browser, settings, address) as (page, said):
        # Rates are drawn from the third answer on.
        page.wait_for_timeout(4_500 if "targets" in address else 700)
        if picture:
            picture.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=picture, full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        yield from (f"said {text}" for text in said if "favicon" not in text and "404" not in text)
        if wide > 0:
            yield f"is {wide} pixels wider than the screen"
        if page.evaluate("window.pwned") is not None:
            yield "ran what a name says"
    # Axe makes documents of text, which the policy forbids.
    with _opened(browser, settings | {"bypass_csp": True}, address) as (page, _):
        yield from _axe(page)


def _axe(page):
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        return
    for found in Axe().run(page).response["violations"]:
        if found["impact"] in ("serious", "critical"):
            where = "; ".join(node["html"][:160] for node in found["nodes"][:3])
            yield f"{found['impact']} fault of accessibility: {found['id']}: {found['help']}: {where}"


if __name__ == "__main__":
    sys.exit(main())

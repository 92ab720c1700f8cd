"""What the console claims, each tried with a page of its own. A claim yields what is wrong."""

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request

import answers
from stage import HOSTILE, HOSTILE_FOLDER, RESTORED

# How long something may take to be seen, in milliseconds.
PATIENCE = 20_000
# How long a drill may take.
DRILL_PATIENCE = 180_000


@contextlib.contextmanager
def _page(browser, address, role=None):
    context = browser.new_context(reduced_motion="reduce", accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    if role:
        answers.give(page, role)
    page.goto(address)
    try:
        yield page
    finally:
        context.close()


def _ask(url, path):
    with urllib.request.urlopen(f"{url}/api/v1{path}") as answer:
        return answer.read()


def _moment(url, name="before-upgrade"):
    found = json.loads(_ask(url, "/shares/files/snapshots"))
    return next(f"snapshot:{one['id']}" for one in found if one["name"] == name)


def _browse(url, path, at):
    query = urllib.parse.urlencode({"at": at, "path": path})
    return f"{url}/console/#/shares/files/browse?{query}"


def a_single_file_is_put_back(browser, stage, url):
    """From the list of snapshots to the file, as a person would."""
    name, before, after = RESTORED
    folder, file = name.split("/")
    where = f"/shares/files/file?{urllib.parse.urlencode({'path': '/' + name})}"
    if _ask(url, where) != after:
        yield "the file was not overwritten before"
    with _page(browser, f"{url}/console/#/shares/files") as page:
        page.get_by_role("link", name="before-upgrade").click()
        page.get_by_role("link", name=f"{folder}/").click()
        page.get_by_role("button", name=f"Put {file} back").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_text("Files put back").wait_for()
        dialog.get_by_role("button", name="Put back", exact=True).click()
        page.locator("#notes").get_by_text(f"/{name} is put back: 1 file.").wait_for()
    if _ask(url, where) != before:
        yield "the file does not hold what it held at the snapshot"


def a_file_of_a_snapshot_is_downloaded(browser, stage, url):
    with _page(browser, _browse(url, "/media", _moment(url))) as page:
        with page.expect_download() as started:
            page.get_by_role("link", name="Download large.bin").click()
        if started.value.suggested_filename != "large.bin":
            yield f"it is called {started.value.suggested_filename}"
        with open(started.value.path(), "rb") as file:
            if file.read() != bytes(range(256)) * 8192:
                yield "other bytes came"


def hostile_names_are_text(browser, stage, url):
    with _page(browser, _browse(url, "/reports", _moment(url))) as page:
        page.get_by_text(HOSTILE, exact=True).wait_for()
        if page.locator("main img").count() > 0:
            yield "a name became an image"
        page.get_by_role("button", name=f"Put {HOSTILE} back").click()
        page.get_by_role("dialog").get_by_text(f"Put /reports/{HOSTILE} back").wait_for()
        page.keyboard.press("Escape")
        page.goto(_browse(url, "/", _moment(url)))
        page.get_by_role("link", name=HOSTILE_FOLDER).click()
        page.get_by_text("inside.txt").wait_for()
        if HOSTILE_FOLDER not in page.locator(".crumbs").inner_text():
            yield "the way does not show the folder"
        if page.evaluate("window.pwned") is not None:
            yield "a name was run"


def long_folders_come_in_pages(browser, stage, url):
    with _page(browser, _browse(url, "/many", _moment(url))) as page:
        page.get_by_text("file-0000.bin").wait_for()
        first = page.locator("tbody tr").count()
        page.get_by_role("link", name="Next page").click()
        page.get_by_text("file-0259.bin").wait_for()
        rest = page.locator("tbody tr").count()
        if first + rest != 260 or page.get_by_text("file-0000.bin").count() > 0:
            yield f"{first} and {rest} files came"


def changes_appear_without_reloading(browser, stage, url):
    with _page(browser, f"{url}/console/#/shares/files") as page:
        page.get_by_role("link", name="before-upgrade").wait_for()
        page.evaluate("window.sameDocument = true")
        button = page.get_by_role("button", name="Publish now")
        button.focus()
        stage.run("snapshot", "create", "files", "seen-live")
        page.get_by_role("link", name="seen-live").wait_for()
        if not page.evaluate("window.sameDocument"):
            yield "the page was loaded again"
        if not button.evaluate("element => element === document.activeElement"):
            yield "the focus was lost"


def a_snapshot_is_taken_removed_brought_back_and_ended(browser, stage, url):
    with _page(browser, f"{url}/console/#/shares/files") as page:
        page.get_by_role("button", name="Take a snapshot").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("by <b>hand</b>")
        dialog.get_by_role("button", name="Take a snapshot").click()
        page.get_by_role("link", name="by <b>hand</b>").wait_for()
        remove = page.get_by_role("button", name="Remove snapshot by <b>hand</b>")
        remove.click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        page.get_by_role("button", name="Bring snapshot by <b>hand</b> back").click()
        page.get_by_role("dialog").get_by_role("button", name="Bring back").click()
        remove.click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        page.get_by_role("button", name="End by <b>hand</b> in the bin now").click()
        page.get_by_role("dialog").get_by_role("button", name="End now").click()
        page.get_by_role("link", name="by <b>hand</b>").wait_for(state="detached")


def a_drill_is_begun_and_followed_to_its_end(browser, stage, url):
    with _page(browser, f"{url}/console/#/dr") as page:
        page.get_by_role("button", name="Drill of practice").click()
        page.get_by_role("dialog").get_by_role("button", name="Start a drill").click()
        page.wait_for_url("**/console/#/dr/practice/*")
        run = urllib.parse.unquote(page.url.rsplit("/", 1)[1])
        page.get_by_role("cell", name="check-file").wait_for()
        # Said once it has ended and taken away what it made.
        page.get_by_text("Everything", exact=True).wait_for(timeout=DRILL_PATIENCE)
        shown = page.get_by_role("cell", name="done", exact=True).count()
        if shown != 3:
            yield f"{shown} steps are shown as done"
        page.get_by_role("link", name="practice").click()
        page.get_by_role("link", name=run).wait_for()
    report = json.loads(_ask(url, f"/runbooks/practice/runs/{run}"))
    if report["outcome"] != "done" or report["mode"] != "drill" or not report["torn_down"]:
        yield f"the run ended as {report['outcome']} of {report['mode']}, taken away: {report['torn_down']}"
    if report["rto_checked"]["measured_ms"] is None:
        yield "it was not measured"


def a_keyboard_suffices(browser, stage, url):
    with _page(browser, f"{url}/console/#/shares/files") as page:
        page.get_by_role("link", name="before-upgrade").wait_for()
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") != "skip":
            yield "the first stop is not the way to the content"
        page.keyboard.press("Enter")
        if page.evaluate("document.activeElement.id") != "main":
            yield "the way to the content does not lead there"
        button = page.get_by_role("button", name="Take a snapshot")
        button.focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog").wait_for()
        for _ in range(8):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement !== document.body && !document.activeElement.closest('dialog')"):
                yield "the focus leaves the question"
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
        if not button.evaluate("element => element === document.activeElement"):
            yield "the focus does not come back"


def languages_and_looks_are_kept(browser, stage, url):
    with _page(browser, f"{url}/console/") as page:
        page.get_by_role("heading", name="Overview", level=1).wait_for()
        page.get_by_label("Language").select_option("zh")
        page.get_by_role("heading", name="总览", level=1).wait_for()
        page.get_by_label("外观").select_option("dark")
        page.reload()
        page.get_by_role("heading", name="总览", level=1).wait_for()
        if page.evaluate("document.documentElement.lang") != "zh-Hans":
            yield "the document does not say its language"
        if page.evaluate("document.documentElement.dataset.theme") != "dark":
            yield "the look was forgotten"


def nobody_sees_what_the_role_may_not_do(browser, stage, url):
    seen = {
        "viewer": (["Browse files"], ["Take a snapshot", "Publish now", "Roll back", "Remove"]),
        "operator": (["Browse files", "Take a snapshot", "Publish now"], ["Roll back", "Remove"]),
        "admin": (["Take a snapshot", "Roll back", "Remove"], []),
    }
    for role, (there, missing) in seen.items():
        with _page(browser, f"{url}/console/#/shares/files", role) as page:
            page.get_by_text("before-upgrade").wait_for()
            buttons = page.locator("main button").all_inner_texts()
            yield from (f"{role} lacks {name}" for name in there if name not in buttons)
            yield from (f"{role} sees {name}" for name in missing if name in buttons)


def who_has_no_session_logs_in(browser, stage, url):
    state = {"in": False}
    sent = []

    def session(route):
        request = route.request
        if request.method == "POST" and json.loads(request.post_data)["token"] == "right":
            state["in"] = True
        if request.method == "DELETE":
            state["in"] = False
            sent.append(request.headers.get("x-tidegate-csrf"))
            return route.fulfill(status=204)
        body = answers.session("operator") if state["in"] else {"kind": "denied", "message": "nobody"}
        return route.fulfill(status=200 if state["in"] else 401, content_type="application/json", body=json.dumps(body))

    with _page(browser, "about:blank") as page:
        page.route("**/api/v1/session", session)
        page.goto(f"{url}/console/#/jobs")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("This token is not known here").wait_for()
        page.get_by_label("Token").fill("right")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Jobs", level=1).wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_role("heading", name="Log in", level=1).wait_for()
        if sent != [answers.session("operator")["csrf"]]:
            yield "leaving did not carry the value against forged calls"


def a_gateway_that_is_away_is_said(browser, stage, url):
    with _page(browser, f"{url}/console/") as page:
        page.locator("#top").get_by_text("Live", exact=True).wait_for()
        page.route("**/api/v1/**", lambda route: route.abort())
        page.locator("#top").get_by_text("No answer").wait_for()
        page.get_by_role("heading", name="Shares").wait_for()
        page.unroute_all()
        page.locator("#top").get_by_text("Live", exact=True).wait_for()


def the_headers_are_strict(browser, stage, url):
    with urllib.request.urlopen(f"{url}/console/") as answer:
        policy = answer.headers["content-security-policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"):
        if part not in policy:
            yield f"the policy lacks {part}: {policy}"
    if "unsafe" in policy:
        yield f"the policy allows what is not safe: {policy}"
    request = urllib.request.Request(f"{url}/api/v1/shares/files/commit", b"{}", {
        "origin": "http://evil.example", "content-type": "application/json"}, method="POST")
    try:
        urllib.request.urlopen(request)
        yield "a page of another site could change something"
    except urllib.error.HTTPError as error:
        if error.code != 403:
            yield f"a page of another site was answered {error.code}"


def all_claims():
    """Every claim with its name."""
    return [(name, claim) for name, claim in globals().items()
            if callable(claim) and not name.startswith("_") and name != "all_claims"
            and getattr(claim, "__module__", "") == __name__]

"""Answers of calls that a gateway may not have: sessions of roles, plans of recovery, runbooks, lists.

The pages that need them are shown with these where the gateway itself has none, so that they are walked too.
"""

import json

SESSIONS = {
    "viewer": ["read", "browse"],
    "auditor": ["read", "audit"],
    "operator": ["read", "browse", "operate"],
    "admin": ["read", "browse", "operate", "administer", "audit"],
}


def session(role):
    """What a session of a role is."""
    return {"name": f"the-{role}", "role": role, "rights": SESSIONS[role], "csrf": "5" * 32}


def _stage(seconds, objective, size, bound):
    kept = objective is None or seconds <= objective
    return {
        "bytes": size, "requests": 12, "seconds": seconds, "bound": bound,
        **({"objective_seconds": objective, "is_kept": kept} if objective else {}),
    }


RECOVERY = {
    "link": {"target": "main", "latency_ms": 23.5, "bytes_per_second": 118_000_000, "requests_max": 32},
    "shares": [
        {
            "share": "files", "frozen": "2026-11-26T10:04:53Z", "age_seconds": 3, "rpo_seconds": 2,
            "first": _stage(1.4, 30, 212_000, "latency"), "hot": _stage(184, 300, 9_400_000_000, "link"),
            "whole": _stage(90_000, None, 6_000_000_000_000, "link"),
        },
        {
            "share": "projects", "frozen": "2026-11-26T10:04:55Z", "age_seconds": 11, "rpo_seconds": 30,
            "first": _stage(2.1, 30, 410_000, "latency"), "hot": _stage(900, 300, 60_000_000_000, "link"),
            "whole": _stage(7_200, 14_400, 500_000_000_000, "link"),
            "missed": "what was used lately comes in 15 min, not in 5 min: the link is the bound",
        },
    ],
}


def _step(name, standing, began, took, action, note=""):
    return {
        "step": name, "action": action, "after": [], "standing": standing, "attempts": 1 if began is not None else 0,
        "began_ms": began, "took_ms": took, "expected_ms": 2_000, "note": note, "undo": "none",
    }


def report(number, first, checked, outcome="done"):
    """A run of a runbook."""
    return {
        "version": 1, "run": f"drill-2026-{number:02}", "runbook": "site-b", "about": "Serve everything from site B",
        "mode": "drill", "outcome": outcome, "host": "gw-b", "repository": "s3://bucket/tidegate",
        "began": f"2026-{number:02}-01T03:00:00Z", "ended": f"2026-{number:02}-01T03:04:00Z" if outcome else None,
        "rto_first_byte": {"objective_ms": 60_000, "measured_ms": first},
        "rto_checked": {"objective_ms": 60_000, "measured_ms": checked},
        "rpo": {"objective_ms": 30_000, "measured_ms": 4_200}, "shares": [],
        "steps": [
            _step("attach", "done", 0, 2_100, "attach the newest heads as clones"),
            _step("mount", "done", 2_100, 800, "mount the exports"),
            _step("check", "running" if outcome is None else "done", 2_900, 9_000, "read what was used lately"),
            _step("tell", "waiting" if outcome is None else "skipped", None, None, "tell <b>operators</b>"),
        ],
        "torn_down": outcome == "done", "published_meanwhile": 3, "differences": [],
        "events": [[f"2026-{number:02}-01T03:03:00Z", "taking clones away"]],
    }


RUNS = [
    report(5, 41_000, 52_000), report(6, 44_000, 58_500), report(7, 39_500, 50_000), report(8, 47_000, 71_000),
    report(9, 36_000, 49_000), report(10, 31_200, 44_000), report(11, 30_100, None, None),
]

ANSWERS = {
    "/recovery": RECOVERY,
    "/runbooks": [{"name": "site-b", "about": "Serve everything from site B"}],
    "/runbooks/site-b/runs": RUNS,
    "/runbooks/site-b/runs/drill-2026-11": RUNS[-1],
    "/clients": [{"address": "10.0.0.17:812", "door": "nfs", "share": "files", "since": "2026-11-26T10:04:00Z"}],
    "/keys": [{"id": "0a1b2c3d", "kind": "recovery", "state": "opens", "made": "2026-11-26T10:04:00Z"}],
    "/audit": [
        {
            "version": 1, "sequence": 7, "time": "2026-11-26T10:04:00Z", "event": "call", "previous": "00", "digest": "11",
            "entry": {"who": "token:ops", "role": "operator", "from": "10.0.0.3", "call": "POST /shares/{share}/restore",
                      "subject": ["files"], "parameters": {"path": "/<script>"}, "status": 202},
        }
    ],
}


def give(page, role=None):
    """Has a page see these answers, and a session of a role if one is meant."""
    def answer(body, status=200):
        return lambda route: route.fulfill(status=status, content_type="application/json", body=json.dumps(body))

    for path, body in ANSWERS.items():
        page.route(f"**/api/v1{path}", answer(body))
    if role:
        page.route("**/api/v1/session", answer(session(role)))

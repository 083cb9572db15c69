"""The part of the tour that is about who somebody is."""

from __future__ import annotations

import json
from typing import Any

ADMIN = "admin@example.com"
PROXY = "127.0.0.2"  # the tour's trusted proxy; everything else comes from 127.0.0.1


def show_tokens(tour: Any, site: Any) -> None:
    tour.title("A session: sign in, use, refresh, and the theft of a refresh token")
    first = signed_in(tour, site)
    told(tour, "GET /auths/me", site.get(ME, first["token"]))
    second = refreshed(tour, site, "the refresh token", first)
    third = refreshed(tour, site, "its successor", second)
    told(tour, "GET /auths/me", site.get(ME, third["token"]))
    tour.line("Now the first refresh token is used again, by whoever kept a copy")
    told(tour, "POST /auths/refresh", site.post(REFRESH, refresh=first["refresh"]))
    told(tour, "GET /auths/me, with the newest token", site.get(ME, third["token"]))


def show_sign_out(tour: Any, site: Any) -> None:
    tour.title("Signing out is in force with the next request")
    here, there = signed_in(tour, site), signed_in(tour, site)
    told(tour, "GET /auths/sessions", site.get(f"{AUTHS}/sessions", here["token"]))
    told(tour, "POST /auths/signout", site.post(f"{AUTHS}/signout", here["token"]))
    told(tour, "GET /auths/me", site.get(ME, here["token"]))
    told(tour, "GET /auths/me, elsewhere", site.get(ME, there["token"]))
    everywhere = site.post(f"{AUTHS}/signout-everywhere", there["token"])
    told(tour, "POST /auths/signout-everywhere", everywhere)
    told(tour, "GET /auths/me, elsewhere", site.get(ME, there["token"]))


def show_api_keys(tour: Any, site: Any) -> None:
    tour.title("An API key that may read notes, and nothing else")
    token = signed_in(tour, site)["token"]
    made = site.post(KEYS, token, label="the tour", endpoints=["GET /api/v1/notes"])
    told(tour, "POST /auths/api-keys", made)
    key = json.loads(made.body)
    secret = {"Authorization": f"Api-Key {key['key']}"}
    told(tour, "GET /notes", site.ask("GET", NOTES, **secret))
    told(tour, "POST /notes", site.ask("POST", NOTES, {"text": "x"}, **secret))
    told(tour, "GET /auths/me", site.ask("GET", ME, **secret))
    wrong = {"X-API-Key": key["key"].swapcase()}
    told(tour, "GET /notes, the key misspelt", site.ask("GET", NOTES, **wrong))
    site.ask("DELETE", f"{KEYS}/{key['key_id']}", **bearer(token))
    told(tour, "GET /notes, after it was revoked", site.ask("GET", NOTES, **secret))


def show_trusted_header(tour: Any, site: Any) -> None:
    tour.title("A header that names the user is believed from the trusted proxy alone")
    spoofed = {"X-Email": ADMIN}
    path = f"{AUTHS}/signin"
    told(tour, "POST /auths/signin, spoofed", site.ask("POST", path, {}, **spoofed))
    through = site.ask("POST", path, {}, source=PROXY, **spoofed)
    told(tour, "POST /auths/signin, by the proxy", through)
    token = json.loads(through.body)["token"]
    other = {**bearer(token), "X-Email": "demo@example.com"}
    mixed = site.ask("GET", ME, source=PROXY, **other)
    told(tour, "GET /auths/me, the proxy names somebody else", mixed)


AUTHS = "/api/v1/auths"
ME, REFRESH, KEYS = f"{AUTHS}/me", f"{AUTHS}/refresh", f"{AUTHS}/api-keys"
NOTES = "/api/v1/notes"


def told(tour: Any, what: str, answer: Any) -> None:
    tour.answer(what, answer, limits=False)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def signed_in(tour: Any, site: Any) -> Any:
    answer = site.sign_in(ADMIN, site.admin_password)
    told(tour, f"POST /auths/signin, as {ADMIN}", answer)
    return json.loads(answer.body)


def refreshed(tour: Any, site: Any, what: str, pair: Any) -> Any:
    answer = site.post(REFRESH, refresh=pair["refresh"])
    told(tour, f"POST /auths/refresh, with {what}", answer)
    return json.loads(answer.body)

"""What a site is asked in its life, by users, an administrator and strangers."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

import httpx

from tests.secrets.search import Secrets, keys_in

DEMO, ADMIN = "demo@example.com", "admin@example.com"
V1 = "/api/v1"
PROXY_SECRET = "X-Proxy-Word"  # a name that does not betray what it holds
PLANTED = {
    "SECRET_KEY": "planted-Secret-Key-7f3b1d9c5e2a4860b1f7d3c9e5a24680-Secret-Key",
    "JWT_SIGNING_KEY": "planted-Signing-Key-4c8a2e6f0b1d3957c8a2e6f0b1d39574",
    "JWT_OLD_KEYS": "planted-Old-Key-9d5b1f7e3c2a8460d5b1f7e3c2a8460d5b1f7e",
    "API_KEYS_PEPPER": "planted-Pepper-2b6d0f4e8a1c3957b6d0f4e8a1c39572b6d0f4e8",
    "TRUSTED_SECRET": "planted-Proxy-Secret-6e0c4a8f2d1b3957e0c4a8f2d1b39576",
    "REDIS": "planted-Redis-Password-1a5c9e3f7b2d4860a5c9e3f7",
    "DEMO_PASSWORD": "planted-Demo-Password-3e7a1c5f",
    "DEMO_ADMIN_PASSWORD": "planted-Admin-Password-8b2f6d0a",
    "wrong password": "planted-Wrong-Password-5d9b3f7e",
    "new password": "planted-New-Password-0c4e8a2f",
    "admin's new password": "planted-User-Password-7a1e5c9d",
    "wrong proxy secret": "planted-Wrong-Proxy-Secret-2f6b0d4a",
    "wrong token": "planted-Wrong-Token-9c3e7a1f",
    "basic": "planted-Basic-Password-4a8e2c6f",
}


@dataclass
class Answer:
    asked: str
    status: int
    headers: list[tuple[str, str]]
    body: str
    meant: set[str] = field(default_factory=set)  # secrets that it was to tell

    def all_of(self, name):
        return [value for key, value in self.headers if key.lower() == name]


class Course:
    """Asks, and keeps all answers."""

    def __init__(self, url):
        self.secrets = Secrets(**PLANTED)
        self.answers = []
        self.client = httpx.Client(base_url=url, timeout=30)
        self.count = 0

    def ask(self, method, path, token="", **kwargs):
        headers = kwargs.pop("headers", {})
        if token:
            headers = {"Authorization": f"Bearer {token}", **headers}
        found = self.client.request(method, path, headers=headers, **kwargs)
        answer = Answer(
            f"{method} {found.request.url}",
            found.status_code,
            list(found.headers.multi_items()),
            found.text,
        )
        self.answers.append(answer)
        self._learn(answer, found)
        return found

    def _learn(self, answer, found):
        """What was issued is a secret from now on, and this answer may tell it."""
        issued = {}
        is_json = found.headers.get("Content-Type", "").startswith("application/json")
        body = found.json() if is_json and found.text else {}
        if isinstance(body, dict):
            for name in ("token", "refresh"):
                if isinstance(body.get(name), str):
                    issued[name] = (self.secrets.add_token, body[name])
        # A key is shown once: a second page that has it is a leak.
        known = "\n".join(each.body for each in self.answers[:-1])
        for text in keys_in(found.text):
            if text not in known:
                issued[f"API key {text[4:16]}"] = (self.secrets.add_key, text)
        for kind, (add, text) in issued.items():
            name = f"{kind}, issued {len(self.answers)}"
            add(name, text)
            answer.meant.add(name)

    def post(self, path, token="", headers=None, **body):
        return self.ask("POST", V1 + path, token, json=body, headers=headers or {})

    def sign_in(self, email=DEMO, password=PLANTED["DEMO_PASSWORD"], **headers):
        body = {"email": email, "password": password}
        return self.ask("POST", f"{V1}/auths/signin", json=body, headers=headers)

    def me(self, token="", **headers):
        return self.ask("GET", f"{V1}/auths/me", token, headers=headers)

    # -- who signs in --------------------------------------------------------------

    def sign_ins(self):
        wrong = PLANTED["wrong password"]
        assert self.sign_in(password=wrong).status_code == 401
        assert self.sign_in("nobody@example.com", wrong).status_code == 401
        assert self.sign_in("no address", wrong).status_code == 400
        assert self.sign_in(wrong, wrong).status_code == 400
        for body in (
            f'{{"email": "{DEMO}", "password": "{wrong}"',
            f'{{"email": "{DEMO}", "password": {{"x": "{wrong}"}}}}',
            f'{{"email": "{DEMO}", "password": "{wrong}\\u0000"}}',
            f'["{wrong}"]',
            '{"x":' * 2000 + f'"{wrong}"',
        ):
            kind = {"Content-Type": "application/json"}
            self.ask("POST", f"{V1}/auths/signin", content=body, headers=kind)
        form = {"email": DEMO, "password": wrong}
        assert self.ask("POST", f"{V1}/auths/signin", data=form).status_code == 415

    def sessions(self):
        first = self.sign_in().json()
        assert self.me(first["token"]).status_code == 200
        second = self.post("/auths/refresh", refresh=first["refresh"]).json()
        third = self.post("/auths/refresh", refresh=second["refresh"]).json()
        reused = self.post("/auths/refresh", refresh=first["refresh"])
        assert reused.status_code == 401
        assert self.me(third["token"]).status_code == 401
        here, there = self.sign_in().json(), self.sign_in().json()
        self.ask("GET", f"{V1}/auths/sessions", here["token"])
        admin = self.sign_in(ADMIN, PLANTED["DEMO_ADMIN_PASSWORD"]).json()
        foreign = self.post("/auths/signout", here["token"], refresh=admin["refresh"])
        assert foreign.status_code == 400
        self.post("/auths/signout", there["token"], refresh=there["refresh"])
        assert self.me(there["token"]).status_code == 401
        again = self.sign_in().json()
        assert self.post("/auths/signout-everywhere", again["token"]).status_code == 200

    def bad_tokens(self):
        token = self.sign_in(ADMIN, PLANTED["DEMO_ADMIN_PASSWORD"]).json()["token"]
        wrong = PLANTED["wrong token"]
        for value in (
            f"Bearer {wrong}",
            f"Bearer {token}{wrong}",
            f"Bearer {wrong}.{wrong}.{wrong}",
            f"Bearer {token} {wrong}",
            f"Bearer {wrong},{token}",
            f"Bearer {wrong}\u00ff",
            f"Api-Key {wrong}",
            f"Api-Key pgk_{wrong}",
            f"Basic {PLANTED['basic']}",
            wrong,
        ):
            raw = [("Authorization", value.encode("latin-1"))]
            self.ask("GET", f"{V1}/auths/me", headers=dict(raw))
        self.post("/auths/refresh", refresh=wrong)
        self.post("/auths/refresh", refresh=token)
        self.post("/auths/signout", refresh=wrong, token=token)
        self.me(**{"X-API-Key": wrong})
        self.me(token, **{"X-API-Key": token})

    def passwords(self):
        token = self.sign_in().json()["token"]
        old, new = PLANTED["DEMO_PASSWORD"], PLANTED["new password"]
        wrong = PLANTED["wrong password"]
        path = "/auths/password"
        refused = self.post(path, token, password=wrong, new_password=new)
        assert refused.status_code == 400
        refused = self.post(path, token, password=old, new_password=DEMO)
        assert refused.status_code == 400
        changed = self.post(path, token, password=old, new_password=new)
        assert changed.status_code == 200
        token = changed.json()["token"]
        assert self.post(path, token, password=new, new_password=old).status_code == 200

    def trusted_header(self):
        good, wrong = PLANTED["TRUSTED_SECRET"], PLANTED["wrong proxy secret"]
        told = {"X-Email": "ann@example.com", PROXY_SECRET: good}
        ann = self.ask("POST", f"{V1}/auths/signin", json={}, headers=told)
        assert ann.status_code == 200
        forged = {**told, PROXY_SECRET: wrong}
        self.ask("POST", f"{V1}/auths/signin", json={}, headers=forged)
        token = ann.json()["token"]
        mixed = self.me(token, **{**told, "X-Email": DEMO})
        assert mixed.status_code == 401
        self.me(token, **forged)
        broken = {**told, "X-Email": "ann@, eve@"}
        self.ask("POST", f"{V1}/auths/signin", json={}, headers=broken)

    # -- API keys ------------------------------------------------------------------

    def api_keys(self):
        token = self.sign_in().json()["token"]
        path = "/auths/api-keys"
        made = self.post(path, token, label="a", endpoints=["GET /api/v1/notes"])
        assert made.status_code == 201
        key, key_id = made.json()["key"], made.json()["key_id"]
        notes = f"{V1}/notes"
        for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
            assert self.ask("GET", notes, headers=headers).status_code == 200
            assert self.ask("POST", notes, headers=headers).status_code == 403
            assert self.ask("GET", V1 + path, headers=headers).status_code == 403
        both = {"X-API-Key": key, "Authorization": f"Api-Key {key[::-1]}"}
        assert self.ask("GET", notes, headers=both).status_code == 401
        for text in (key[:-1], key.swapcase(), key + "x"):
            assert self.me(**{"X-API-Key": text}).status_code == 401
        self.post(path, token, label=key, endpoints=["no rule"])
        rotated = self.post(f"{path}/{key_id}/rotate", token, overlap="1h")
        assert rotated.status_code == 201
        self.ask("GET", V1 + path, token)
        for each in (key_id, rotated.json()["key_id"]):
            gone = self.ask("DELETE", f"{V1}{path}/{each}", token)
            assert gone.status_code == 204
        assert self.ask("GET", notes, headers=both).status_code == 401
        assert self.me(**{"X-API-Key": key}).status_code == 401

    # -- the admin -------------------------------------------------------------------

    def submit(self, path, **form):
        token = self.client.cookies.get("csrftoken", "")
        data = {"csrfmiddlewaretoken": token, **form}
        return self.ask("POST", path, data=data)

    def admin_pages(self):
        login = "/admin/login/?next=/admin/"
        self.ask("GET", login)
        wrong = PLANTED["wrong password"]
        self.submit(login, username=ADMIN, password=wrong)
        good = PLANTED["DEMO_ADMIN_PASSWORD"]
        assert self.submit(login, username=ADMIN, password=good).status_code == 302
        self.admin_keys()
        self.admin_users()
        sessions = "/admin/perfguard/tokensession/"
        page = self.ask("GET", sessions).text
        sid = page.partition('name="_selected_action" value="')[2].partition('"')[0]
        assert sid
        self.ask("GET", f"{sessions}{sid}/change/")
        self.submit(sessions, action="sign_out_selected", _selected_action=sid)
        confirmed = {"action": "sign_out_selected", "confirmed": "1", "post": "yes"}
        self.submit(sessions, _selected_action=sid, **confirmed)
        self.ask("GET", sessions)
        self.ask("GET", "/admin/perfguard/revokedtoken/")
        self.ask("GET", "/admin/")  # the latest actions
        assert self.submit("/admin/logout/").status_code == 200
        self.submit_sign_in_of_the_admin()  # a session that stays
        self.client.cookies.clear()

    def admin_keys(self):
        keys = "/admin/perfguard/apikey/"
        owner = {"owner": "1", "label": "of the admin", "rate": ""}
        self.submit(f"{keys}add/", **{**owner, "label": ""})
        page = self.submit(f"{keys}add/", **owner)
        (text,) = set(keys_in(page.text))
        pk = self.newest_key(text)
        for _ in range(2):
            self.ask("GET", f"{keys}{pk}/change/")
        assert self.me(**{"X-API-Key": text}).status_code == 200
        self.submit(f"{keys}{pk}/rotate/", overlap="never")
        page = self.submit(f"{keys}{pk}/rotate/", overlap="1h")
        (second,) = set(keys_in(page.text))
        assert second != text
        self.submit(f"{keys}{pk}/change/", label="other")
        assert self.submit(f"{keys}{pk}/revoke/").status_code == 302
        for path in (keys, f"{keys}{pk}/history/", f"{keys}{pk}/change/"):
            self.ask("GET", path)

    def newest_key(self, text):
        page = self.ask("GET", f"/admin/perfguard/apikey/?q={text[4:16]}").text
        return page.partition('name="_selected_action" value="')[2].partition('"')[0]

    def admin_users(self):
        users, password = "/admin/demo/user/", PLANTED["admin's new password"]
        twice = {"password1": password, "password2": password}
        made = self.submit(f"{users}add/", email="eve@example.com", **twice)
        assert made.status_code == 302
        place = made.headers["Location"]
        self.ask("GET", place)
        self.ask("GET", users)
        other = {**twice, "password2": PLANTED["wrong password"]}
        self.submit(place.replace("change/", "password/"), **other)
        self.submit(place.replace("change/", "password/"), **twice)
        self.ask("GET", place)

    # -- what goes wrong -------------------------------------------------------------

    def errors(self, database):
        token = self.sign_in().json()["token"]
        known = {"X-API-Key": PLANTED["wrong token"], PROXY_SECRET: "x"}
        for path in (f"{V1}/nowhere", "/nowhere", "/admin/nowhere", f"{V1}/notes/0"):
            self.ask("GET", path, token, headers=known)
        self.ask("GET", "/", token, headers={"Host": "evil.example.com"})
        self.ask("GET", f"{V1}/auths/me", token, headers={"Host": "evil.example.com"})
        with broken(database, "demo_user"):
            assert self.sign_in().status_code == 500
            headers = {PROXY_SECRET: PLANTED["TRUSTED_SECRET"], "X-Email": DEMO}
            self.ask("POST", f"{V1}/auths/signin", json={}, headers=headers)
            self.submit_sign_in_of_the_admin()
            self.ask("GET", "/admin/", headers={"Cookie": "sessionid=x"})
            self.me(token)
        with broken(database, "perfguard_tokensession"):
            assert self.sign_in().status_code >= 500
        with broken(database, "perfguard_apikey"):
            body = {"label": "x"}
            failed = self.post("/auths/api-keys", token, **body)
            assert failed.status_code == 500

    def submit_sign_in_of_the_admin(self):
        self.ask("GET", "/admin/login/")
        password = PLANTED["DEMO_ADMIN_PASSWORD"]
        self.submit("/admin/login/", username=ADMIN, password=password)

    def without_redis(self, tokens):
        """With Redis gone: tokens and a key of before."""
        pair, other, key, key_id = tokens
        self.me(pair["token"])
        self.me(**{"X-API-Key": key})
        self.sign_in()
        self.post("/auths/refresh", refresh=pair["refresh"])
        self.ask("DELETE", f"{V1}/auths/api-keys/{key_id}", other["token"])
        assert self.post("/auths/signout", other["token"]).status_code == 503
        self.ask("GET", "/ready")

    def tokens(self):
        pair, other = self.sign_in().json(), self.sign_in().json()
        made = self.post("/auths/api-keys", pair["token"], label="kept").json()
        assert self.me(**{"X-API-Key": made["key"]}).status_code == 200
        return pair, other, made["key"], made["key_id"]


class broken:
    """Without a table: a fault that the project knows no answer to."""

    def __init__(self, database, table):
        self.database, self.table = database, table

    def _rename(self, old, new):
        connection = sqlite3.connect(self.database, timeout=30)
        # Otherwise other tables would follow the name.
        connection.execute("PRAGMA legacy_alter_table=ON")
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
        connection.commit()
        connection.close()

    def __enter__(self):
        self._rename(self.table, "away")

    def __exit__(self, *exc):
        self._rename("away", self.table)

"""What the audit log keeps of bodies, headers and URLs, case by case."""

from __future__ import annotations

import json

import pytest

from perfguard.redaction.bodies import redact_body, redact_headers
from perfguard.redaction.patterns import redact_text
from perfguard.redaction.urls import redact_path, redact_url

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
BLANK = "********"


def redact(text, kind=JSON, *, complete=True, limit=2048):
    raw = text if isinstance(text, bytes) else text.encode()
    return redact_body(raw, kind, complete=complete, limit=limit)[0]


JSON_CASES = {
    "nested": (
        '{"a": [{"b": {"token": "x"}}]}',
        '{"a": [{"b": {"token": "********"}}]}',
    ),
    "list on top": ('[{"pin": 1234}, 2]', '[{"pin": "********"}, 2]'),
    "string on top": ('"password=x1"', '"password=********"'),
    "twice": ('{"pin":"1","pin":"2"}', '{"pin":"********","pin":"********"}'),
    "escaped quotes": (r'{"pwd": "a\"b\\", "c": 1}', '{"pwd": "********", "c": 1}'),
    "escaped key": (r'{"p\u0061ssword": "x"}', r'{"p\u0061ssword": "********"}'),
    "a list": ('{"tokens": ["a", ["b"]], "c": 1}', '{"tokens": "********", "c": 1}'),
    "an object": ('{"secret": {"a": {}}, "c": 1}', '{"secret": "********", "c": 1}'),
    "a number": ('{"otp": -1.5e3}', '{"otp": "********"}'),
    "null": ('{"password": null, "otp": true}', '{"password": null, "otp": true}'),
    "numbers": ('{"b": 1.50, "a": 1e2}', '{"b": 1.50, "a": 1e2}'),
    "a byte order mark": ('\ufeff{"pin": 1}', '{"pin": "********"}'),
    "named by a member": (
        '[{"name": "password", "value": "x"}, {"value": {"a": 1}, "key": "api_key"}]',
        '[{"name": "password", "value": "********"}, '
        '{"value":"********", "key": "api_key"}]',
    ),
    "named otherwise": (
        '{"name": "colour", "value": "red"}',
        '{"name": "colour", "value": "red"}',
    ),
    "a patch": (
        '[{"op": "replace", "path": "/user/password", "value": "x"}]',
        '[{"op": "replace", "path": "/user/password", "value": "********"}]',
    ),
    "in a string": (
        r'{"body": "{\"a\": 1, \"pin\": 1234}"}',
        r'{"body": "{\"a\": 1, \"pin\": \"********\"}"}',
    ),
    "a query in a string": (
        r'{"query": "mutation { signIn(password: \"hunter22\") { id } }"}',
        r'{"query": "mutation { signIn(password: \"********\") { id } }"}',
    ),
    "a block string": (
        r'{"query": "{ signIn(password: \"\"\"a \"b\" c\"\"\", id: 1) { x } }"}',
        r'{"query": "{ signIn(password: \"\"\"********\"\"\", id: 1) { x } }"}',
    ),
    "an empty string in a query": (
        r'{"query": "{ signIn(password: \"\", id: 1) { x } }"}',
        r'{"query": "{ signIn(password: \"\", id: 1) { x } }"}',
    ),
    "an error of pydantic": (
        '[{"loc":["body","password",0],"input":"x"},{"input":1,"loc":["body","pin"]}]',
        '[{"loc":["body","password",0],"input":"********"},'
        '{"input":"********","loc":["body","pin"]}]',
    ),
    "an innocent error of pydantic": (
        '{"loc": ["body", "title"], "input": "x"}',
        '{"loc": ["body", "title"], "input": "x"}',
    ),
    "named in capitals": (
        '[{"Name": "password", "Value": "x"}, {"NewValue": 1, "Key": "pin"}]',
        '[{"Name": "password", "Value": "********"}, '
        '{"NewValue":"********", "Key": "pin"}]',
    ),
    "a grant": (
        '{"code": "x", "grant_type": "authorization_code"}',
        '{"code": "********", "grant_type": "authorization_code"}',
    ),
    "a code of an error": ('{"code": "invalid"}', '{"code": "invalid"}'),
    "a JWK": (
        '[{"kty": "oct", "k": "x"}, {"kty": "RSA", "n": "y", "e": "z", "d": "x"}]',
        '[{"kty": "oct", "k": "********"}, '
        '{"kty": "RSA", "n": "y", "e": "z", "d": "********"}]',
    ),
    "a letter as a name": ('{"k": "x", "d": "y"}', '{"k": "x", "d": "y"}'),
    "a URL": (
        '{"url": "https://x/cb?a=1&code=x#key=y", "to": "/b?a=1&barcode=2"}',
        '{"url": "https://x/cb?a=1&code=********#key=********", '
        '"to": "/b?a=1&barcode=2"}',
    ),
    "a grant in a string": (
        '{"body": "code=x&grant_type=authorization_code&client_id=y"}',
        '{"body": "code=********&grant_type=authorization_code&client_id=y"}',
    ),
    "cut in the list that names": (
        '{"input": "x", "loc": ["body", "pass',
        '{"input":"********", "loc": ["body", "********"',
    ),
    "cut in the value": (
        '{"a": 1, "password": "hunt',
        '{"a": 1, "password": "********"',
    ),
    "cut in an escape": (r'{"a": "b c\u00', '{"a": "b ********"'),
    "cut in an object": ('{"secret": {"a": "hun', '{"secret": "********"'),
    "cut in a number": ('{"pin": 12', '{"pin": "********"'),
    "cut in a key": ('{"a": 1, "passw', '{"a": 1, "passw'),
    "cut in a word": ('{"a": tru', '{"a": tru'),
    "cut in a list before the name": ('[{"value": ["x", 1', '[{"value":"********"'),
    "cut before the name": ('[{"value": "x", "na', '[{"value":"********", "na'),
}


@pytest.mark.parametrize(("given", "kept"), JSON_CASES.values(), ids=JSON_CASES)
def test_json(given, kept):
    is_cut = next(name for name, case in JSON_CASES.items() if case[0] == given)
    complete = not is_cut.startswith("cut")
    assert _squeezed(redact(given, complete=complete)) == _squeezed(kept)


def _squeezed(text):
    return text.replace('": "*', '":"*')


INVALID = [
    *(
        '{"password": hunter22}',
        "{'password': 'hunter22'}",
        '{"password": "hunter22"',
        "]",
    ),
    *(
        '{"password": "hunter22"} hunter22',
        '{"a": "hunter22}',
        '{"a" "hunter22"}',
        "{]",
    ),
    *('["hunter22",]', '{"a": "\\x", "b": "hunter22"}', '{"a": 012, "b": "hunter22"}'),
]


@pytest.mark.parametrize("given", INVALID)
def test_what_is_no_json_is_not_kept(given):
    assert redact(given) == f"[unreadable, {len(given)} bytes]"


def test_a_password_that_the_limit_cuts_is_still_redacted():
    text = '{"note": "abc", "password": "hunter22-hunter22"}'
    for limit in range(len(text)):
        for complete in (True, False):
            kept, is_cut = redact_body(
                text.encode(), JSON, complete=complete, limit=limit
            )
            assert "hunt" not in kept
            assert is_cut or "}" in kept


def test_the_limit_counts_bytes_and_halves_no_character():
    text = '["äöü漢字🔑"]'
    for limit in range(len(text.encode())):
        kept, is_cut = redact_body(text.encode(), JSON, complete=True, limit=limit)
        assert text.startswith(kept)
        assert limit - 4 < len(kept.encode()) <= limit
        assert is_cut


def test_an_empty_body_is_an_empty_text():
    assert redact_body(b"", JSON, complete=True, limit=2048) == ("", False)
    assert redact_body(b"", JSON, complete=False, limit=2048) == ("", True)
    assert redact_body(b"{}", JSON, complete=True, limit=0) == ("", True)


MORE_CASES = {
    "json lines": (
        "application/x-ndjson",
        '{"a": 1}\r\n{"pin": 1}\n\n{bad\n[2]',
        '{"a": 1}\r\n{"pin": "********"}\n\n[unreadable, 4 bytes]\n[2]',
    ),
    "json sequence": (
        "application/json-seq",
        '\x1e{"pin": 1}\n',
        '\x1e{"pin": "********"}\n',
    ),
    "problem": ("application/problem+json", '{"otp": "1"}', '{"otp": "********"}'),
    "form": (FORM, "a=1&password=x%20y&b=2", "a=1&password=********&b=2"),
    "form of lists": (
        FORM,
        "u[password]=x&a.pin=1",
        "u[password]=********&a.pin=********",
    ),
    "form, encoded name": (FORM, "p%61ssword=x&a=+", "p%61ssword=********&a=+"),
    "form, encoded twice": (FORM, "p%2561ssword=x", "p%2561ssword=********"),
    "form, semicolons": (FORM, "a=1;password=hunter22", "a=1;password=********"),
    "form, a grant": (
        FORM,
        "grant_type=authorization_code&code=x&client_id=y",
        "grant_type=authorization_code&code=********&client_id=y",
    ),
    "form, a code": (FORM, "code=x&my_grant_type=y", "code=x&my_grant_type=y"),
    "form, named by a pair": (
        FORM,
        "value=x&Name=pass%77ord&a=1",
        "value=********&Name=pass%77ord&a=1",
    ),
    "form, named otherwise": (FORM, "name=colour&value=x", "name=colour&value=x"),
    "form, no names": (FORM, "=x&&a&=", "=x&&a&="),
    "form, JSON within": (
        FORM,
        "p=%7B%22pin%22%3A1%7D",
        "p=%7B%22pin%22:%22********%22%7D",
    ),
    "form that is JSON": (FORM, '{"password": "x"}', '{"password": "********"}'),
    "xml": (
        "text/xml",
        '<a k="1"><ns:Password x="y">p<b/>q</ns:Password><c token="z"/>t</a>',
        '<a k="1"><ns:Password x="y">********</ns:Password><c token="********"/>t</a>',
    ),
    "xml, nested": (
        "application/soap+xml",
        "<pin><pin>1</pin>2</pin><a>3</a>",
        "<pin>********</pin><a>3</a>",
    ),
    "xml, entities": (
        "application/xml",
        '<!DOCTYPE a [<!ENTITY p "hunter22">]><a>&p;</a>',
        "<!********><a>&p;</a>",
    ),
    "html": (
        "text/html; charset=utf-8",
        "<input type=hidden name=csrfmiddlewaretoken value=x><p id=a>hi &amp; you</p>",
        "<input type=hidden name=csrfmiddlewaretoken value=********>"
        "<p id=a>hi &amp; you</p>",
    ),
    "html, a program": (
        "text/html",
        '<script>if (a<b) {c = {"password": "x"}}</script><p>d</p>',
        '<script>if (a<b) {c = {"password": "********"}}</script><p>d</p>',
    ),
    "html, an odd comment": (
        "text/html",
        "<!--><pin>x</pin><!-- a --><p>b</p>",
        "<!--><pin>********</pin><!-- a --><p>b</p>",
    ),
    "events": (
        "text/event-stream",
        'id: 1\ndata: {"a": 1,\ndata:"token": "x"}\n\ndata: [DONE]\n\n',
        'id: 1\ndata: {"a": 1,\ndata:"token": "********"}\n\ndata: [DONE]\n\n',
    ),
    "events, no JSON": (
        "text/event-stream",
        'data: {"password": hunter22}\n\n',
        "data: [unreadable, 22 bytes]\n\n",
    ),
    "text": (
        "text/plain",
        "a\npassword: correct horse\nb pin=12 c",
        "a\npassword: ********\nb pin=******** c",
    ),
    "a table": ("text/csv", "a,b\n1,2\n", "a,b\n1,2\n"),
    "a table of secrets": (
        "text/csv",
        "email,password\na@b,x\n",
        "[text/csv, 21 bytes]",
    ),
    "yaml": ("text/yaml", "password: |\n  hunter22\n", "[text/yaml, 23 bytes]"),
    "an image": ("image/png", "\x89PNG", "[image/png, 5 bytes]"),
    "no text": ("text/plain", "a\0b", "[text/plain, 3 bytes]"),
    "no type": ("", "hunter22", "[unknown, 8 bytes]"),
    "an odd type": ("a\nb/<c>", "hunter22", "[unknown, 8 bytes]"),
    "an odd charset": (f"{JSON}; charset=zlib_codec", '{"a": "ä"}', '{"a": "ä"}'),
}


@pytest.mark.parametrize(("kind", "given", "kept"), MORE_CASES.values(), ids=MORE_CASES)
def test_bodies_of_other_kinds(kind, given, kept):
    assert redact(given, kind) == kept


CUT_CASES = {
    "form": (
        FORM,
        "a=b&p=%7B%22pin%22%3A%221%22%",
        "a=b&p=%7B%22pin%22:%22********%22",
    ),
    "form, a lone value": (FORM, "a=1&sk-0123", "a=1&********"),
    "xml": ("text/xml", "<a>b</a><pin>12", "<a>b</a><pin>********"),
    "xml, a tag": ("text/xml", '<a>b</a><add value="x" na', "<a>b</a><add ********"),
    "text": ("text/plain", "a b ghp_0123", "a b ********"),
    "json lines": (
        "application/x-ndjson",
        '{"a":1}\n{"pin":1',
        '{"a":1}\n{"pin":"********"',
    ),
    "escapes that hide": (FORM, '{"p\\u0069n": hunter22}=', "********="),
}


@pytest.mark.parametrize(("kind", "given", "kept"), CUT_CASES.values(), ids=CUT_CASES)
def test_bodies_of_other_kinds_that_were_cut(kind, given, kept):
    assert redact(given, kind, complete=False) == kept


def test_what_is_no_utf8_is_kept_with_replacements():
    kept, is_cut = redact_body(
        b'{"a": "\xff"}', f"{JSON}; charset=latin-1", complete=True, limit=99
    )
    assert (kept, is_cut) == ('{"a": "\ufffd"}', False)


PARTS = (
    '--b\r\nContent-Disposition: form-data; name="title"\r\n\r\nhello\r\n'
    '--b\r\nContent-Disposition: form-data; name="password"\r\n\r\nhunter22\r\n'
    '--b\r\nContent-Disposition: form-data; name="json"\r\n\r\n{"pin": 1}\r\n'
    '--b\r\nContent-Disposition: form-data; name*0="pass"; name*1=word\r\n\r\nhunt\r\n'
    '--b\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n'
    "Content-Type: image/png\r\n\r\n\x00\x01\r\n--b--\r\nhunter22"
)
MULTIPART = "multipart/form-data; boundary=b"


def test_the_fields_of_a_form_in_parts():
    assert json.loads(redact(PARTS, MULTIPART)) == {
        "title": "hello",
        "password": BLANK,
        "json": '{"pin": "********"}',
        "photo": "[file 'a.png', image/png, 2 bytes]",
    }


def test_a_form_in_parts_that_was_cut():
    cut = PARTS[: PARTS.index("\x01")]
    kept = json.loads(redact(cut, MULTIPART, complete=False))
    assert kept["photo"] == "[file 'a.png', image/png, over 1 bytes]"


@pytest.mark.parametrize(
    "kind",
    ["multipart/form-data", f"{MULTIPART}x", "multipart/form-data; boundary=\xff"],
)
def test_a_form_in_parts_with_another_boundary_is_not_kept(kind):
    assert redact(PARTS, kind) == f"[unreadable, {len(PARTS)} bytes]"


def test_headers(perfguard):
    perfguard(API_KEYS_HEADER="X-Our-Door", TRUSTED_SECRET_HEADER="X-Proxy-Proof")
    kept = redact_headers(
        [
            ("Authorization", "bearer abc"),
            ("Proxy-Authorization", "hunter22 is it"),
            ("Cookie", "sessionid=abc; theme=dark; lone"),
            ("Set-Cookie", "sessionid=abc; Path=/; Max-Age=3; SameSite=Lax; HttpOnly"),
            ("Set-Cookie", "a=b; expires=Sat, 01 Jan 2028 00:00:00 GMT"),
            ("X-API-Key", "abc"),
            ("X-Our-Door", "abc"),
            ("X-Proxy-Proof", "abc"),
            ("Location", "https://ada:x@host/a?next=/b&token=x#access_token=y"),
            ("Accept", "text/html;q=0.9"),
            ("X-Note", "Basic YWRhOnNlY3JldA=="),
            ("WWW-Authenticate", 'Bearer realm="api"'),
        ]
    )
    assert json.loads(kept) == {
        "authorization": f"bearer {BLANK}",
        "proxy-authorization": BLANK,
        "cookie": f"sessionid={BLANK}; theme={BLANK}; {BLANK}",
        "set-cookie": [
            f"sessionid={BLANK}; Path=/; Max-Age=3; SameSite=Lax; HttpOnly",
            f"a={BLANK}; expires=Sat, 01 Jan 2028 00:00:00 GMT",
        ],
        "x-api-key": BLANK,
        "x-our-door": BLANK,
        "x-proxy-proof": BLANK,
        "location": f"https://{BLANK}@host/a?next=/b&token={BLANK}#access_token={BLANK}",
        "accept": "text/html;q=0.9",
        "x-note": f"Basic {BLANK}",
        "www-authenticate": 'Bearer realm="api"',
    }


@pytest.mark.parametrize(
    "scheme",
    ["Basic", "Bearer", "Digest", "Api-Key", "Token", "Negotiate", "DPoP", "JWT"],
)
def test_a_credential_keeps_its_scheme_alone(scheme):
    kept = json.loads(redact_headers([("Authorization", f"{scheme} a, b=c")]))
    assert kept == {"authorization": f"{scheme} {BLANK}"}


@pytest.mark.parametrize(
    "name",
    [
        *("Ocp-Apim-Subscription-Key", "X-Functions-Key", "DD-APPLICATION-KEY"),
        *("Fastly-Key", "aeg-sas-key", "X-Auth", "X-Session", "X-MFA"),
    ],
)
def test_headers_whose_names_say_that_they_are_credentials(name):
    assert json.loads(redact_headers([(name, "x")])) == {name.lower(): BLANK}


@pytest.mark.parametrize(
    "name",
    [
        *("Idempotency-Key", "X-Idempotency-Key", "Sec-WebSocket-Key", "Cache-Key"),
        *("Surrogate-Key", "X-Keyboard", "X-Monkey", "X-Session-Count"),
    ],
)
def test_headers_with_innocent_names(name):
    assert json.loads(redact_headers([(name, "x")])) == {name.lower(): "x"}


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("hx-current-url", "https://x/?code=y", "https://x/?code=********"),
        ("turbo-location", "/?%63ode=y&a=1", "/?%63ode=********&a=1"),
        ("x-accel-redirect", "/f?key=y", "/f?key=********"),
        ("referer", "/in?next=%2Fcb%3Fcode%3Dx", "/in?next=/cb?code=********"),
        ("www-authenticate", "Negotiate YII=, NTLM", "Negotiate ********, NTLM"),
        ("proxy-authenticate", "NTLM TlRMTVNTUAAC", "NTLM ********"),
    ],
)
def test_values_of_headers(name, given, kept):
    assert json.loads(redact_headers([(name, given)])) == {name: kept}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("perfguard.bearer, abc", "perfguard.bearer, ********"),
        ("PERFGUARD.BEARER,abc,chat", "PERFGUARD.BEARER, ********, chat"),
        ("access_token, abc", "access_token, ********"),
        ("chat, Hunter2Zq", "chat, ********"),
        ("v1.token.jupyter.org.4f7a90b1c2d3", "********"),
        *(
            (names, names)
            for names in (
                "graphql-transport-ws, graphql-ws, vite-hmr",
                "v12.stomp, mqttv3.1, ocpp1.6, wamp.2.json, v4.channel.k8s.io",
                "v1.kernel.websocket.jupyter.org, actioncable-v1-json, myApp",
            )
        ),
    ],
)
def test_subprotocols_that_are_no_names_are_blanked(given, kept):
    header = "Sec-WebSocket-Protocol"
    assert json.loads(redact_headers([(header, given)])) == {header.lower(): kept}


URLS = {
    "plain": ("/a/b", "page=2&q=a+b", "/a/b?page=2&q=a+b"),
    "no query": ("/a/b", "", "/a/b"),
    "secret": ("/a", "token=x&a=1&token=y", "/a?token=********&a=1&token=********"),
    "nested": (
        "/a",
        "a[password]=x&u.password=y",
        "/a?a[password]=********&u.password=********",
    ),
    "encoded": ("/a", "%70assword=x", "/a?%70assword=********"),
    "malformed": ("/a", "%zz=%&password%=x&%", "/a?%zz=%&password%=********&%"),
    "semicolon": ("/a", "a=1;password=x", "/a?a=1;password=********"),
    "no names": ("/a", "=&&=x&b", "/a?=&&=x&b"),
    "code": ("/callback", "code=x&state=y", "/callback?code=********&state=y"),
    "url within": ("/a", "next=%2Fb%3Ftoken%3Dx", "/a?next=/b?token=********"),
    "code within": (
        "/a",
        "to=https%3A%2F%2Fx%2Fcb%3Fa%3D1%26code%3Dy&b=1",
        "/a?to=https://x/cb?a=1%26code=********&b=1",
    ),
    "code of a list": (
        "/a",
        "code[]=x&code[0]=y",
        "/a?code[]=********&code[0]=********",
    ),
    "code and a blank": ("/a", "code%20=x&+KEY=y", "/a?code%20=********&+KEY=********"),
    "barcode": ("/a", "barcode=x&code_type=y", "/a?barcode=x&code_type=y"),
    "named by a pair": ("/a", "field=pin&value=1", "/a?field=pin&value=********"),
    "path parameter": ("/a;jsessionid=x", "", "/a;jsessionid=********"),
    "reset link": (
        "/reset/MQ/c0ffee-0123456789abcdef0123456789abcdef/",
        "",
        "/reset/MQ/********/",
    ),
    "encoded path": ("/a%20b/password%3Dx", "", "/a%20b/password=********"),
    "encoded innocent path": ("/a%20b/%C3%A4", "", "/a%20b/%C3%A4"),
}


@pytest.mark.parametrize(("path", "query", "kept"), URLS.values(), ids=URLS)
def test_urls(path, query, kept):
    assert redact_url(path, query) == kept


PATHS = {
    "a token": ("/unlock/hunter22/", {"token": "hunter22"}, "/unlock/********/"),
    "a number": ("/pins/001234/", {"pin": 1234}, "/pins/00********/"),
    "a code": ("/cb/abc/", {"code": "abc"}, "/cb/********/"),
    "encoded": ("/a%20b/p%3aq%C3%A4r/", {"token": "p:qär"}, "/a%20b/********/"),
    "encoded at will": ("/%68unter/", {"secret": "hunter"}, "/********/"),
    "one within the other": (
        "/abc/abcdef/",
        {"pin": "abc", "otp": "abcdef"},
        "/********/********/",
    ),
    "slashes": ("/f/a/b.c/", {"secret": "a/b.c"}, "/f/********/"),
    "innocent": ("/users/hunter22/", {"name": "hunter22"}, "/users/hunter22/"),
    "short": ("/a/ab/", {"token": "ab"}, "/a/ab/"),
    "nothing": ("/None/", {"token": None}, "/None/"),
    "none": ("/a/", {}, "/a/"),
}


@pytest.mark.parametrize(("path", "values", "kept"), PATHS.values(), ids=PATHS)
def test_what_a_route_calls_a_secret_is_not_kept_in_the_path(path, values, kept):
    assert redact_path(path, values) == kept


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
TEXTS = {
    "a JWT": (f"got {JWT}, thanks", "got ********, thanks"),
    "a JWT that was cut": (f"got {JWT[:9]}", "got ********"),
    "a PEM block": (f"a {PEM} b", "a ******** b"),
    "a PEM block without end": (f"a {PEM[:40]}", "a ********"),
    "bearer": ("Bearer abcdef123", "Bearer ********"),
    "basic": ("Basic YWRhOng=", "Basic ********"),
    "userinfo": ("redis://:hunter22@host/0", "redis://********@host/0"),
    "Amazon": ("AKIAIOSFODNN7EXAMPLE", "********"),
    "GitHub": ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "********"),
    "Slack": ("xoxb-1234567890-abcdef", "********"),
    "OpenAI": ("sk-proj-0123456789abcdefghij", "********"),
    "Google": ("AIzaSyA0123456789abcdefghijklmnopqrstuv", "********"),
    "escaped": (r"a \"pin\": \"1\\\"2\" b", r"a \"pin\": \"********\" b"),
    "a block string": ("pin='''a 'b' c''' d", "pin='''********''' d"),
    "an escaped block string": (
        r"\"pin\": \"\"\"a\"\"\" b",
        r"\"pin\": \"\"\"********\"\"\" b",
    ),
    "in quotes": ("'password' => 'a b' c", "'password' => '********' c"),
    "a header": ("Authorization: Bearer abc\nA: b", "Authorization: ********\nA: b"),
    "a command": ("curl -d password=x -v", "curl -d password=******** -v"),
}


@pytest.mark.parametrize(("given", "kept"), TEXTS.values(), ids=TEXTS)
def test_secrets_in_free_text(given, kept):
    assert redact_text(given) == kept


INNOCENT = [
    *("Basic information about tokens", "the password is wrong", "hockeyJersey.size"),
    *(
        "see https://example.com/@ada",
        "10:30 = half past ten",
        "risk-averse task-force",
    ),
    *("Bearer", "eyJ is how they begin", "a: b", "The author: Ada", "max_tokens=20"),
]


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_text_is_left_alone(text):
    assert redact_text(text) == text


def test_api_keys_of_this_project_keep_their_public_id(perfguard):
    key = "_0123456789ab_" + "x" * 49
    assert redact_text(f"it was pgk{key}.") == "it was pgk_0123456789ab_********."
    perfguard(API_KEYS_PREFIX="acme")
    assert redact_text(f"acme{key}") == "acme_0123456789ab_********"


def test_patterns_can_be_added(perfguard):
    perfguard(REDACTED_PATTERNS=[r"\bDE\d{4}\b", "x*", "("])
    assert redact_text("DE1234 or DE12") == "******** or DE12"
    assert redact('{"a": ["DE1234"]}') == '{"a": ["********"]}'
    assert redact_url("/a/DE1234", "") == "/a/********"
    perfguard(REDACTED_PATTERNS=[])
    assert redact_text("DE1234") == "DE1234"

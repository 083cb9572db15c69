"""Requests as servers hand them over, behind a proxy at 10.0.0.1."""

from __future__ import annotations

from django.test import RequestFactory

PROXY = "10.0.0.1"
ANN = "ann@example.com"


def meta(**headers):
    """``meta(email="a@b")`` is what a server makes of ``X-Email: a@b`` in UTF-8."""
    return {
        f"HTTP_X_{name.upper()}": value.encode("utf-8", "surrogateescape").decode(
            "latin-1"
        )
        for name, value in headers.items()
    }


def asking(peer=PROXY, path="/", **headers):
    return RequestFactory().get(path, REMOTE_ADDR=peer, **meta(**headers))


# What must be refused as an address, and why.
NO_ADDRESS = {
    "empty": "",
    "a space": " ",
    "a space before": " ann@example.com",
    "a space after": "ann@example.com ",
    "a space within": "ann smith@example.com",
    "a tab": "ann\t@example.com",
    "a line feed": "ann@example.com\n",
    "a return": "ann@example.com\r",
    "a null": "ann\x00@example.com",
    "delete": "ann\x7f@example.com",
    "no @": "ann.example.com",
    "two @": "ann@example.com@evil.org",
    "two @ in a row": "ann@@example.com",
    "no local part": "@example.com",
    "no domain": "ann@",
    "quoted": '"ann"@example.com',
    "quoted with an @": '"ann@evil"@example.com',
    "an escape": "ann\\@evil@example.com",
    "a comment": "ann(x)@example.com",
    "a display name": "Ann <ann@example.com>",
    "brackets": "<ann@example.com>",
    "two with a semicolon": "ann@example.com;bob@example.com",
    "a dot first": ".ann@example.com",
    "a dot last": "ann.@example.com",
    "two dots": "a..nn@example.com",
    "a dot after": "ann@example.com.",
    "a dot before": "ann@.example.com",
    "two dots in the domain": "ann@example..com",
    "a hyphen first": "ann@-example.com",
    "a hyphen last": "ann@example-.com",
    "an underscore in the domain": "ann@exam_ple.com",
    "an address literal": "ann@[127.0.0.1]",
    "a port": "ann@example.com:25",
    "a URL": "mailto:ann@example.com",
    "too long a label": f"ann@{'x' * 64}.com",
    "too long a local part": f"{'x' * 65}@example.com",
    "too long": f"{'x' * 60}@{'x' * 60}.{'x' * 60}.{'x' * 60}.{'x' * 11}",
    "far too long": f"{'x' * 100_000}@example.com",
    "percent encoding of an @": "ann%40example.com",
    "an encoded word": "=?utf-8?q?ann?=",
    "no UTF-8": "ann\udce9@example.com",
    "an overlong encoding": "ann\udcc1\udc81@example.com",
    "a surrogate in UTF-8": "\udced\udca0\udc80@example.com",
}

# What looks like, folds to, or hides in ann@example.com, kim@... or strasse@...
DECEPTIVE = {
    "long s": "\u017fam@example.com",
    "Kelvin sign": "\u212aim@example.com",
    "dotted capital I": "k\u0130m@example.com",
    "ligature fi": "\ufb01nn@example.com",
    "zero-width space": "ann\u200b@example.com",
    "zero-width joiner": "ann\u200d@example.com",
    "soft hyphen": "an\u00adn@example.com",
    "byte order mark": "\ufeffann@example.com",
    "right-to-left override": "\u202eann@example.com",
    "no-break space": "ann\u00a0@example.com",
    "ideographic space": "ann\u3000@example.com",
    "line separator": "ann\u2028@example.com",
    "full-width letters": "\uff41\uff4e\uff4e@example.com",
    "full-width @": "ann\uff20example.com",
    "small @": "ann\ufe6bexample.com",
    "ideographic full stop": "ann@example\u3002com",
    "one dot leader": "ann@example\u2024com",
    "mathematical letters": "\U0001d41a\U0001d427\U0001d427@example.com",
    "circled letters": "\u24d0nn@example.com",
    "superscript": "ann\u00b9@example.com",
    "not NFC": "jose\u0301@example.com",
    "Angstrom sign": "\u212bnn@example.com",
    "emoji": "ann\U0001f600@example.com",
    "private use": "ann\ue000@example.com",
    "unassigned": "ann\u0378@example.com",
    "noncharacter": "ann\uffff@example.com",
    "C1 control": "ann\u0085@example.com",
}

# Different people's addresses, in other scripts; good where they are allowed.
OTHER_SCRIPTS = {
    "Cyrillic look-alike": "\u0430nn@example.com",
    "Cyrillic ha": "ale\u0445@example.com",
    "sharp s": "stra\u00dfe@example.com",
    "dotless small i": "k\u0131m@example.com",
    "i and a dot above": "ki\u0307m@example.com",
    "an accent": "jos\u00e9@example.com",
    "Greek": "\u03b1\u03bd\u03bd\u03b1@example.com",
    "Devanagari, with marks": "\u0939\u093f\u0928\u094d\u0926\u0940@example.com",
    "Chinese, domain too": "\u7528\u6237@\u4f8b\u5b50.\u5e7f\u544a",
    "Hebrew": "\u05d0\u05e0\u05d4@example.com",
}

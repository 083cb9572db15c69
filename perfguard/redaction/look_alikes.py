"""Letters of other scripts that look like Latin ones."""

from __future__ import annotations

import unicodedata

# From Unicode's confusables (UTS #39), what an ASCII word can be imitated with: of
# Cyrillic, Greek, Armenian and the small capitals. Composed and full-width letters
# are no matter of this table, NFKD takes them apart.
_ALIKE = {
    "a": "\u0430\u03b1\u0251\u1d00",
    "b": "\u044c\u0299",
    "c": "\u0441\u03f2\u1d04",
    "d": "\u0501\u1d05",
    "e": "\u0435\u03b5\u1d07",
    "f": "\ua730",
    "g": "\u0261\u0581\u0262",
    "h": "\u04bb\u0570\u029c\u043d",
    "i": "\u0456\u03b9\u0131\u0269\u026a",
    "j": "\u0458\u03f3\u1d0a",
    "k": "\u043a\u03ba\u1d0b",
    "l": "\u04cf\u029f",
    "m": "\u043c\u1d0d",
    "n": "\u043f\u03b7\u0578\u0274",
    "o": "\u043e\u03bf\u03c3\u0585\u1d0f",
    "p": "\u0440\u03c1\u1d18",
    "q": "\u051b\u0563",
    "r": "\u0433\u0280",
    "s": "\u0455\ua731",
    "t": "\u0442\u03c4\u1d1b",
    "u": "\u03c5\u057d\u1d1c",
    "v": "\u0475\u03bd\u1d20",
    "w": "\u051d\u0461\u03c9\u1d21",
    "x": "\u0445\u03c7",
    "y": "\u0443\u03b3\u028f",
    "z": "\u1d22",
    "A": "\u0410\u0391",
    "B": "\u0412\u0392",
    "C": "\u0421\u03f9",
    "E": "\u0415\u0395",
    "H": "\u041d\u0397",
    "I": "\u0406\u0399\u04c0",
    "J": "\u0408",
    "K": "\u041a\u039a",
    "M": "\u041c\u039c",
    "N": "\u039d",
    "O": "\u041e\u039f",
    "P": "\u0420\u03a1",
    "S": "\u0405",
    "T": "\u0422\u03a4",
    "U": "\u054d",
    "W": "\u051c",
    "X": "\u0425\u03a7",
    "Y": "\u0423\u03a5",
    "Z": "\u0396",
}
_LATIN = str.maketrans(
    {letter: latin for latin, letters in _ALIKE.items() for letter in letters}
)
# Controls, invisible characters, accents, and what was no character at all.
_UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Mn", "Me"}


def fold(text: str) -> str:
    """The text as a reader sees it, in Latin letters where it can be."""
    if text.isascii() and text.isprintable():
        return text
    apart = unicodedata.normalize("NFKD", text.replace("\ufffd", ""))
    seen = (char for char in apart if unicodedata.category(char) not in _UNSEEN)
    return "".join(seen).translate(_LATIN)

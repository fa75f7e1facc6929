"""Leave secrets out of what a page shows: it will be mailed and put on web pages."""

from __future__ import annotations

import re
from typing import Any

#: What stands in a secret's place.
HIDDEN = "(left out)"

#: Words that make a key a secret's. ``_``, ``-``, ``.`` and capitals part a key into words.
_WORDS = {
    *("token", "password", "passwd", "passphrase", "pwd", "secret", "key", "apikey", "credential"),
    *("credentials", "auth", "authorization", "bearer", "cookie", "signature", "sig", "sas"),
}
#: Keys of sslight's own that hold such a word and no secret.
_HARMLESS = {"label_key", "image_key", "class_token", "mask_token"}

_SPLIT = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
_PAIR = re.compile(r"([\w.-]+)(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s&,;}\])]+)")
_KNOWN = re.compile(
    r"\b(hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}|sk-[\w-]{20,}|xox[abprs]-[\w-]{10,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+)"
)


def is_secret(key: str) -> bool:
    """Whether a config key, the last part of a full one, holds a secret."""
    name = key.rpartition(".")[2]
    words = {word.lower() for word in _SPLIT.split(name)}
    return name not in _HARMLESS and bool(words & _WORDS)


def clean_text(text: str) -> str:
    """Leave out logins in URLs, ``token=...`` pairs and tokens whose makers gave them a mark."""
    text = _LOGIN.sub(f"{HIDDEN}@", text)
    text = _PAIR.sub(_without_value, text)
    return _KNOWN.sub(HIDDEN, text)


def _without_value(pair: re.Match[str]) -> str:
    secret = is_secret(pair[1]) and not _is_plain(pair[3])
    return f"{pair[1]}{pair[2]}{HIDDEN}" if secret else pair[0]


def _is_plain(value: str) -> bool:
    """A number, a switch or an interpolation tells nothing."""
    word = value.strip("\"'").lower()
    plain = word in ("true", "false", "null", "none", "") or word.startswith(("${", HIDDEN[:5]))
    return plain or word.replace(".", "", 1).isdigit()


def clean(value: Any, key: str = "") -> Any:
    """Return a copy of nested dicts, lists and texts without secrets.

    Under a secret's key every text is left out, however deep it lies.
    """
    hidden = bool(key) and is_secret(key)
    if isinstance(value, dict):
        return {name: clean(entry, key if hidden else str(name)) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [clean(entry, key) for entry in value]
    if not isinstance(value, str):
        return value
    if hidden and not _is_plain(value):
        return HIDDEN
    return value if value.startswith("data:image/") else clean_text(value)

from __future__ import annotations

import pytest

from sslight.reports.secrets import HIDDEN, clean, clean_text, is_secret


@pytest.mark.parametrize(
    "key",
    ["token", "hub_token", "api_key", "apiKey", "key", "PASSWORD", "db.password", "aws-secret"],
)
def test_keys_of_secrets(key):
    assert is_secret(key)
    assert clean({key: "hunter2"}) == {key: HIDDEN}


@pytest.mark.parametrize("key", ["monkey", "label_key", "tokens_per_image", "keys_seen", "author"])
def test_other_keys(key):
    assert clean({key: "label"}) == {key: "label"}


def test_numbers_switches_and_interpolations_stay():
    tree = {"class_token": True, "token": None, "key": 3, "api_key": "${oc.env:API_KEY}"}
    assert clean(tree) == tree


def test_everything_below_a_secret_s_key_is_left_out():
    tree = {"credentials": {"user": "ann", "more": ["b", 2]}}
    assert clean(tree) == {"credentials": {"user": HIDDEN, "more": [HIDDEN, 2]}}


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("https://ann:hunter2@example.org/x.tar", "hunter2"),
        ("s3 at https://example.org/a?x=1&X-Amz-Signature=abcdef12&y=2", "abcdef12"),
        ("sslight fit --config a data.token=abc_def lr=1", "abc_def"),
        ('{"password": "hunter2"}'.replace('"password": ', "password: "), "hunter2"),
        ("used hf_abcdefghijklmnopqrst to log in", "hf_abcdefghijklmnopqrst"),
        ("AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP"),
    ],
)
def test_secrets_in_texts(text, secret):
    assert secret not in clean_text(text)
    assert HIDDEN in clean_text(text)


def test_plain_texts_and_pictures_are_untouched():
    for text in ("lr=0.1 epochs=3", "photos/cat/1.jpg", "data:image/jpeg;base64,key=abcd"):
        assert clean(text) == text

import pytest

from interfero.redaction import masked_inside, without_secrets

SECRETS = {
    "MLFLOW_TRACKING_URI": "https://ann:hunter2secret@host:5000",
    "MLFLOW_TRACKING_TOKEN": "tok-12345678",
    "AWS_SECRET_ACCESS_KEY": "abcd/efgh+ijkl",
    "RAY_AUTH_TOKEN_PATH": "/home/ann/.ray/auth_token",
    "PASSWORD_HINT": "x",
    "LANG": "C.UTF-8",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run.py --x https://ann:pw@host/x", "run.py --x https://***@host/x"),
        ("login of hunter2secret failed", "login of *** failed"),
        ("header tok-12345678!", "header ***!"),
        ("key abcd/efgh+ijkl", "key ***"),
        ("s3://bucket?secret_key=zzz&region=x", "s3://bucket?secret_key=***&region=x"),
        ("see /home/ann/.ray/auth_token", "see /home/ann/.ray/auth_token"),
        ("x marks C.UTF-8", "x marks C.UTF-8"),
    ],
)
def test_secrets_do_not_show_and_the_rest_does(text, shown):
    assert without_secrets(text, SECRETS) == shown


def test_a_secret_that_begins_like_another_leaves_no_rest():
    secrets = {"A_TOKEN": "abcdef", "B_TOKEN": "abcdefghij"}
    assert without_secrets("abcdefghij", secrets) == "***"


def test_texts_inside_json_data_whatever_the_environment_holds(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "photos")
    address = "https://ann:hunter2secret@host"
    given = {"a": [f"x {address}", 3, {"b": address}], "c": None, "d": (1, "photos")}
    shown = "https://***@host"
    expected = {"a": [f"x {shown}", 3, {"b": shown}], "c": None, "d": [1, "photos"]}
    assert masked_inside(given) == expected

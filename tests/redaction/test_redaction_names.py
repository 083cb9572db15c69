"""Which names are those of secrets."""

from __future__ import annotations

import pytest

from perfguard.redaction.bodies import redact_body
from perfguard.redaction.names import _known, is_secret


def words(text):
    return text.split()


SECRET = words("""
password user_password passwordConfirm newPassword password1 PASSWORD passWord PaSsWoRd
old-password password2 pass_word passwd pwd userpwd user_pass passphrase passcode
passw0rd access_token accesstoken refreshToken id_token token tokens api_tokens
csrfToken csrfmiddlewaretoken X-CSRFToken authToken access refresh
apiKey api-key API_KEY apikeys X-API-Key secret client_secret clientSecretValue secrets
hashed_secret secret_id aws_secret_access_key private_key privateKeyPem
signing-key authorization Proxy-Authorization auth X-Auth-Token bearer jwt signature
X-Hub-Signature-256 sessionid session_id sessionKey JSESSIONID PHPSESSID session_token
otp totp otp_code 2fa_code mfaCode recovery_codes backupCodes verification_code pin PIN
userPin cvv cvc cvv2 card_number cardNumber cc-number credit_card ssn security_answer
credential credentials aws_credentials dsn connection_string seedPhrase code_verifier
samlResponse user[password] user.password users[0][apiKey] a/b/password wsse:Password
subscription_key applicationKey session sid mfa 2fa pass pass1 pass_2 Pass2
passwort contrasena contrase\u00f1a mot_de_passe motDePasse senha wachtwoord
""")

INNOCENT = words("""
token_type tokens_used max_tokens maxTokens prompt_tokens total_tokens completion_tokens
tokens_per_minute author authors author_id authority authenticated keyboard monkey key
keys primary_key public_key foreign_key passenger compass bypass passport pinned
opinion pins_count spinner shipping option secretary secretariat secretion name username
email id code status state title mfa_method side inside session_count pass_rate
key_id idempotency_key cardinal line_number phone_number number
content tokenizer assertive created_at password_changed_at password_expired
token_expires_at expires_in token_endpoint signature_algorithm otp_enabled pin_required
sessions discord accessible accessories refreshed refresh_rate url path value text
description tax_number
""")

ALIKE = {
    "Cyrillic": "p\u0430ssw\u043erd",
    "Cyrillic capitals": "\u0420\u0410SSWORD",
    "Greek": "t\u03bfken",
    "full width": "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44",
    "zero width": "pass\u200b\u200dword",
    "soft hyphen": "pass\u00adword",
    "accents": "p\u00e1ssw\u00f6rd",
    "combining": "p\u0301assword",
    "small capitals": "\u1d18\u1d00\ua731\ua731\u1d21\u1d0f\u0280\u1d05",
    "mathematical": "\U0001d429\U0001d41a\U0001d42c\U0001d42cword",
    "a NUL": "pass\0word",
    "no character": "pass\ufffdword",
    "a dotted capital": "P\u0130N",
}


@pytest.mark.parametrize("name", SECRET)
def test_a_name_of_a_secret_is_known(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", INNOCENT)
def test_an_innocent_name_is_left_alone(name):
    assert not is_secret(name)


@pytest.mark.parametrize("name", ALIKE.values(), ids=ALIKE)
def test_a_name_that_looks_like_one_is_known(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["national_id", "nationalId", "national-id", "NATIONALID", "user_national_id_2"],
)
def test_names_can_be_added(perfguard, name):
    assert not is_secret(name)
    perfguard(REDACTED_NAMES=["nationalId"])
    assert is_secret(name)
    assert not is_secret("international_ideas")


def test_names_in_any_script_can_be_added(perfguard):
    perfguard(REDACTED_NAMES=["пароль", "密码", "--"])
    assert is_secret("новый_пароль")
    assert is_secret("密码")
    assert not is_secret("имя")


def test_an_added_name_is_gone_with_its_setting(perfguard):
    perfguard(REDACTED_NAMES=["salary"])
    body = b'{"salary": 1}'
    kept, _ = redact_body(body, "application/json", complete=True, limit=99)
    assert kept == '{"salary": "********"}'
    perfguard(REDACTED_NAMES=[])
    kept, _ = redact_body(body, "application/json", complete=True, limit=99)
    assert kept == '{"salary": 1}'


def test_verdicts_are_kept_of_so_many_names_and_of_short_ones():
    _known.cache_clear()
    for number in range(5000):
        is_secret(f"name{number}")
    is_secret("a" * 1000)
    assert _known.cache_info().currsize == 4096
    assert is_secret("a" * 1000 + "_password")

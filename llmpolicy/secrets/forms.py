"""The forms of secrets: those of detect-secrets, and of services that it does not know."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any

DETECTORS = """
artifactory.ArtifactoryDetector aws.AWSKeyDetector azure_storage_key.AzureStorageKeyDetector
basic_auth.BasicAuthDetector discord.DiscordBotTokenDetector github_token.GitHubTokenDetector
gitlab_token.GitLabTokenDetector jwt.JwtTokenDetector mailchimp.MailchimpDetector
npm.NpmDetector openai.OpenAIDetector pypi_token.PypiTokenDetector sendgrid.SendGridDetector
slack.SlackDetector square_oauth.SquareOAuthDetector stripe.StripeDetector
telegram_token.TelegramBotTokenDetector twilio.TwilioKeyDetector
"""
"""Those of https://github.com/Yelp/detect-secrets that know a form; its keyword and entropy rules
find prose and hashes.
"""

BEGIN = r"(?<![A-Za-z0-9])"
W = r"[A-Za-z0-9]"
V = r"[A-Za-z0-9_-]"
FORMS: dict[str, tuple[str, ...]] = {
    "API key, sk-...": (
        rf"{BEGIN}sk-(?=[A-Za-z_-]*\d){V}{{20}}",
    ),
    "API key of a model service": (
        rf"gsk_{W}{{40}}", rf"{BEGIN}xai-{W}{{60}}", rf"{BEGIN}r8_{W}{{30}}", rf"pplx-{W}{{40}}",
        rf"nvapi-{V}{{40}}",
        rf"{BEGIN}fw_(?=[a-zA-Z]*\d){W}{{22}}", r"lsv2_[ps][tk]_[0-9a-f]{32}", rf"pcsk_{V}{{40}}",
        r"KGAT_[0-9a-f]{32}",
    ),
    "GitHub token": (
        rf"gh[pousr]_{W}{{30}}", r"github_pat_[A-Za-z0-9_]{22}",
    ),
    "GitLab token": (
        rf"gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas|ffct|rtr|wt)-{V}{{18}}",
    ),
    "Bitbucket or Atlassian token": (
        rf"{BEGIN}ATBB{W}{{28}}", rf"ATATT3{V}{{40}}",
    ),
    "Weights & Biases key": (
        r"wandb_[A-Za-z0-9_]{40}",
    ),
    "AWS key": (
        rf"{BEGIN}(?:AKIA|ASIA|ABIA|ACCA)(?=[A-Z]*\d)[0-9A-Z]{{16}}(?!{W})",
    ),
    "Google key": (
        rf"AIza{V}{{35}}", rf"GOCSPX-{V}{{24}}", rf"{BEGIN}ya29\.{V}{{30}}",
    ),
    "Azure key": (
        r"(?:Account|SharedAccess)Key=[A-Za-z0-9+/=]{40}", rf"{W}{{3}}\dQ~[A-Za-z0-9_.~-]{{31}}",
        r"[?&]sig=[A-Za-z0-9%+/=_-]{30}",
    ),
    "Slack token": (
        rf"xox[abeoprs](?:\.xox[bp])?-[0-9]{{1,14}}-?{V}{{12}}", rf"xapp-\d-{V}{{30}}",
    ),
    "webhook": (
        rf"hooks\.slack\.com/[a-z]+/{W}{{8,}}/{V}+",
        rf"discord(?:app)?\.com/api/webhooks/\d+/{V}{{30}}",
        rf"webhook\.office\.com/{V}{{20}}",
    ),
    "Stripe key": (
        rf"{BEGIN}[sr]k_(?:live|test|prod)_{W}{{20}}", r"whsec_[A-Za-z0-9+/]{24}",
    ),
    "npm token": (
        rf"{BEGIN}npm_{W}{{34}}", r"_authToken\s*=\s*[^\s$\"'{]{16}",
    ),
    "PyPI token": (
        rf"pypi-AgE{V}{{40}}",
    ),
    "registry token": (
        rf"dckr_(?:pat|oat)_{V}{{24}}", r"rubygems_[0-9a-f]{40}",
        rf"{BEGIN}cio(?=[A-Za-z]*\d){W}{{32}}(?!{W})",
    ),
    "Twilio key": (
        rf"{BEGIN}(?:SK|AC)[0-9a-f]{{32}}(?!{W})",
    ),
    "mail service key": (
        rf"SG\.{V}{{20}}\.{V}{{30}}", rf"[0-9a-f]{{32}}-us\d\d?(?!{W})",
        rf"{BEGIN}key-[0-9a-f]{{32}}(?!{W})",
        r"xkeysib-[0-9a-f]{40}",
    ),
    "address with a password": (
        r"(?i:\b[a-z][a-z0-9+.-]{1,20}://)[^\s:/?#@\"'<>{}$]*:[^\s/?#@\"'<>{}$\[*]{3,}@",
    ),
    "address with a token": (
        rf"(?i:\bhttps?://)(?=[A-Za-z_-]*\d){V}{{16}}{V}*@",
    ),
    "Telegram token": (
        rf"{BEGIN}\d{{8,10}}:A{V}{{34}}",
    ),
    "Discord token": (
        rf"{BEGIN}[MNO]{V}{{23,27}}\.{V}{{6}}\.(?=[A-Za-z_-]*\d){V}{{27,}}",
    ),
    "cloud token": (
        r"do[opr]_v1_[0-9a-f]{64}", rf"HRKU-{V}{{30}}", rf"{BEGIN}dapi[0-9a-f]{{32}}",
        rf"hv[sbr]\.{V}{{24}}",
        rf"{W}{{14}}\.atlasv1\.{V}{{60}}", rf"tskey-[a-z]+-{V}{{20}}",
        rf"{BEGIN}sb[pr]_[0-9a-f]{{40}}",
        rf"pscale_[a-z]+_{V}{{32}}", rf"{BEGIN}pul-[0-9a-f]{{40}}", rf"{BEGIN}nfp_{W}{{36}}",
        rf"dp\.(?:pt|st|ct|sa|scim|audit)\.{V}{{40}}", rf"vercel_[a-z_]+_{W}{{24}}",
        rf"EZ[AT]K{W}{{54}}",
        rf"PMAK-{V}{{50}}",
    ),
    "service token": (
        r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}", rf"sq0[a-z]{{3}}-{V}{{22}}",
        rf"{BEGIN}EAAA{V}{{58}}",
        rf"lin_(?:api|oauth)_{W}{{40}}", rf"{BEGIN}ntn_{W}{{40}}",
        rf"{BEGIN}secret_(?=[a-zA-Z]*\d){W}{{43}}",
        rf"fig[du]_{V}{{36}}", rf"{BEGIN}pat{W}{{14}}\.[0-9a-f]{{64}}", r"NRAK-[A-Z0-9]{27}",
        r"sntry[su]_[A-Za-z0-9+/=_]{40}", rf"gl(?:sa|c)_{V}{{32}}", rf"EAACEdEose0cBA{W}+",
        rf"{BEGIN}A{{20}}(?!A{{9}})[A-Za-z0-9%]{{60}}",
    ),
}  # fmt: skip
"""Words: what each begins with, and how long it is at least."""

SENTENCES: dict[str, tuple[str, ...]] = {
    "private key": (
        r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----", r"PuTTY-User-Key-File-\d",
        r"AGE-SECRET-KEY-1[0-9A-Z]{40}",
    ),
    "authorization header": (
        r"(?i:(?:authorization|\bauth)[\"']?\s*[:=]\s*[\"']?\s*(?:basic|bearer|token)\s+)[A-Za-z0-9+/=_.~-]{12}",
        r"(?i:\b(?:x-api-key|api-key|x-auth-token|set-cookie|cookie)[\"']?\s*:\s*[\"']?)[A-Za-z0-9+/=_.~;-]{16}",
    ),
    "Hugging Face token": (
        r"(?:hf|api_org)_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{30}",
    ),
    "Google key": (
        r"\"type\":\s*\"service_account\"",
    ),
    "AWS key": (
        r"(?i:aws.{0,20}?(?:key|pwd|pw|password|pass|token).{0,20}?)[\"'][0-9a-zA-Z/+]{40}[\"']",
    ),
}  # fmt: skip
"""What has spaces or quotes in it, or needs no digit."""

LONG_WORD = re.compile(r"[^\s\"'`<>]{16,}")

EVERYDAY = re.compile(
    r"([^A])\1{7}|EXAMPLE|(?i:x{6}|your[_-]|placeholder|redacted|removed|changeme|dummy|<|\*{3})"
)
"""In what stands in documentation for a secret."""


def matches(text: str) -> Iterator[tuple[str, str]]:
    """The kind and the text of everything that has the form of a secret."""
    words = "\n".join(filter(_may_be_secret, LONG_WORD.findall(text)))
    for part, spaced in ((text, True), (words, False)):
        for label, form in _compiled(spaced):
            for match in form.finditer(part):
                yield label, match.group()
    for detector in _detectors():
        for secret in detector.analyze_string(words):
            if re.search(r"\d", secret):
                yield detector.secret_type, secret


def _may_be_secret(word: str) -> bool:
    return "://" in word or re.search(r"\d", word) is not None


def real(secrets: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Those that stand for no secret in a piece of documentation."""
    return ((label, text) for label, text in secrets if not EVERYDAY.search(text))


@lru_cache
def _compiled(spaced: bool) -> list[tuple[str, re.Pattern[str]]]:
    forms = SENTENCES if spaced else FORMS
    return [(label, re.compile("|".join(patterns))) for label, patterns in forms.items()]


@lru_cache(1)
def _detectors() -> list[Any]:
    detectors = []
    for name in DETECTORS.split():
        module, _, kind = name.partition(".")
        detectors.append(getattr(import_module(f"detect_secrets.plugins.{module}"), kind)())
    return detectors

"""The forms of secrets: those of detect-secrets, and of services that it does not know."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any

Named = tuple[str, str]
"""A text, behind the kind of secret that it is or may be."""

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

SHORT = {"%b": r"(?<![A-Za-z0-9])", "%w": "[A-Za-z0-9]", "%v": "[A-Za-z0-9_-]"}
"""How forms are written: where a word begins, a letter or digit, and these with - and _."""

FORMS: dict[str, str] = {
    "API key, sk-...": r"%bsk-(?=[A-Za-z_-]*\d)%v{20}",
    "API key of a model service": (
        r"gsk_%w{40}|%bxai-%w{60}|%br8_%w{30}|pplx-%w{40}|nvapi-%v{40}"
        r"|%bfw_(?=[a-zA-Z]*\d)%w{22}|lsv2_[ps][tk]_[0-9a-f]{32}|pcsk_%v{40}|KGAT_[0-9a-f]{32}"
    ),
    "GitHub token": r"gh[pousr]_%w{30}|github_pat_[A-Za-z0-9_]{22}",
    "GitLab token": r"gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent|oas|ffct|rtr|wt)-%v{18}",
    "Bitbucket or Atlassian token": r"%bATBB%w{28}|ATATT3%v{40}",
    "Weights & Biases key": r"wandb_[A-Za-z0-9_]{40}",
    "AWS key": r"%b(?:AKIA|ASIA|ABIA|ACCA)(?=[A-Z]*\d)[0-9A-Z]{16}(?!%w)",
    "Google key": r"AIza%v{35}|GOCSPX-%v{24}|%bya29\.%v{30}",
    "Azure key": (
        r"(?:Account|SharedAccess)Key=[A-Za-z0-9+/=]{40}|%w{3}\dQ~[A-Za-z0-9_.~-]{31}"
        r"|[?&]sig=[A-Za-z0-9%+/=_-]{30}"
    ),
    "Slack token": r"xox[abeoprs](?:\.xox[bp])?-[0-9]{1,14}-?%v{12}|xapp-\d-%v{30}",
    "webhook": (
        r"hooks\.slack\.com/[a-z]+/%w{8,}/%v+|discord(?:app)?\.com/api/webhooks/\d+/%v{30}"
        r"|webhook\.office\.com/%v{20}"
    ),
    "Stripe key": r"%b[sr]k_(?:live|test|prod)_%w{20}|whsec_[A-Za-z0-9+/]{24}",
    "npm token": r"%bnpm_%w{34}|_authToken\s*=\s*[^\s$\"'{]{16}",
    "PyPI token": r"pypi-AgE%v{40}",
    "registry token": (
        r"dckr_(?:pat|oat)_%v{24}|rubygems_[0-9a-f]{40}|%bcio(?=[A-Za-z]*\d)%w{32}(?!%w)"
    ),
    "Twilio key": r"%b(?:SK|AC)[0-9a-f]{32}(?!%w)",
    "mail service key": (
        r"SG\.%v{20}\.%v{30}|[0-9a-f]{32}-us\d\d?(?!%w)|%bkey-[0-9a-f]{32}(?!%w)"
        r"|xkeysib-[0-9a-f]{40}"
    ),
    "address with a password": (
        r"(?i:\b[a-z][a-z0-9+.-]{1,20}://)[^\s:/?#@\"'<>{}$]*:[^\s/?#@\"'<>{}$\[*]{3,}@"
    ),
    "address with a token": r"(?i:\bhttps?://)(?=[A-Za-z_-]*\d)%v{16}%v*@",
    "Telegram token": r"%b\d{8,10}:A%v{34}",
    "Discord token": r"%b[MNO]%v{23,27}\.%v{6}\.(?=[A-Za-z_-]*\d)%v{27,}",
    "cloud token": (
        r"do[opr]_v1_[0-9a-f]{64}|HRKU-%v{30}|%bdapi[0-9a-f]{32}|hv[sbr]\.%v{24}"
        r"|%w{14}\.atlasv1\.%v{60}|tskey-[a-z]+-%v{20}|%bsb[pr]_[0-9a-f]{40}"
        r"|pscale_[a-z]+_%v{32}|%bpul-[0-9a-f]{40}|%bnfp_%w{36}"
        r"|dp\.(?:pt|st|ct|sa|scim|audit)\.%v{40}|vercel_[a-z_]+_%w{24}|EZ[AT]K%w{54}"
        r"|PMAK-%v{50}"
    ),
    "service token": (
        r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|sq0[a-z]{3}-%v{22}|%bEAAA%v{58}"
        r"|lin_(?:api|oauth)_%w{40}|%bntn_%w{40}|%bsecret_(?=[a-zA-Z]*\d)%w{43}|fig[du]_%v{36}"
        r"|%bpat%w{14}\.[0-9a-f]{64}|NRAK-[A-Z0-9]{27}|sntry[su]_[A-Za-z0-9+/=_]{40}"
        r"|gl(?:sa|c)_%v{32}|EAACEdEose0cBA%w+|%bA{20}(?!A{9})[A-Za-z0-9%]{60}"
    ),
}
"""Words: what each begins with, and how long it is at least."""

SENTENCES: dict[str, str] = {
    "private key": (
        r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d"
        r"|AGE-SECRET-KEY-1[0-9A-Z]{40}"
    ),
    "authorization header": (
        r"(?i:(?:authorization|\bauth)[\"']?\s*[:=]\s*[\"']?\s*(?:basic|bearer|token)\s+)[A-Za-z0-9+/=_.~-]{12}"
        r"|(?i:\b(?:x-api-key|api-key|x-auth-token|set-cookie|cookie)[\"']?\s*:\s*[\"']?)[A-Za-z0-9+/=_.~;-]{16}"
    ),
    "Hugging Face token": r"(?:hf|api_org)_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{30}",
    "Google key": r"\"type\":\s*\"service_account\"",
    "AWS key": (
        r"(?i:aws.{0,20}?(?:key|pwd|pw|password|pass|token).{0,20}?)[\"'][0-9a-zA-Z/+]{40}[\"']"
    ),
}
"""What has spaces or quotes in it, or needs no digit."""

LONG_WORD = re.compile(r"[^\s\"'`<>]{16,}")

EVERYDAY = re.compile(
    r"([^A])\1{7}|EXAMPLE|(?i:x{6}|your[_-]|placeholder|redacted|removed|changeme|dummy|<|\*{3})"
)
"""In what stands in documentation for a secret."""


def matches(text: str) -> Iterator[Named]:
    """The kind and the text of everything that has the form of a secret."""
    telling = re.compile(r"://|\d").search
    words = "\n".join(filter(telling, LONG_WORD.findall(text)))
    for part, spaced in ((text, True), (words, False)):
        for label, form in _compiled(spaced):
            for match in form.finditer(part):
                yield label, match.group()
    for detector in _detectors():
        for secret in detector.analyze_string(words):
            if re.search(r"\d", secret):
                yield detector.secret_type, secret


def real(secrets: Iterable[Named]) -> Iterator[Named]:
    """Those that stand for no secret in a piece of documentation."""
    return ((label, text) for label, text in secrets if not EVERYDAY.search(text))


@lru_cache
def _compiled(spaced: bool) -> list[tuple[str, re.Pattern[str]]]:
    compiled = []
    for label, form in (SENTENCES if spaced else FORMS).items():
        for short, signs in SHORT.items():
            form = form.replace(short, signs)
        compiled.append((label, re.compile(form)))
    return compiled


@lru_cache(1)
def _detectors() -> list[Any]:
    detectors = []
    for name in DETECTORS.split():
        module, _, kind = name.partition(".")
        detectors.append(getattr(import_module(f"detect_secrets.plugins.{module}"), kind)())
    return detectors

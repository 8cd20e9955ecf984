"""Secrets of many services, put together when they are needed so that none stands in a file, and
what only looks like one.
"""

import base64
import json
import random
import string

_random = random.Random(7)
ALPHABET = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
UP = string.ascii_uppercase + "234567"


def rnd(n: int, alphabet: str = ALPHABET) -> str:
    return "".join(_random.choice(alphabet) for _ in range(n))


def b64(n: int) -> str:
    return base64.b64encode(bytes(_random.randrange(256) for _ in range(n))).decode()


def jwt() -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890", "name": "J"})
    return ".".join(
        [
            *(
                base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
                for part in parts
            ),
            rnd(43),
        ]
    )


PW = "hunter" + "22"
BEGIN = "-----" + "BEGIN "
FORMS = {
    "hf": "hf_" + rnd(34),
    "hf_org": "api_org_" + rnd(34),
    "openai": "sk-" + rnd(20) + "T3Blbk" + "FJ" + rnd(20),
    "openai_proj": "sk-proj-" + rnd(48) + "_" + rnd(20),
    "openai_svc": "sk-svcacct-" + rnd(60),
    "openai_admin": "sk-admin-" + rnd(60),
    "anthropic": "sk-ant-api03-" + rnd(93) + "AA",
    "openrouter": "sk-or-v1-" + rnd(64, HEX),
    "deepseek": "sk-" + rnd(32, HEX),
    "groq": "gsk_" + rnd(52),
    "xai": "xai-" + rnd(80),
    "replicate": "r8_" + rnd(37),
    "perplexity": "pplx-" + rnd(48),
    "fireworks": "fw_" + rnd(24),
    "nvidia": "nvapi-" + rnd(64),
    "cohere_named": "COHERE_API_KEY=" + rnd(40),
    "mistral_named": "MISTRAL_API_KEY: " + rnd(32),
    "together_named": "TOGETHER_API_KEY=" + rnd(64, HEX),
    "ghp": "ghp_" + rnd(36),
    "gho": "gho_" + rnd(36),
    "ghs": "ghs_" + rnd(36),
    "ghr": "ghr_" + rnd(36),
    "github_pat": "github_pat_" + rnd(22) + "_" + rnd(59),
    "gitlab": "glpat-" + rnd(20),
    "gitlab_rt": "glrt-" + rnd(20),
    "bitbucket": "ATBB" + rnd(32),
    "atlassian": "ATATT3x" + rnd(180) + "=" + rnd(8, HEX.upper()),
    "aws_id": "AKIA" + rnd(16, UP),
    "aws_asia": "ASIA" + rnd(16, UP),
    "aws_secret": "aws_secret_access_key = " + rnd(40),
    "aws_secret_env": "AWS_SECRET_ACCESS_KEY=" + b64(30),
    "aws_session": "AWS_SESSION_TOKEN=" + b64(120),
    "google_api": "AIza" + rnd(35),
    "google_oauth": "GOCSPX-" + rnd(28),
    "google_ya29": "ya29." + rnd(60),
    "gcp_sa": '{"type": "service_account", "private_key_id": "' + rnd(40, HEX) + '"}',
    "azure_storage": (
        "DefaultEndpointsProtocol=https;AccountName=x;AccountKey="
        + b64(64)
        + ";EndpointSuffix=core.windows.net"
    ),
    "azure_sas": "https://x.blob.core.windows.net/c/b?sv=2022-11-02&sp=r&sig=" + rnd(43) + "%3D",
    "azure_client": rnd(3) + "8Q~" + rnd(34),
    "azure_openai": "AZURE_OPENAI_API_KEY=" + rnd(32, HEX),
    "slack_b": "xoxb-" + rnd(12, string.digits) + "-" + rnd(12, string.digits) + "-" + rnd(24),
    "slack_app": "xapp-1-A" + rnd(10, UP) + "-" + rnd(13, string.digits) + "-" + rnd(64, HEX),
    "slack_hook": (
        "https://hooks.slack.com/services/T" + rnd(8, UP) + "/B" + rnd(8, UP) + "/" + rnd(24)
    ),
    "stripe_live": "sk_live_" + rnd(24),
    "stripe_test": "sk_test_" + rnd(24),
    "stripe_rk": "rk_live_" + rnd(24),
    "stripe_whsec": "whsec_" + rnd(32),
    "npm": "npm_" + rnd(36),
    "npmrc": (
        "//registry.npmjs.org/:_authToken="
        + rnd(8, HEX)
        + "-"
        + rnd(4, HEX)
        + "-"
        + rnd(4, HEX)
        + "-"
        + rnd(4, HEX)
        + "-"
        + rnd(12, HEX)
    ),
    "pypi": "pypi-AgEIcHlwaS5vcmc" + rnd(120),
    "docker": "dckr_pat_" + rnd(27),
    "rubygems": "rubygems_" + rnd(48, HEX),
    "crates": "cio" + rnd(32),
    "twilio": "SK" + rnd(32, HEX),
    "twilio_ac": "AC" + rnd(32, HEX),
    "sendgrid": "SG." + rnd(22) + "." + rnd(43),
    "mailchimp": rnd(32, HEX) + "-us12",
    "mailgun": "key-" + rnd(32, HEX),
    "postmark": "POSTMARK_TOKEN=" + rnd(36, HEX),
    "jwt": jwt(),
    "pem_rsa": BEGIN + "RSA PRIVATE KEY-----\n" + b64(48),
    "pem": BEGIN + "PRIVATE KEY-----\n",
    "pem_enc": BEGIN + "ENCRYPTED PRIVATE KEY-----",
    "openssh": BEGIN + "OPENSSH PRIVATE KEY-----",
    "pgp": BEGIN + "PGP PRIVATE KEY BLOCK-----",
    "putty": "PuTTY-User-" + "Key-File-3: ssh-ed25519",
    "age": "AGE-SECRET-KEY-1" + rnd(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
    "basic_url": f"https://alice:{PW}@example.com/x",
    "basic_token_url": "https://" + rnd(20) + "@github.com/a/b",
    "auth_basic": "Authorization: Basic " + base64.b64encode(f"alice:{PW}".encode()).decode(),
    "auth_bearer": "Authorization: Bearer " + rnd(40),
    "postgres": f"postgresql://u:{PW}@db:5432/x",
    "mongodb": f"mongodb+srv://u:{PW}@c.mongodb.net/x",
    "redis": f"redis://:{PW}@h:6379",
    "mysql_dsn": f"Server=db;Database=x;User Id=sa;Password={PW}!;",
    "s3_url": "s3://" + "AKIA" + rnd(16, UP) + ":" + rnd(40) + "@bucket/x",
    "wandb": "WANDB_API_KEY=" + rnd(40, HEX),
    "wandb_v1": "wandb_v1_" + rnd(40) + "_" + rnd(30),
    "wandb_netrc": "machine api.wandb.ai\n  login user\n  password " + rnd(40, HEX),
    "kaggle": '{"username":"alice","key":"' + rnd(32, HEX) + '"}',
    "kgat": "KGAT_" + rnd(32, HEX),
    "telegram": rnd(10, "123456789") + ":AA" + rnd(33),
    "discord": "M" + rnd(23) + "." + rnd(6) + "." + rnd(27),
    "discord_hook": "https://discord.com/api/webhooks/" + rnd(18, string.digits) + "/" + rnd(68),
    "password": f"password={PW}",
    "password_q": f'password: "{PW}&3"',
    "passwd_cli": f"--password {PW}",
    "api_key": 'api_key = "' + rnd(32) + '"',
    "client_secret": "client_secret=" + rnd(32),
    "token_q": "?token=" + rnd(24),
    "digitalocean": "dop_v1_" + rnd(64, HEX),
    "heroku": (
        "HRKU-"
        + rnd(8, HEX)
        + "-"
        + rnd(4, HEX)
        + "-"
        + rnd(4, HEX)
        + "-"
        + rnd(4, HEX)
        + "-"
        + rnd(12, HEX)
    ),
    "shopify": "shpat_" + rnd(32, HEX),
    "square": "sq0csp-" + rnd(43),
    "square_at": "EAAA" + rnd(60),
    "databricks": "dapi" + rnd(32, HEX),
    "linear": "lin_api_" + rnd(40),
    "notion": "ntn_" + rnd(46),
    "notion_old": "secret_" + rnd(43),
    "figma": "figd_" + rnd(40),
    "airtable": "pat" + rnd(14) + "." + rnd(64, HEX),
    "newrelic": "NRAK-" + rnd(27, UP),
    "sentry": "sntrys_" + rnd(80),
    "grafana": "glsa_" + rnd(32) + "_" + rnd(8, HEX),
    "vault": "hvs." + rnd(90),
    "terraform": rnd(14) + ".atlasv1." + rnd(67),
    "doppler": "dp.pt." + rnd(43),
    "facebook": "EAACEdEose0cBA" + rnd(40),
    "twitter": "AAAAAAAAAAAAAAAAAAAAA" + rnd(80),
    "pulumi": "pul-" + rnd(40, HEX),
    "langsmith": "lsv2_pt_" + rnd(32, HEX) + "_" + rnd(10, HEX),
    "pinecone": "pcsk_" + rnd(6) + "_" + rnd(60),
    "tailscale": "tskey-auth-" + rnd(12) + "-" + rnd(30),
    "supabase": "sbp_" + rnd(40, HEX),
    "planetscale": "pscale_tkn_" + rnd(43),
    "netlify": "nfp_" + rnd(40),
    "vercel": "vercel_blob_rw_" + rnd(40),
    "cloudflare": "CLOUDFLARE_API_TOKEN=" + rnd(40),
    "hf_without_a_digit": "hf_" + "mhWpDwGwHqXDgLVX" + "ZxscBfnvGNxjvrSIft",
}

HONEST = (
    "task-1234567890-abcdefghijkl",
    "sk-learn-estimators-and-more",
    "hf_hub_download_of_a_file_with_a_long_name",
    "AKIAN",
    "sk-",
    "hf_",
    "ghp_",
    "AIza",
    "password: must be at least 8 characters",
    "The password is 12345? No.",
    "max_new_tokens: 4096",
    "eos_token: <|im_end|>",
    "api_key_env: OPENAI_API_KEY",
    "token_id: 151643",
    "key: gold",
    "sha256: " + "ab12" * 16,
    "recipe_hash: 0123456789abcdef",
    "id: 3f2a9c81-b7d4-4a0e-9c00-1234567890ab",
    "Qwen/Qwen2.5-Coder-7B-Instruct-GPTQ-Int4",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
    "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "reward_fns.exact:match",
    "2026-05-03T10:00:00+0000",
    "https://huggingface.co/openai/gsm8k@main",
    "a@b.com",
    "user: x, assistant: y",
    "model.layers.0.self_attn.q_proj.lora_A.weight",
    "LlamaForCausalLM",
    "mail me at http://x.com: a@b",
    "secret: banana",
    "The secret is out",
    "secret word: apple",
    "passphrase of three words",
    "sort_key: 20240101",
    "tokenizer: x",
    "git: 064d9114b2b44f0d9bd5dcb1b1e9c1f3ad1c8a39+changes",
    'token: "</s>"',
    "$\\boxed{5}$",
    "key=lambda x: x[1]",
    "keys: a1, b2",
    "The API key concept in music: C# major 7",
    "password123 is weak",
    "key: 1,234,567",
    "f5a7b2c4d6e8" * 3,
    "versions: torch 2.13.0+cpu",
    "cache_key: " + "ab12" * 16,
    "12345678:AAAA",
    "PRIVATE KEY",
    "begin private key exchange",
    "AC power 100",
    "https://x.com/?page=2&sort=asc",
    "key: model-00001-of-00002.safetensors",
    "cls_token: model-00001-of-00002.safetensors",
    "A" * 100,
    "-----BEGIN CERTIFICATE-----",
    "def f(password=None, token=None): pass",
    "password = getpass.getpass()",
    "token=os.environ['HF_TOKEN']",
    "token: ${HF_TOKEN}",
    'api_key="YOUR_API_KEY_1234567890"',
    "sk-xxxxxxxxxxxxxxxxxxxxxxxx",
    "user:password@host",
    "ssh://git@github.com:a/b",
    "https://github.com/a/b:c@d",
    "score: key 1 -> 2",
    "The key 42 fits lock 17",
    "secret number 123456",
    "the token 12345678 appears",
    "<|fim_token|>",
    "jwt: eyJ",
)

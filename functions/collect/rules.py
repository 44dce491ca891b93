"""The table of what must not be stored (`rules.json`), which the pixel is built from too."""

from __future__ import annotations

import json
import re
from importlib import resources

TABLE = json.loads((resources.files("collect") / "rules.json").read_text("utf-8"))

WORDS = frozenset(TABLE["sensitive_words"] + TABLE["server_words"])
ENDINGS = tuple(TABLE["sensitive_endings"])
PAIRS = frozenset(tuple(pair.split()) for pair in TABLE["sensitive_pairs"] + TABLE["server_pairs"])
JOINED = frozenset("".join(pair) for pair in PAIRS)
KEYS = frozenset(TABLE["sensitive_keys"] + TABLE["server_keys"])
HARMLESS_LAST_WORDS = frozenset(TABLE["harmless_last_words"])
HARMLESS_FIRST_WORDS = frozenset(TABLE["harmless_first_words"])
ASSET_ENDINGS = frozenset(TABLE["asset_endings"])
ISSUERS = tuple(TABLE["card_issuers"])
# What is of the server alone would weigh more in the pixel than it is worth to mask it twice.
SECRETS = f"{TABLE['secrets']}|{TABLE['server_secrets']}"
PHONE_WORDS = frozenset(TABLE["phone_words"])
# Country and length, four characters each (SWIFT's IBAN registry).
IBAN_LENGTHS = {text[:2]: int(text[2:]) for text in re.findall(r"....", TABLE["iban_lengths"])}

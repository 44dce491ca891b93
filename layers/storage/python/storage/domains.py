"""What a site is to whoever bills by domain: the name that somebody registered, or none."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

from publicsuffixlist import PublicSuffixList

Kind = Literal["public", "preview", "address", "local"]

# Where hosts give each deployment, each branch or each developer's machine a name of its own. What people publish under
# the same domains (`shop.netlify.app`, `shop.pages.dev`) is theirs and public.
DEPLOYMENTS = (
    r".+--.+\.netlify\.app",  # https://docs.netlify.com/deploy/deploy-types/deploy-previews/
    r".+-git-.+\.vercel\.app|.+-[a-z0-9]{9}-[a-z0-9-]+\.vercel\.app",  # https://vercel.com/docs/deployments/generated-urls
    r"[^.]+\.[^.]+\.pages\.dev",  # https://developers.cloudflare.com/pages/configuration/preview-deployments/
    r"[0-9a-f]{8}-[^.]+\.[^.]+\.workers\.dev",
    r".+--.+\.(?:web\.app|firebaseapp\.com|hosted\.app)",  # https://firebase.google.com/docs/hosting/test-preview-deploy
    r".+-pr-[0-9]+(?:-[a-z0-9]+)?\.(?:herokuapp\.com|onrender\.com|up\.railway\.app|fly\.dev)",
    r"pr-[0-9]+\..+\.amplifyapp\.com",  # https://docs.aws.amazon.com/amplify/latest/userguide/pr-previews.html
    r".+-[0-9]+\.[a-z0-9]+(?:\.[0-9])?\.azurestaticapps\.net",
)
# Whatever stands below these: tunnels to a machine, workshops in a browser, names of addresses, and pages of others as a
# translator or an archive shows them.
BELOW = frozenset(
    [
        "ngrok.io",
        "ngrok.app",
        "ngrok.dev",
        "ngrok-free.app",
        "ngrok-free.dev",
        "trycloudflare.com",
        "loca.lt",
        "lhr.life",
        "localhost.run",
        "serveo.net",
        "devtunnels.ms",
        "github.dev",
        "gitpod.io",
        "gitpod.dev",
        "csb.app",
        "codesandbox.io",
        "stackblitz.io",
        "webcontainer.io",
        "webcontainer-api.io",
        "replit.dev",
        "cloudshell.dev",
        "shopifypreview.com",
        "lvh.me",
        "localtest.me",
        "nip.io",
        "sslip.io",
        "lacolhost.com",
        "translate.goog",
        "webcache.googleusercontent.com",
        "web.archive.org",
        "cdn.ampproject.org",
    ]
)
PREVIEWS = re.compile("|".join((*DEPLOYMENTS, rf"(?:.+\.)?(?:{'|'.join(map(re.escape, sorted(BELOW)))})")))
# Of every house, RFC 8375, though the list has it as a suffix.
HOME = ".home.arpa"


@dataclass(frozen=True, slots=True)
class Domain:
    """What a site is, and the domain that was registered for it; there is one where it is public or a preview."""

    kind: Kind
    registrable: str | None


@lru_cache(maxsize=10_000)
def of(site_id: str) -> Domain:
    """The domain of a site, by the Public Suffix List that its library brings: https://publicsuffix.org/list/.

    A domain under a suffix that is somebody's own (`shop.github.io`) is its customer's; a name under no suffix is
    no public one.
    """
    if _is_address(site_id):
        return Domain("address", None)
    if site_id.endswith(HOME):
        return Domain("local", None)
    suffixes = _suffixes()
    # Some publish under a public suffix itself, as www.gov.uk does.
    registrable = suffixes.privatesuffix(site_id) or ("." in site_id and suffixes.publicsuffix(site_id)) or None
    if not registrable:
        return Domain("local", None)
    return Domain("preview" if PREVIEWS.fullmatch(site_id) else "public", registrable)


def _is_address(site_id: str) -> bool:
    try:
        ipaddress.ip_address(site_id)
    except ValueError:
        return False
    return True


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)

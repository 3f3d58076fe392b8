"""URLs as users write them: the schemes that are taken, and what of them may be shown."""

from __future__ import annotations

import re

from napari_twostage.errors import TransferError

SCHEMES = ("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Schemes of URLs that are opened: web servers, object stores, and memory for tests.

fsspec knows dozens more. Some run code, open other files by what stands in a file, or chain such
steps; none of them is a place where slides are kept.
"""

_LONGEST = 4096
"""Characters of the longest URL; signed ones have about a thousand."""
_USER = re.compile(r"(?<=://)[^/?#\s@]*@")
"""User and password of a URL."""
_SECRET = re.compile(
    r"(?<=[?&])((?:x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|token"
    r"|access_token|awsaccesskeyid|googleaccessid|key|api_?key|password)=)[^&#\s'\"]*",
    re.IGNORECASE,
)
"""Parameters that signed addresses carry: whoever reads them may read the file."""


def check_scheme(url: str) -> None:
    """Raise TransferError unless a URL has one of `SCHEMES` and names no chain of them."""
    scheme = url.partition("://")[0].lower()
    # an address of version 6 has colons, too, between brackets
    if "::" in re.sub(r"\[[0-9a-fA-F:.]*\]", "", url):
        found = "names several schemes in a chain"
    elif len(url) > _LONGEST:
        url, found = f"{url[:40]}...", f"is {len(url):,} characters long"
    elif scheme not in SCHEMES:
        found = "has a scheme that is not known"
    else:
        return
    raise TransferError(
        f"{without_secrets(url)} {found}; expected a path, https://, s3://, gs:// or az://"
    )


def without_password(text: str) -> str:
    """Text in which URLs name no user and no password; a signature, which expires, is kept.

    Examples
    --------
    >>> without_password("https://me:secret@host/a.svs?sig=0f3b")
    'https://host/a.svs?sig=0f3b'
    """
    return _USER.sub("", text)


def without_secrets(text: str) -> str:
    """Text in which URLs have no password and no signature, for messages.

    Examples
    --------
    >>> without_secrets("https://me:secret@host/a.svs cannot be reached")
    'https://host/a.svs cannot be reached'
    >>> without_secrets("https://host/a.svs?id=3&X-Amz-Signature=0f3b")
    'https://host/a.svs?id=3&X-Amz-Signature=...'
    """
    return _SECRET.sub(r"\1...", without_password(text))

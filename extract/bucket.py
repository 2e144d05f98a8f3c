"""Buckets through obstore: how one is opened, and what its errors come to.

Credentials and endpoints are those of the environment, by the names that each provider's own tools
have. A request that fails is tried again by obstore, for a while.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from extract.errors import BucketError, InputError
from extract.places import BUCKETS, split_url

LANES = 16
"""Requests at once: a bucket answers late, and many as quickly as one."""
CLIENT: dict[str, Any] = {"connect_timeout": "10s", "timeout": "120s"}
"""A shard has up to 64 MB, and the time for it is counted until the answer has come."""
RETRY: dict[str, Any] = {
    "max_retries": 500,
    "backoff": {"base": 3, "max_backoff": timedelta(seconds=5)},
    "retry_timeout": timedelta(minutes=2),
}
"""The two minutes decide, never the count: they have about 50 tries, 100 at most. A wait is drawn
between 0.1 s and `base` times the last one, so with the usual 2 it does not grow on average."""
BRIEF: dict[str, Any] = {**RETRY, "max_retries": 3}
"""For the first question of who has named no credentials: a laptop has no server to ask for some,
and need not wait two minutes to hear it."""
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (after `aws configure`: "
    'eval "$(aws configure export-credentials --format env)"), or AWS_SKIP_SIGNATURE=true for a '
    "public bucket",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS=FILE (after `gcloud auth application-default login` it "
    "is found), or GOOGLE_SKIP_SIGNATURE=true for a public bucket",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}
"""What to set in the environment, for messages."""
NAMED_BY = {
    "s3": r"AWS_(ACCESS_KEY_ID|SKIP_SIGNATURE|WEB_IDENTITY_TOKEN_FILE|CONTAINER_CREDENTIALS_\w+)",
    "gs": r"GOOGLE_(APPLICATION_CREDENTIALS|SERVICE_ACCOUNT\w*|SKIP_SIGNATURE)",
    "az": r"AZURE_(STORAGE_)?(ACCOUNT_KEY|ACCESS_KEY|SAS_\w+|CLIENT_\w+|FEDERATED_\w+|SKIP_\w+)",
}
"""Variables by which credentials are found without a server that is asked for them."""
NO_BUCKET = ("NoSuchBucket", "bucket does not exist", "ContainerNotFound", "BucketNotFound")
NO_CREDENTIALS = (
    "169.254.169.254",  # where machines of a cloud are told theirs: asked last
    "/latest/api/token",
    "metadata.google.internal",
    "Missing AccessKeyId",
    "MissingAccount",
)
MOST_WORDS = 300  # characters of an answer that are shown


def open_bucket(url: str) -> Any:
    """Return obstore's store for a URL, whose names are relative to it.

    Nothing is asked yet, unless the environment names no credentials.

    Raises:
        InputError: If obstore is not installed.
        BucketError: If the environment lacks what the provider must know, or nobody has credentials
            to give.
    """
    try:
        from obstore.store import AzureStore, GCSStore, S3Store
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "obstore":
            raise
        raise InputError(
            f"obstore is not installed, which {url} needs. Type: pip install 'headstart[s3]'"
        ) from error
    scheme, bucket, key = split_url(url)
    kind = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[scheme]
    client = {**CLIENT, "allow_http": True} if _is_plain(scheme) else CLIENT
    with bucket_errors(url):
        if not any(re.fullmatch(NAMED_BY[scheme], name) for name in os.environ):
            _ask_once(kind(bucket, prefix=key or None, client_options=client, retry_config=BRIEF))
        return kind(bucket, prefix=key or None, client_options=client, retry_config=RETRY)


def _ask_once(bucket: Any) -> None:
    """Raise obstore's error if there are no credentials; all others are met where they matter."""
    from obstore.exceptions import BaseError

    try:
        bucket.head("store.json")
    except (BaseError, FileNotFoundError) as error:
        if any(word in str(error) for word in NO_CREDENTIALS):
            raise


def _is_plain(scheme: str) -> bool:
    """Return whether the environment names an endpoint without TLS, such as one on loopback."""
    names = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")}.get(scheme, ())
    given = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return given.startswith("http://")


@contextlib.contextmanager
def bucket_errors(url: str, name: str = "") -> Iterator[None]:
    """Turn obstore's errors into a `FileNotFoundError`, or one line of ours.

    Raises:
        FileNotFoundError: If there is no such object.
        BucketError: For all else, but for `AlreadyExistsError`, which callers want to hear.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError

    whole = f"{url}/{name}" if name else url
    try:
        yield
    except AlreadyExistsError:
        raise
    except FileNotFoundError as error:
        if any(word in str(error) for word in NO_BUCKET):
            raise _no_bucket(url) from error
        raise FileNotFoundError(errno.ENOENT, "There is no such object", whole) from error
    except BaseError as error:
        raise _refusal(url, whole, error) from error
    except ValueError as error:  # a name that no object can have
        raise BucketError(f"{whole} cannot be asked for: {_words(error)}") from error


def _no_bucket(url: str) -> BucketError:
    scheme, bucket, _ = split_url(url)
    return BucketError(
        f"There is no bucket {scheme}://{bucket}, or not in this account and region. Make it, or "
        f"give another URL"
    )


def _refusal(url: str, whole: str, error: Exception) -> BucketError:
    scheme, _, _ = split_url(url)
    text, kind = str(error), type(error).__name__
    if any(word in text for word in NO_BUCKET):
        return _no_bucket(url)
    if any(word in text for word in NO_CREDENTIALS):
        return BucketError(f"There are no credentials for {url}. Set {CREDENTIALS[scheme]}")
    if kind in ("PermissionDeniedError", "UnauthenticatedError"):
        return BucketError(
            f"{BUCKETS[scheme]} refused {whole} ({_words(error)}). Set credentials that may read "
            f"and write it: {CREDENTIALS[scheme]}"
        )
    if "region" in text.lower() and "redirect" in text.lower():
        return BucketError(f"{url} is in another region. Set AWS_REGION to that of the bucket")
    return BucketError(
        f"{BUCKETS[scheme]} did not do what was asked of {whole}: {_words(error)}. What was "
        f"finished is kept: the same command goes on from there"
    )


def _words(error: Exception) -> str:
    """Return the first lines of an error of obstore; what follows is how Rust saw it."""
    words = " ".join(str(error).partition("\n\nDebug source:")[0].split())
    return words if len(words) <= MOST_WORDS else words[:MOST_WORDS] + " …"


def etag_number(meta: Mapping[str, Any]) -> int:
    """Return a number of 64 bits that another content of an object would not have."""
    tag = meta["e_tag"]
    if tag is not None and not tag.endswith('"'):  # Azure quotes it in an answer, and no list
        tag = f'"{tag}"'
    tag = f"{tag} {meta['version'] or ''}"
    return int.from_bytes(hashlib.sha256(tag.encode()).digest()[:8], "big")


def written_ns(meta: Mapping[str, Any]) -> int:
    """Return when an object was written, in nanoseconds since 1970.

    Buckets tell seconds. What would be nanoseconds is of the ETag, so that an object which was
    written twice in a second has two times: who compares size and time compares the ETag.
    """
    when: datetime = meta["last_modified"]
    return int(when.timestamp()) * 10**9 + etag_number({**meta, "version": None}) % 10**9

"""A connection to a Ray cluster, or to a Ray of this machine alone: with a token, no dashboard."""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

from extract.errors import ClusterError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Yield the module `ray`, connected; what was begun here ends with the block.

    Args:
        address: Of the cluster's head, or "auto"; None for RAY_ADDRESS, or else a Ray of this
            machine alone, which nobody else can use: its token is drawn here and told to nobody.

    Raises:
        ClusterError: If Ray is not installed, or there is no such cluster.
    """
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield sys.modules["ray"]
        return
    alone = address is None and not os.environ.get("RAY_ADDRESS")
    _ask_for_tokens(alone)
    ray = _module()
    _heed_tokens()
    with _silent():
        _init(ray, address, alone)
        try:
            yield ray
        finally:
            ray.shutdown()


def _ask_for_tokens(alone: bool) -> None:
    """Ask for token authentication where nobody said otherwise.

    Ray reads these variables when it is imported, and keeps them; its nodes inherit them. So they
    stay set.
    """
    os.environ.setdefault(MODE, "token")
    if alone and TOKEN_PATH not in os.environ:
        os.environ.setdefault(TOKEN, secrets.token_hex(32))


def _heed_tokens() -> None:
    """See that tokens are asked for also by a Ray that was imported before they were wanted.

    Raises:
        ClusterError: If it does not.
    """
    if os.environ[MODE] != "token":
        return
    try:
        raylet = importlib.import_module("ray._raylet")
        token = raylet.AuthenticationMode.TOKEN
        if raylet.get_authentication_mode() != token:
            raylet.Config.initialize("")  # reads the environment anew, as Ray itself does for this
        heeded = raylet.get_authentication_mode() == token
    except (ImportError, AttributeError):  # of before 2.52, or of a time to come
        heeded = False
    if not heeded:
        raise ClusterError(
            f"This Ray does not ask for tokens, so whoever reaches it could run anything here. "
            f"Set {MODE}=token before Ray is imported, and have ray>=2.52: pip install -U "
            f'"headstart[ray]". To do without: {MODE}=disabled'
        )


def _module() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            '--cluster ray takes Ray, which is not installed: pip install "headstart[ray]"'
        ) from error
    return ray


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep Ray's words on workers that died off standard output, where programs read our JSON.

    Ray prints them there whatever `log_to_driver` says. What stops it has no public name; Ray's
    own debugger sets the same one.
    """
    worker = importlib.import_module("ray._private.worker")
    before = getattr(worker, "_worker_logs_enabled", True)
    worker._worker_logs_enabled = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        worker._worker_logs_enabled = before  # type: ignore[attr-defined]


def _knock(address: str) -> None:
    """Raise `OSError` where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _init(ray: Any, address: str | None, alone: bool) -> None:
    heard = signal.getsignal(signal.SIGTERM)
    # Told nothing, Ray would join whatever cluster it finds on this machine.
    where = "local" if alone else address
    own = {"include_dashboard": False} if alone else {}
    try:
        _knock(address or ("" if alone else os.environ["RAY_ADDRESS"]))
        ray.init(where, log_to_driver=False, logging_level="ERROR", **own)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        place = address or os.environ.get("RAY_ADDRESS") or "this machine"
        raise ClusterError(
            f"No Ray cluster could be had at {place}: {' '.join(str(error).split())[:300]}. Is it "
            f"up, and is its token in {TOKEN} or {TOKEN_PATH}?"
        ) from error
    with contextlib.suppress(ValueError):  # not the main thread; Ray has put a handler of its own
        signal.signal(signal.SIGTERM, heard)

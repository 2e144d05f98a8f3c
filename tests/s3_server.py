"""An S3 server on loopback: moto, and a proxy before it that fails on a seeded schedule."""

import http.client
import logging
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

from extract.errors import BucketError

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}
WITHOUT = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3")


class Server:
    """moto's S3 server, in threads of this process."""

    def __init__(self):
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        self._buckets = 0

    def make_bucket(self) -> str:
        """Make an empty bucket; return its name."""
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        urlopen(Request(f"http://127.0.0.1:{self.port}/{name}", method="PUT")).close()
        return name

    def stop(self):
        self._server.stop()


IMPATIENT = {"timeout": "500ms"}
"""What `extract.bucket.CLIENT` is where answers come late. With it a busy machine is late, too."""


def point_at(monkeypatch, port: int) -> None:
    """Set the environment as people do, for an S3 that listens on a port of loopback."""
    for name in WITHOUT:
        monkeypatch.delenv(name, raising=False)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


KINDS = ("500", "503", "refused", "lost", "cut", "late")
"""What may happen to a request: two answers of a server in trouble; closed before it was heard;
done, and the answer lost, or cut in two, or come too late for who is impatient."""


class Proxy:
    """Passes requests on to a server, but for those that a schedule lets fail.

    Args:
        port: Of the server.
        seed: Decides what happens to the first, second, ... request.
        share: How many of them fail.
        kinds: What may happen to these.
        late: Seconds after which a late answer comes.
    """

    def __init__(self, port, seed=0, share=0.0, kinds=KINDS, late=1.0):
        self.server_port, self.late = port, late
        self.share, self.kinds = share, kinds
        self.counts = Counter()
        self.only = None
        """(method, part of the path, kind): what happens to the next such request, once."""
        self.ends_after = None
        """So many requests fail; what comes then does not."""
        self._random, self._lock = random.Random(seed), threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # 40 ms for each answer

            def do_anything(self):
                proxy.handle(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_anything

            def log_message(self, *args):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass  # clients that no longer listen

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=[0.05], daemon=True).start()

    def stop(self):
        self._http.shutdown()
        self._http.server_close()

    def fate(self, method: str, path: str) -> str:
        """Draw what happens to a request; "" for nothing."""
        with self._lock:
            if self.only and self.only[0] == method and self.only[1] in path:
                kind, self.only = self.only[2], None
            elif self._random.random() < self.share:
                kind = self._random.choice(self.kinds)
            else:
                kind = ""
            self.counts[kind] += 1
            if self.ends_after == self.counts[kind] and kind:
                self.share = 0.0
        return kind

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        kind = self.fate(request.command, request.path)
        if kind == "refused":
            self._close(request)
        elif kind in ("500", "503"):
            code = "InternalError" if kind == "500" else "SlowDown"
            words = f"<Error><Code>{code}</Code><Message>On schedule</Message></Error>".encode()
            self._answer(request, int(kind), [("Content-Type", "application/xml")], words)
        else:
            self._pass_on(request, body, kind)

    def _pass_on(self, request, body, kind):
        upstream = http.client.HTTPConnection("127.0.0.1", self.server_port)
        try:
            upstream.request(request.command, request.path, body, dict(request.headers))
            answer = upstream.getresponse()
            data = answer.read()
        finally:
            upstream.close()
        if kind == "lost":
            self._close(request)
            return
        if kind == "late":
            time.sleep(self.late)
        self._answer(request, answer.status, answer.getheaders(), data, cut=kind == "cut")

    @staticmethod
    def _close(request):
        request.close_connection = True
        request.connection.close()

    def _answer(self, request, status, headers, data, cut=False):
        skipped = {"connection", "transfer-encoding", "content-length", "server", "date"}
        length = {name.lower(): value for name, value in headers}.get("content-length")
        request.send_response(status)
        for name, value in headers:
            if name.lower() not in skipped:
                request.send_header(name, value)
        is_head = request.command == "HEAD"
        request.send_header("Content-Length", length if is_head and length else str(len(data)))
        request.end_headers()
        if cut:
            request.wfile.write(data[: len(data) // 2])
            self._close(request)
        elif not is_head:
            request.wfile.write(data)


def assert_root_or_one_line(proxy, run, root):
    """Run beside a proxy that lets some fail: it comes to the root, or to one line of a bucket.

    From then on nothing fails.
    """
    found = said = None
    try:
        found = run().root_digest
    except BucketError as error:
        said = str(error)
    assert found == root if said is None else "\n" not in said, (found, said)
    assert sum(count for kind, count in proxy.counts.items() if kind) > 0
    proxy.share = 0.0


class Refusing(Proxy):
    """A server that lets nobody in."""

    def handle(self, request):
        request.rfile.read(int(request.headers.get("Content-Length") or 0))
        words = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self._answer(request, 403, [("Content-Type", "application/xml")], words)

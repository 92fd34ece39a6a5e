"""An identity provider for tests: keys, a real HTTP server that publishes them, and tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jws
from joserfc.jwk import RSAKey

AUDIENCE = "https://configtrail.example"


class Provider:
    """Issues tokens. `reachable` False: it answers 503; `asked` counts requests for its keys;
    `others` are such that nobody here understands."""

    def __init__(self) -> None:
        self.others: list[object] = []
        self.keys = {"one": RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})}
        self.reachable = True
        self.asked = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = provider.answer(self.path)
                self.send_response(200 if body is not None else 503)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Provider:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str) -> object:
        """What it says at a path; None when it can't."""
        if not self.reachable:
            return None
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}
        self.asked += 1
        return {"keys": [*self.others, *(one.as_dict(private=False) for one in self.keys.values())]}

    def rotate(self) -> None:
        """Another key in place of the one before."""
        self.keys = {"two": RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})}

    def claims(self, **more: Any) -> dict[str, Any]:
        """Good claims; those given as None are left out."""
        now = int(time.time())
        found = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "ann",
            "groups": ["netops"],
            "iat": now,
            "exp": now + 600,
        } | more
        return {name: value for name, value in found.items() if value is not None}

    def token(self, claims: dict[str, Any] | None = None, key: Any = None, **header: Any) -> str:
        """A token, good unless told otherwise."""
        key_id, own = next(iter(self.keys.items()))
        head = {"alg": "RS256", "kid": key_id, "typ": "at+jwt"} | header
        return jws.serialize_compact(
            {name: value for name, value in head.items() if value is not None},
            json.dumps(self.claims() if claims is None else claims),
            key or own,
            algorithms=["RS256", "RS512"],
        )

    def bad_tokens(self) -> dict[str, str]:
        """Every way in which a token is not to be accepted."""
        now = int(time.time())
        public = next(iter(self.keys.values())).as_pem(private=False)
        stranger = RSAKey.generate_key(2048, {"kid": "one"})
        good = self.token()
        head, body, signature = good.split(".")
        other = self.token(self.claims(sub="root")).split(".")[1]
        kind = {"kid": "one", "typ": "at+jwt"}
        return {
            "alg none": _by_hand(
                {"alg": "none", "kid": "one", "typ": "at+jwt"}, self.claims(), b""
            ),
            "no signature": f"{head}.{body}.",
            "HS256 with the public key": _by_hand({**kind, "alg": "HS256"}, self.claims(), public),
            "an algorithm that is not listed": self.token(alg="RS512"),
            "another issuer": self.token(self.claims(iss="https://evil.example")),
            "no issuer": self.token(self.claims(iss=None)),
            "another audience": self.token(self.claims(aud="https://other.example")),
            "no audience": self.token(self.claims(aud=None)),
            "another kid": self.token(kid="three"),
            "no kid": self.token(kid=None),
            "kid as a path": self.token(kid="../../etc/passwd"),
            "kid as SQL": self.token(kid="' OR 1=1 --"),
            "another key of that kid": self.token(key=stranger),
            "another type": self.token(typ="dpop+jwt"),
            "no type": self.token(typ=None),
            "expired": self.token(self.claims(exp=now - 3600)),
            "no end": self.token(self.claims(exp=None)),
            "not yet": self.token(self.claims(nbf=now + 3600)),
            "an end that is no time": self.token(self.claims(exp="tomorrow")),
            "nobody's": self.token(self.claims(sub=None)),
            "another body": f"{head}.{other}.{signature}",
            "rubbish": "a.b.c",
            "a key of no form": "ctk_zz",
            **{
                f"a header that is {said[:7]!r}": f"{_base64(said)}.{body}.{signature}"
                for said in (b'["alg"]', b'"alg"', b"[" * 9000)
            },
        }


def _by_hand(header: dict[str, str], claims: dict[str, Any], secret: bytes) -> str:
    """What no library makes any more: signed with a shared secret, or not at all."""
    signed = f"{_base64(json.dumps(header).encode())}.{_base64(json.dumps(claims).encode())}"
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest() if secret else b""
    return f"{signed}.{_base64(digest)}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

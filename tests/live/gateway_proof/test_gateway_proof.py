"""`examples/openai_chatkit_server/gateway_proof.py`, in a process of its own."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import json
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Depends, FastAPI, Request

from gateway_proof import HEADER, Caller, GatewayOnly, GatewayProof, header_value

SECRET, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2
AUDIENCE = "http://127.0.0.1:8000"
BODY = b'{"type":"threads.list"}'
PROOF = functools.partial(GatewayProof, audience=AUDIENCE, secrets=[SECRET])


# What may be at a key set's URL in its place; in a list, what is no HTTP.
BROKEN = [
    b"{}", b"nonsense", b"\xff", b"null", b'"keys"', b'{"keys":null}', b'{"keys":{}}', b'{"keys":["x"]}',
    b'{"keys":[{"kty":"OKP","crv":"Ed25519"}]}', b" " * 70_000, b"[" * 60_000,
    b'{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":7}]}',
    b'{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"AA"}]}',
    [b""], [b"SSH-2.0-x\r\n"], [b"HTTP/1.1 200 OK\r\na: " + b"a" * 70_000 + b"\r\n\r\n"],
    [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"], [b"HTTP/1.1 503 Later\r\n\r\n"],
    [b"HTTP/1.1 302 Found\r\nlocation: http://[/\r\n\r\n"],
    [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
]  # fmt: skip


def statement(key=SECRET, algorithm="HS256", kid=None, body=BODY, **changed) -> str:
    now = int(time.time())
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
    claims = {
        "iss": "chatkit-rest", "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 30,
        "jti": f"{time.monotonic_ns()}", "op": "list_threads", "request_id": "r1", "body_sha256": digest,
    } | changed  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": kid} if kid else None)


def by_dependency(proof: GatewayProof) -> FastAPI:
    app = FastAPI()

    @app.post("/chatkit")
    async def chatkit(request: Request, caller: Caller = Depends(proof)):
        assert request.state.gateway is caller
        return [caller.user_id, caller.operation, caller.request_id, (await request.body()).decode()]

    return app


def by_middleware(proof: GatewayProof) -> FastAPI:
    app = FastAPI()

    @app.post("/chatkit")
    async def chatkit(request: Request):
        caller = request.state.gateway
        return [caller.user_id, caller.operation, caller.request_id, (await request.body()).decode()]

    @app.post("/open/x")
    async def open_to_all():
        return "open"

    app.add_middleware(GatewayOnly, proof=proof, open=["/open/"])
    return app


BOTH = [by_dependency, by_middleware]


def call(app, *tokens, path="/chatkit", body=BODY, users=("ada",), pieces=1, cut=False):
    """Gives the status and the body of an answer, and how much of the body was read."""
    headers = [(HEADER.encode(), token.encode()) for token in tokens]
    headers += [(b"x-user-id", header_value(user).encode()) for user in users]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    size = max(1, -(-len(body) // pieces))
    chunks = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    left, sent = list(chunks), []

    async def receive():
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": cut or bool(left)}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    text = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(text), len(chunks) - len(left)


class ByASecret(unittest.TestCase):
    def test_the_gateways_request_passes_once(self):
        for of in BOTH:
            with self.subTest(of.__name__):
                app, token = of(PROOF()), statement()
                status, answer, _ = call(app, token, pieces=3)
                self.assertEqual((status, answer), (200, ["ada", "list_threads", "r1", BODY.decode()]))
                with self.assertLogs("gateway_proof"):
                    self.assertEqual(call(app, token)[0], 401, "a second time")
                self.assertEqual(call(app, statement())[0], 200, "another one")
                again = of(PROOF(once=False))
                self.assertEqual([call(again, token)[0] for _ in range(2)], [200, 200])

    def test_a_users_id_is_as_it_is(self):
        for user in ["Ada Löv", "50%", "a,b", "😀", '"\\']:
            status, answer, _ = call(by_dependency(PROOF()), statement(sub=user), users=[user])
            self.assertEqual((status, answer[0]), (200, user))

    def test_nobody_else_is_believed(self):
        past = int(time.time()) - 100
        forged = {
            "none": [],
            "two": [statement(), statement()],
            "no token": ["x.y.z"],
            "another secret": [statement(OTHER)],
            "unsigned": [statement("", "none")],
            "another algorithm": [statement(SECRET * 2, "HS512")],
            "a signature cut": [statement()[:-1]],
            "expired": [statement(iat=past, exp=past + 30)],
            "of the future": [statement(iat=past + 1000, exp=past + 1030)],
            "another audience": [statement(aud="http://127.0.0.1:8001")],
            "no audience": [statement(aud=None)],
            "another issuer": [statement(iss="me")],
            "no end": [statement(exp=None)],
            "no id": [statement(jti=None)],
            "no user": [statement(sub=None)],
            "no body": [statement(body_sha256=None)],
            "an end in a text": [statement(exp=str(past + 1000))],
            "an end that is none": [statement(exp=10**400)],
            "a user that is no text": [statement(sub="\ud800")],
            "a body of other letters": [statement(body_sha256="é")],
        }
        for of in BOTH:
            for name, tokens in forged.items():
                with self.subTest(f"{of.__name__}: {name}"), self.assertLogs("gateway_proof"):
                    status, answer, read = call(of(PROOF()), *tokens)
                    self.assertEqual((status, answer), (401, {"detail": "This server is for its gateway."}))
                    self.assertEqual(read, 0, "a stranger's body is not read")

    def test_neither_body_nor_user_is_another(self):
        for of in BOTH:
            for more in [
                {"body": BODY + b" "},
                {"body": b""},
                {"users": ["eve"]},
                {"users": ["ada", "eve"]},
                {"users": []},
            ]:
                app, token = of(PROOF()), statement()
                with self.subTest(f"{of.__name__}: {more}"), self.assertLogs("gateway_proof"):
                    self.assertEqual(call(app, token, **more)[0], 401)
                self.assertEqual(call(app, token)[0], 200, "and it isn't used up")

    def test_only_paths_that_are_named_are_open(self):
        app = by_middleware(PROOF())
        self.assertEqual(call(app, path="/open/x"), (200, "open", 0))
        with self.assertLogs("gateway_proof"):
            for path in ["/openly", "/nowhere", "/"]:
                self.assertEqual(call(app, path=path)[0], 401)

    def test_a_body_has_a_bound(self):
        for of in BOTH:
            for bound, result in [(10, (401, 2)), (99, (401, 10))]:
                app = of(PROOF(max_body_bytes=bound))
                with self.subTest(f"{of.__name__}: {bound}"), self.assertLogs("gateway_proof"):
                    status, _, read = call(app, statement(body=b"a" * 100), body=b"a" * 100, pieces=10)
                    self.assertEqual((status, read), result)
            app = of(PROOF(max_body_bytes=100))
            status, answer, _ = call(app, statement(body=b"a" * 100), body=b"a" * 100, pieces=10)
            self.assertEqual((status, answer[3]), (200, "a" * 100))

    def test_a_body_that_is_cut_is_refused(self):
        for of in BOTH:
            with self.subTest(of.__name__), self.assertLogs("gateway_proof"):
                self.assertEqual(call(of(PROOF()), statement(), pieces=3, cut=True)[0], 401)

    def test_either_secret_is_right_while_they_are_exchanged(self):
        app = by_dependency(PROOF(secrets=[OTHER, SECRET]))
        self.assertEqual([call(app, statement(key))[0] for key in [SECRET, OTHER]], [200, 200])

    def test_what_is_remembered_is_bounded(self):
        proof = PROOF(remembered=3)
        later = time.time() + 60
        self.assertEqual([proof.first_time(jti, later) for jti in "abcad"], [True, True, True, False, True])
        self.assertEqual([proof.first_time(jti, later) for jti in "dba"], [False, False, True])
        self.assertEqual(len(proof._seen), 3)
        old = PROOF()
        for jti in "abc":
            old.first_time(jti, time.time() - 1)
        old.first_time("d", later)
        self.assertEqual(list(old._seen), ["d"], "what has ended is forgotten")

    def test_settings_are_not_half(self):
        for wrong in [{"secrets": []}, {"jwks_url": "http://a"}, {"secrets": ["short"]}]:
            with self.assertRaises(ValueError):
                PROOF(**wrong)
        with self.assertRaises(ValueError):
            GatewayProof(audience=AUDIENCE, jwks_url="file:///etc/passwd")


class TheManual(unittest.TestCase):
    def test_what_it_shows_asks_for_a_proof(self):
        page = (Path(__file__).parents[3] / "src/manual/security.md").read_text("utf-8")
        block = page.split("<!-- proof -->\n\n```python\n")[1].split("```")[0]
        keys = 'jwks_url="https://gateway.example.org/.well-known/jwks.json",  # or secrets=["…"]'
        self.assertIn(keys, block)
        shown: dict = {}
        exec(block.replace(keys, f"secrets=[{SECRET!r}],"), shown)  # noqa: S102
        token = statement(aud="https://chat.example.org")
        status, answer, _ = call(shown["app"], token)
        self.assertEqual((status, answer), (200, {"user": "ada", "as": "list_threads"}))
        with self.assertLogs("gateway_proof"):
            self.assertEqual(call(shown["app"])[0], 401)


class ByAKey(unittest.TestCase):
    def setUp(self):
        self.keys = {"k1": Ed25519PrivateKey.generate()}
        self.asked, self.answer = 0, None
        test = self

        class Gateway(BaseHTTPRequestHandler):
            def do_GET(self):
                test.asked += 1
                if isinstance(test.answer, list):
                    self.wfile.write(test.answer[0])
                    return
                body = test.answer or test.key_set()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Gateway)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        url = f"http://127.0.0.1:{self.server.server_port}/.well-known/jwks.json"
        self.proof = GatewayProof(audience=AUDIENCE, jwks_url=url)
        self.app = by_dependency(self.proof)

    def key_set(self) -> bytes:
        def jwk(kid, key):
            x = base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()
            return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig"}

        return json.dumps({"keys": [jwk(*key) for key in self.keys.items()]}).encode()

    def status(self, kid="k1", key=None) -> int:
        return call(self.app, statement(key or self.keys[kid], "EdDSA", kid))[0]

    def test_a_published_key_is_read_once(self):
        self.assertEqual([self.status() for _ in range(3)], [200] * 3)
        self.assertEqual(self.asked, 1)

    def test_another_key_is_no_ones(self):
        with self.assertLogs("gateway_proof"):
            self.assertEqual(self.status(key=Ed25519PrivateKey.generate()), 401)
            self.assertEqual(call(self.app, statement())[0], 401, "a secret")
            self.assertEqual(call(self.app, statement(SECRET, kid="k1"))[0], 401, "a secret by that name")

    def test_an_unknown_key_has_them_read_again_and_not_for_ever(self):
        self.assertEqual(self.status(), 200)
        self.keys["k2"] = Ed25519PrivateKey.generate()
        with self.assertLogs("gateway_proof"):
            self.assertEqual([self.status("k2") for _ in range(9)], [401] * 9, "within a minute")
        self.assertEqual(self.asked, 1)
        self.proof._keys._tried_at -= 61
        self.assertEqual([self.status("k2") for _ in range(3)], [200] * 3)
        self.assertEqual(self.asked, 2)

    def test_known_keys_are_good_through_an_outage(self):
        self.assertEqual(self.status(), 200)
        for broken in BROKEN:
            self.answer = broken
            self.proof._keys._read_at -= 301
            self.proof._keys._tried_at -= 61
            with self.subTest(str(broken)[:40]), self.assertLogs("gateway_proof"):
                self.assertEqual(self.status(), 200)
        self.assertEqual(self.asked, 1 + len(BROKEN))

    def test_without_keys_nobody_is_let_in(self):
        for of in BOTH:
            for broken in BROKEN:
                self.answer = broken
                self.proof._keys._tried_at = float("-inf")
                with self.subTest(f"{of.__name__}: {broken!s:.40}"), self.assertLogs("gateway_proof"):
                    token = statement(self.keys["k1"], "EdDSA", "k1")
                    self.assertEqual(call(of(self.proof), token)[0], 401)
        self.assertEqual(self.asked, 2 * len(BROKEN))
        self.answer, self.proof._keys._tried_at = None, float("-inf")
        self.assertEqual(self.status(), 200)


if __name__ == "__main__":
    unittest.main()

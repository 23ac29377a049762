"""Plain HTTP for tests: exact control of what is sent, nothing hidden from what comes back.

`Client` speaks the registry's token protocol the way real clients do: ask, read the challenge, fetch a token for the
challenge's scope, ask again. Tokens are kept per scope.
"""

import base64
import http.client
import json
import re
import socket
from urllib.parse import quote, urlencode, urlsplit

TIMEOUT_SECONDS = 60


class Answer:
    def __init__(self, request, response, body):
        self.request = request
        self.status = response.status
        self.headers = response.headers
        self.body = body

    def header(self, name):
        return self.headers.get(name)

    def json(self):
        return json.loads(self.body)

    def codes(self):
        """The error codes of the body, [] when it holds none."""
        try:
            return [error["code"] for error in self.json()["errors"]]
        except (ValueError, KeyError, TypeError):
            return []

    def __str__(self):
        headers = "".join(f"\n  {name}: {value}" for name, value in self.headers.items())
        return f"{self.request} -> {self.status}{headers}\n  {self.body[:600]!r}"


class Client:
    def __init__(self, host, name=None, password=None):
        self.host = host
        self.name = name
        self.password = password
        self.tokens = {}

    def send(self, method, target, body=None, headers=()):
        """One request, with exactly these headers besides Host. `headers` is a list of pairs and may repeat a name.

        `body` may be bytes (sent with Content-Length) or a list of bytes (sent in chunks).
        """
        connection = http.client.HTTPConnection(self.host, timeout=TIMEOUT_SECONDS)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            names = {name.lower() for name, _ in headers}
            for name, value in headers:
                connection.putheader(name, value)
            if isinstance(body, list):
                connection.putheader("Transfer-Encoding", "chunked")
                connection.endheaders()
                for piece in [piece for piece in body if piece] + [b""]:
                    connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            else:
                if "content-length" not in names and (body is not None or method in ("POST", "PUT", "PATCH")):
                    connection.putheader("Content-Length", str(len(body or b"")))
                connection.endheaders()
                if body:
                    connection.send(body)
            response = connection.getresponse()
            return Answer(f"{method} {target}", response, response.read())
        finally:
            connection.close()

    def basic(self):
        text = base64.b64encode(f"{self.name}:{self.password}".encode()).decode()
        return ("Authorization", f"Basic {text}")

    def token_for(self, challenge):
        """Fetches the token that a `WWW-Authenticate` header asks for."""
        parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = urlsplit(parameters["realm"])
        query = {key: parameters[key] for key in ("service", "scope") if parameters.get(key)}
        headers = [self.basic()] if self.name else []
        asked = Client(realm.netloc).send("GET", f"{realm.path}?{urlencode(query)}", headers=headers)
        if asked.status != 200:
            raise RuntimeError(f"no token: {asked}")
        return asked.json()["token"]

    def registry(self, method, target, body=None, headers=(), scope=None):
        """A request to /v2 with a token, fetched once the registry asks for it."""
        headers = list(headers)
        key = (scope or scope_key(target), scope_class(method))
        if key in self.tokens:
            answer = self.send(method, target, body, [*headers, ("Authorization", f"Bearer {self.tokens[key]}")])
        else:
            answer = self.send(method, target, body, headers)
        if answer.status == 401 and "Bearer" in (answer.header("WWW-Authenticate") or ""):
            self.tokens[key] = self.token_for(answer.header("WWW-Authenticate"))
            answer = self.send(method, target, body, [*headers, ("Authorization", f"Bearer {self.tokens[key]}")])
        return answer

    def api(self, method, path, body=None, headers=()):
        """A request to the REST API with Basic credentials."""
        headers = list(headers)
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers.append(("Content-Type", "application/json"))
        if self.name:
            headers.append(self.basic())
        return self.send(method, f"/api/v2.0{path}", payload, headers)


def scope_key(target):
    """The repository of a /v2 path: tokens are kept per repository, as clients keep them."""
    path = urlsplit(target).path
    found = re.match(r"/v2/(.+)/(?:blobs|manifests|tags|referrers)(?:/|$)", path)
    return found.group(1) if found else path


def scope_class(method):
    return {"GET": "read", "HEAD": "read", "DELETE": "delete"}.get(method, "write")


def with_query(location, **parameters):
    """Adds query parameters to a `Location`, which may have some already."""
    path = urlsplit(location)
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
    joined = f"{path.query}&{query}" if path.query else query
    return f"{path.path}?{joined}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

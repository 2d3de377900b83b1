"""A hook of Partyline, with the standard library: it admits clients, acks, and passes on what the test page sends.

  HOOK_SECRETS_FILE=hook-secrets python3 hook.py 3081
"""
import base64
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

with open(os.environ["HOOK_SECRETS_FILE"]) as file:
    secrets = [base64.b64decode(line.strip().removeprefix("whsec_")) for line in file if line.strip()]
tries = {}  # of the last 10 minutes, by the id of the request: all tries of one have the same id
guard = threading.Lock()


class Tries:
    def __init__(self):
        self.began, self.lock, self.answer, self.answered = time.time(), threading.Lock(), None, set()


def signature(headers, body):
    """Returns what tells this try from all others, or None if the gateway did not send it within the last 5 minutes."""
    at = headers.get("webhook-timestamp", "0")
    signed = f"{headers['webhook-id']}.{at}.".encode() + body
    good = [b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in secrets]
    given = headers.get("webhook-signature", "").encode().split()
    is_genuine = any(hmac.compare_digest(a, b) for a in good for b in given)
    return good[0] if is_genuine and abs(time.time() - float(at)) < 300 else None


def of(key):
    with guard:
        while tries and time.time() - next(iter(tries.values())).began > 600:
            del tries[next(iter(tries))]
        return tries.setdefault(key, Tries())


def answer(request):
    if request["type"] == "partyline.connect":
        name = str(request["data"]["handshake"]["auth"].get("name", "someone"))
        return (403, {"message": "not you"}) if name == "mallory" else (200, {"user": name})
    if request["type"] == "partyline.disconnect":
        return 200, {}
    name, *args = request["data"]["event"]
    if name == "direct":  # the page's three events: to a socket, to all, and to a room or to all
        return 200, {"emit": [{"to": {"socket": args[0]}, "event": [name, *args]}]}
    to = {"room": args[-1]["room"]} if name == "message" and "room" in args[-1] else {"all": True}
    return 200, {"ack": ["delivered"], "emit": [{"to": to, "except": [request["socket"]], "event": [name, *args]}]}


class Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        this = signature(self.headers, body)
        if this is None:
            return self.send_error(400)
        request = of(self.headers["webhook-id"])
        with request.lock:  # a try that comes meanwhile waits
            if this in request.answered:
                return self.send_error(409)  # a recording: a new try has a new timestamp
            if request.answer is None:  # else it has been done, and gets the same answer
                request.answer = answer(json.loads(body))
            status, result = request.answer
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(result).encode())
            request.answered.add(this)  # behind the answer, which fails if the gateway has gone

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hook).serve_forever()

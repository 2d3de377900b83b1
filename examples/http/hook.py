"""A hook of Partyline, with the standard library: it admits clients, acks, and passes on what the test page sends.

  HOOK_SECRETS_FILE=hook-secrets python3 hook.py 3081
"""
import base64
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

with open(os.environ["HOOK_SECRETS_FILE"]) as file:
    secrets = [base64.b64decode(line.strip().removeprefix("whsec_")) for line in file if line.strip()]
answers = {}  # to the requests of the last 10 minutes, by their ids: a request may come again


def is_genuine(headers, body):
    at = headers.get("webhook-timestamp", "0")
    signed = f"{headers['webhook-id']}.{at}.".encode() + body
    good = [b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in secrets]
    given = headers.get("webhook-signature", "").encode().split()
    return abs(time.time() - float(at)) < 300 and any(hmac.compare_digest(a, b) for a in good for b in given)


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
        if not is_genuine(self.headers, body):
            return self.send_error(400)
        key, now = self.headers["webhook-id"], time.time()
        while answers and now - next(iter(answers.values()))[0] > 600:
            del answers[next(iter(answers))]
        if key not in answers:  # else it has been done, and gets the same answer
            answers[key] = now, answer(json.loads(body))
        status, result = answers[key][1]
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(result).encode())

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hook).serve_forever()

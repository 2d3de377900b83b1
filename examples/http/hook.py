"""A hook of Partyline, with the standard library: it admits clients, acks, and passes on what the test page sends.

  HOOK_SECRETS_FILE=hook-secrets python3 hook.py 3081
"""
import base64, hmac, json, os, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

with open(os.environ["HOOK_SECRETS_FILE"]) as file:
    secrets = [base64.b64decode(line.strip().removeprefix("whsec_")) for line in file if line.strip()]
seen, lock = {}, threading.Lock()  # of 10 minutes: the answer to each id, and the signature of each try


def handle(headers, body):
    id, at = headers["webhook-id"], headers["webhook-timestamp"]
    signed = f"{id}.{at}.".encode() + body
    good = [b"v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")) for secret in secrets]
    given = headers.get("webhook-signature", "").encode().split()
    if not any(hmac.compare_digest(a, b) for a in good for b in given) or abs(time.time() - int(at)) > 300:
        return 400, {}
    with lock:  # while it handles one request, the others wait
        while seen and next(iter(seen.values()))[0] < time.time() - 600:
            del seen[next(iter(seen))]
        if good[0] in seen:
            return 409, {}  # a recording: a new try has another timestamp, and so another signature
        seen[good[0]] = time.time(), None
        if id not in seen:  # else it is a new try of what is done, and gets the same answer
            seen[id] = time.time(), answer(json.loads(body))
        return seen[id][1]


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
        status, result = handle(self.headers, self.rfile.read(int(self.headers["content-length"])))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(result).encode())

    log_message = lambda *_: None


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hook).serve_forever()

"""Publishes to a room from Python, with the standard library.

  GATEWAY=http://127.0.0.1:3080 GATEWAY_KEY=partyline_… python3 publish.py news "It works"
"""
import json
import os
import sys
import urllib.error
import urllib.request

room, text = sys.argv[1:]
command = {"namespace": "/chat_room", "to": {"room": room}, "event": ["message", text]}
headers = {"Authorization": "Bearer " + os.environ["GATEWAY_KEY"], "Content-Type": "application/json"}
request = urllib.request.Request(os.environ["GATEWAY"] + "/v1/emit", json.dumps(command).encode(), headers)
try:
    urllib.request.urlopen(request, timeout=10).read()
except urllib.error.HTTPError as error:
    sys.exit(json.load(error)["detail"])

"""Tokens for Partyline from Python. HMAC needs no package, RSA needs PyJWT. See docs/how-to/authenticate.md.

  TOKEN_SECRET_FILE=secret python3 make_token.py ann         a token for the user ann, signed with HMAC
  TOKEN_KEY_FILE=private.pem python3 make_token.py ann       the same, signed with RSA: pip install "pyjwt[crypto]"
  TOKEN_KEY_FILE=private.pem python3 make_token.py --jwks    the public key, as a key set
"""
import base64
import hashlib
import hmac
import json
import os
import sys
import time


def claims(user, grant):
    now = int(time.time())  # seconds
    return {"iss": "https://id.example", "aud": "partyline", "sub": user, "iat": now, "exp": now + 15 * 60, "partyline": grant}


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def hmac_token(secret, user, grant):
    head = {"alg": "HS256", "typ": "JWT"}
    text = b".".join(encode(json.dumps(part).encode()) for part in (head, claims(user, grant)))
    return (text + b"." + encode(hmac.digest(secret, text, "sha256"))).decode()


def rsa_token(private_key, user, grant):
    import jwt

    return jwt.encode(claims(user, grant), private_key, algorithm="RS256", headers={"kid": public_key(private_key)["kid"]})


def public_key(private_key):
    import jwt.algorithms
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    public = load_pem_private_key(private_key, None).public_key()
    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(public))
    # A new key so has a new name.
    name = encode(hashlib.sha256(f"{key['n']}.{key['e']}".encode()).digest()).decode()[:16]
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": name, "n": key["n"], "e": key["e"]}


def read(name):
    with open(os.environ[name], "rb") as file:
        return file.read()


what = sys.argv[1]
grant = {"rooms": ["team-7"], "join": ["lobby-*"]}
if what == "--jwks":
    print(json.dumps({"keys": [public_key(read("TOKEN_KEY_FILE"))]}))
elif "TOKEN_KEY_FILE" in os.environ:
    print(rsa_token(read("TOKEN_KEY_FILE"), what, grant))
else:
    print(hmac_token(read("TOKEN_SECRET_FILE").rstrip(b"\r\n"), what, grant))

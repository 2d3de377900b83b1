// Tokens for Partyline from Node.js, without a package. See docs/how-to/authenticate.md.
//
//   TOKEN_SECRET_FILE=secret node make_token.mjs ann         a token for the user ann, signed with HMAC
//   TOKEN_KEY_FILE=private.pem node make_token.mjs ann       the same, signed with RSA
//   TOKEN_KEY_FILE=private.pem node make_token.mjs --jwks    the public key, as a key set
import { createHash, createHmac, createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function claims(user, grant) {
  const now = Math.floor(Date.now() / 1000); // seconds
  return { iss: "https://id.example", aud: "partyline", sub: user, iat: now, exp: now + 15 * 60, partyline: grant };
}

function hmacToken(secret, user, grant) {
  const text = encode({ alg: "HS256", typ: "JWT" }) + "." + encode(claims(user, grant));
  return text + "." + createHmac("sha256", secret).update(text).digest("base64url");
}

function rsaToken(privateKey, user, grant) {
  const text = encode({ alg: "RS256", typ: "JWT", kid: keyID(privateKey) }) + "." + encode(claims(user, grant));
  return text + "." + sign("sha256", Buffer.from(text), privateKey).toString("base64url");
}

// keyID names a key by its public part. A new key so has a new name.
function keyID(privateKey) {
  const { n, e } = createPublicKey(privateKey).export({ format: "jwk" });
  return createHash("sha256").update(`${n}.${e}`).digest("base64url").slice(0, 16);
}

function keySet(privateKey) {
  const { n, e } = createPublicKey(privateKey).export({ format: "jwk" });
  return { keys: [{ kty: "RSA", use: "sig", alg: "RS256", kid: keyID(privateKey), n, e }] };
}

const [what] = process.argv.slice(2);
const { TOKEN_SECRET_FILE: secretFile, TOKEN_KEY_FILE: keyFile } = process.env;
const grant = { rooms: ["team-7"], join: ["lobby-*"] };
if (what === "--jwks") {
  console.log(JSON.stringify(keySet(readFileSync(keyFile, "utf8"))));
} else if (keyFile) {
  console.log(rsaToken(readFileSync(keyFile, "utf8"), what, grant));
} else {
  console.log(hmacToken(readFileSync(secretFile, "utf8").trimEnd(), what, grant));
}

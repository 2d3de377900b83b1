<?php
// Tokens for Partyline from PHP, without a package. See docs/how-to/authenticate.md.
//
//   TOKEN_SECRET_FILE=secret php make_token.php ann            a token for the user ann, signed with HMAC
//   TOKEN_KEY_FILE=private.pem php make_token.php ann          the same, signed with RSA
//   TOKEN_KEY_FILE=private.pem php make_token.php -- --jwks    the public key, as a key set

function encode(string $data): string
{
    return rtrim(strtr(base64_encode($data), '+/', '-_'), '=');
}

function claims(string $user, array $grant): array
{
    $now = time(); // seconds
    return ['iss' => 'https://id.example', 'aud' => 'partyline', 'sub' => $user, 'iat' => $now, 'exp' => $now + 15 * 60, 'partyline' => $grant];
}

function hmac_token(string $secret, string $user, array $grant): string
{
    $head = ['alg' => 'HS256', 'typ' => 'JWT'];
    $text = encode(json_encode($head)) . '.' . encode(json_encode(claims($user, $grant)));
    return $text . '.' . encode(hash_hmac('sha256', $text, $secret, true));
}

function rsa_token(string $private, string $user, array $grant): string
{
    $head = ['alg' => 'RS256', 'typ' => 'JWT', 'kid' => public_key($private)['kid']];
    $text = encode(json_encode($head)) . '.' . encode(json_encode(claims($user, $grant)));
    openssl_sign($text, $signature, $private, OPENSSL_ALGO_SHA256);
    return $text . '.' . encode($signature);
}

function public_key(string $private): array
{
    ['n' => $n, 'e' => $e] = openssl_pkey_get_details(openssl_pkey_get_private($private))['rsa'];
    [$n, $e] = [encode($n), encode($e)];
    // A new key so has a new name.
    $name = substr(encode(hash('sha256', "$n.$e", true)), 0, 16);
    return ['kty' => 'RSA', 'use' => 'sig', 'alg' => 'RS256', 'kid' => $name, 'n' => $n, 'e' => $e];
}

$what = end($argv);
$keyFile = getenv('TOKEN_KEY_FILE');
// An empty list is [] in JSON. An empty object would have to be new stdClass.
$grant = ['rooms' => ['team-7'], 'join' => ['lobby-*']];
if ($what === '--jwks') {
    echo json_encode(['keys' => [public_key(file_get_contents($keyFile))]]), "\n";
} elseif ($keyFile) {
    echo rsa_token(file_get_contents($keyFile), $what, $grant), "\n";
} else {
    echo hmac_token(rtrim(file_get_contents(getenv('TOKEN_SECRET_FILE')), "\r\n"), $what, $grant), "\n";
}

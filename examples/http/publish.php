<?php
// Publishes to a room from PHP, without extensions.
//
//   GATEWAY=http://127.0.0.1:3080 GATEWAY_KEY=partyline_… php publish.php news "It works"

[, $room, $text] = $argv;
$command = ['namespace' => '/chat_room', 'to' => ['room' => $room], 'event' => ['message', $text]];
$answer = file_get_contents(getenv('GATEWAY') . '/v1/emit', false, stream_context_create(['http' => [
    'method' => 'POST',
    'header' => ['Authorization: Bearer ' . getenv('GATEWAY_KEY'), 'Content-Type: application/json'],
    'content' => json_encode($command),
    'ignore_errors' => true, // an answer of 4xx is an answer
    'timeout' => 10,
]]));
if ($answer === false || isset(json_decode($answer)->detail)) {
    fwrite(STDERR, ($answer === false ? 'no answer' : json_decode($answer)->detail) . "\n");
    exit(1);
}

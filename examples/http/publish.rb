# Publishes to a room from Ruby, with the standard library.
#
#   GATEWAY=http://127.0.0.1:3080 GATEWAY_KEY=partyline_… ruby publish.rb news "It works"

require "json"
require "net/http"

room, text = ARGV
command = { namespace: "/chat_room", to: { room: room }, event: ["message", text] }
answer = Net::HTTP.post(URI(ENV.fetch("GATEWAY") + "/v1/emit"), JSON.generate(command),
                        "Authorization" => "Bearer " + ENV.fetch("GATEWAY_KEY"), "Content-Type" => "application/json")
abort JSON.parse(answer.body)["detail"] unless answer.is_a?(Net::HTTPSuccess)

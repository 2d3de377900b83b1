# For `. examples/ports.sh`: the addresses of `make run` and of the examples, all counted from PORT_BASE. Addresses of the edge
# that are in the environment already stay.
PORT_BASE=${PORT_BASE:-3000}
case $PORT_BASE in
  '' | *[!0-9]* | ??????*) echo "PORT_BASE=$PORT_BASE is not a port; write one such as 5000" >&2; exit 2 ;;
esac
page_port=$((PORT_BASE + 10))
gateway_port=$((PORT_BASE + 80))
hook_port=$((PORT_BASE + 81))
: "${PARTYLINE_LISTEN:=127.0.0.1:$PORT_BASE}"
: "${PARTYLINE_ADMIN_LISTEN:=127.0.0.1:$((PORT_BASE + 1))}"
: "${PARTYLINE_EMBEDDED_LISTEN:=127.0.0.1:$((PORT_BASE + 1222))}"
NATS_URL=nats://$PARTYLINE_EMBEDDED_LISTEN
EDGE_URL=http://localhost:$PORT_BASE
PAGE_LISTEN=127.0.0.1:$page_port
PORT=$page_port
export PARTYLINE_LISTEN PARTYLINE_ADMIN_LISTEN PARTYLINE_EMBEDDED_LISTEN NATS_URL EDGE_URL PAGE_LISTEN PORT

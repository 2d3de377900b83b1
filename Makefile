# The commands that people and CI use. `make run` is the quickest way to see something.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X partyline/cmd/internal/node.version=$(VERSION)

.PHONY: run build client check test suites clean test-compose example-chat example-node bench bench-scale

## run: the single binary with NATS and the chat page inside, on http://localhost:3000
run: build
	./bin/embedded

## example-chat: a chat whose service can be replaced while people talk, on http://localhost:3010
example-chat: build
	go build -trimpath -o bin/ ./examples/chat
	@NATS_URL=nats://127.0.0.1:4222 PAGE_LISTEN=127.0.0.1:3010 EDGE_URL=http://localhost:3000 \
		sh examples/run.sh examples/chat/partyline.yaml ./bin/chat

## example-node: a chat service in JavaScript with the plain NATS client; `npm run talk Ann` in its folder talks to it
example-node: build
	cd examples/node-service && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@NATS_URL=nats://127.0.0.1:4222 sh examples/run.sh examples/node-service/partyline.yaml node examples/node-service/service.mjs

## build: bin/edge and bin/embedded, the official browser client inside
build: client
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/edge ./cmd/embedded

## client: fetch the official Socket.IO client from its npm package, to be embedded
client:
	@sh web/fetch-client.sh

## check: format, vet, layout and unit tests in under a minute, and how many tests there are; no network, nothing installed
check:
	@sh test/check.sh

## test: everything, installing what it needs; says at the end what had to be left out
test: client
	@sh test/run.sh

## test-compose: compose.yaml on the Docker engine that runs here, while its parts fail one after the other (some minutes)
test-compose: client
	cd test/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@sh test/node/stand/run.sh

## suites: the official protocol suites, RUNS times; SOCKETIO is a checkout of github.com/socketio/socket.io
suites:
	@sh test/suites/run.sh "$(SOCKETIO)" $(RUNS)

## bench: measure beside the reference server and a bare broadcaster (under 20 minutes), and write docs/performance.md and
## bench/README.md; with ARGS=--quick a short round that writes nothing (under 2), ARGS=--help for more
bench:
	@go build -C bench -trimpath -o ../bin/bench .
	@./bin/bench --write $(ARGS)

## bench-scale: 45,000 connections and 100,000 rooms on this machine, as in bench/README.md (under 10 minutes, 4 GB of memory);
## ARGS="--quick" tries whether it works, ARGS="--only direct" runs one part
bench-scale:
	@go build -C bench -trimpath -o ../bin/bench .
	@./bin/bench --scale $(ARGS)

## clean: remove what the build made
clean:
	rm -rf bin

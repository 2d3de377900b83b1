# The commands that people and CI use. `make run` is the quickest way to see something.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X partyline/cmd/internal/node.version=$(VERSION)

.PHONY: run build client test test-go test-node clean

## run: the single binary with NATS and the chat page inside, on http://localhost:3000
run: build
	./bin/embedded

## build: bin/edge and bin/embedded, the official browser client inside
build: client
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/edge ./cmd/embedded

## client: fetch the official Socket.IO client from its npm package, to be embedded
client:
	@sh web/fetch-client.sh

## test: everything, installing what it needs; says at the end what had to be left out
test: client
	@sh test/run.sh

## clean: remove what the build made
clean:
	rm -rf bin

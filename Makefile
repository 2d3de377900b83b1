# Commands for people and CI. To try Partyline: `make run`.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  = -s -w -X partyline/cmd/internal/program.version=$(VERSION)

.PHONY: run build release images client module node check test suites clean secrets pin fuzz test-compose test-release example-chat example-node example-node-chat example-http bench bench-scale soak

# PORT_BASE is the port of the edge in `make run` and the examples; examples/ports.sh counts all others from it.
export PORT_BASE ?= 3000

## run: one program with NATS and the test page inside, on http://localhost:3000; PORT_BASE=5000 moves all of its ports
run: build
	@. examples/ports.sh && exec ./bin/embedded

## example-chat: a chat whose service can be replaced while people chat, on http://localhost:3010
example-chat: build
	go build -trimpath -o bin/ ./examples/chat
	@sh examples/run.sh examples/chat/partyline.yaml ./bin/chat

## example-node-chat: a chat as a Socket.IO server in Node.js, on http://localhost:3010
example-node-chat: build node
	cd examples/node-chat && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@. examples/ports.sh && cd examples/node-chat && PARTYLINE_EMBEDDED=../../bin/embedded npm run --silent dev

## example-node: a chat service in JavaScript with the plain NATS client; to chat, `npm run talk Ann` in its folder
example-node: build
	cd examples/node-service && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@sh examples/run.sh examples/node-service/partyline.yaml node examples/node-service/service.mjs

## example-http: the chat of `make run` with a hook in Python, and the HTTP API, on http://localhost:3000
example-http: build
	@sh examples/http/run.sh

## build: bin/edge, bin/embedded and bin/gateway, with the official browser client
build:
	@OPTIONAL=1 sh web/fetch-client.sh
	@OPTIONAL=1 sh gateway/adminui/fetch-pages.sh
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/edge ./cmd/embedded ./cmd/gateway

## client: fetch the official Socket.IO client and the Admin UI, which the programs embed, from their npm packages
client:
	@sh web/fetch-client.sh
	@sh gateway/adminui/fetch-pages.sh

## module: give the Go module another path, to publish and import it: make module PATH=example.org/you/partyline
module:
	@/bin/sh deploy/module.sh '$(PATH)'

## node: the package partyline for Node.js, Socket.IO's server API, in node/dist
node:
	cd node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm run --silent build

## check: format, vet, layout and unit tests in under a minute, and the number of tests; needs no network
check:
	@sh test/check.sh

## test: all tests; installs what they need, and prints at the end what was left out
## (it asks before it installs packages as root, and leaves out what needs them; CI=1 means yes)
test:
	@OPTIONAL=1 sh web/fetch-client.sh
	@OPTIONAL=1 sh gateway/adminui/fetch-pages.sh
	@sh test/run.sh

## release: archives for linux, darwin and windows with SHA-256 sums, in dist; VERSION=v0.1.0 stands in CHANGELOG.md
release: client
	go run ./deploy/release -version '$(VERSION)'

## images: the images edge, embedded and gateway for linux on amd64 and arm64; IMAGES=registry.example/you/partyline PUSH=1
## also pushes them (needs Docker with BuildKit)
images: client
	@VERSION='$(VERSION)' sh deploy/release/images.sh

## test-release: what takes too long for `make test`: archives in two builds, images on a Docker engine, the module under
## another path, upgrades from the version before, the move from embedded to edges, other routers, the Helm chart
test-release: client node
	PARTYLINE_TEST_RELEASE=1 go test -count=1 -v -timeout 30m -run 'Archives|Image|AnotherPath|MoveToEdges|Upgrade' ./test/release ./test/module ./test/deploy ./test/faults ./cmd/embedded
	go vet -C test/embed ./... && go test -C test/embed ./...
	go vet -C test/helm ./... && go test -C test/helm ./...

## secrets: .env with random passwords for compose.yaml, once; what it has already stays
secrets:
	@sh deploy/secrets.sh

## pin: the digests of compose.yaml's images in .env, from their registries
pin:
	@sh deploy/pin.sh

## test-compose: run compose.yaml on the local Docker engine while its parts fail one after the other (some minutes)
test-compose: client
	cd test/node && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@sh test/node/stand/run.sh

## fuzz: all fuzz targets for FUZZTIME in all (default 10m); what fails is kept in testdata/fuzz of its package
fuzz:
	@sh test/fuzz.sh

## suites: the official protocol suites, RUNS times; SOCKETIO is a checkout of github.com/socketio/socket.io
suites:
	@sh test/suites/run.sh "$(SOCKETIO)" $(RUNS)

## bench: compare with the reference server and a bare broadcaster, and write docs/performance.md and bench/README.md
## (under 25 minutes); ARGS=--quick for a short round that writes nothing (under 3), ARGS=--help for more
bench:
	@go build -C bench -trimpath -o ../bin/bench .
	@./bin/bench --write $(ARGS)

## bench-scale: 45,000 connections and 100,000 rooms, as in bench/README.md (under 10 minutes, 4 GB of memory);
## ARGS="--quick" for a trial, ARGS="--only direct" for one part
bench-scale:
	@go build -C bench -trimpath -o ../bin/bench .
	@./bin/bench --scale $(ARGS)

## soak: a deployment of three edges with clients that come and go, and faults, for SOAK (default 1h); after an hour it
## writes its section of docs/performance.md. It takes a fifth of a core
SOAK ?= 1h
soak:
	@mkdir -p bench/results
	go test -count=1 -v -timeout 0 -run TestSoak ./test/soak -soak.lasts=$(SOAK) -soak.results=$(CURDIR)/bench/results/soak.json
	@go build -C bench -trimpath -o ../bin/bench .
	@./bin/bench --soak bench/results/soak.json

## clean: remove the programs and archives that were built
clean:
	rm -rf bin dist

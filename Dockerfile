# Images that hold one static binary and the certificates of the public authorities, for TLS to NATS: `edge` (the default),
# `chat`, the example service, `gateway`, and `embedded`, the edge with NATS inside. What compose.yaml needs comes first, so that a
# builder without BuildKit makes no more. Name the configuration with PARTYLINE_CONFIG, not with a flag: HEALTHCHECK then
# reads the same one.

# The official browser client, from its npm package. Nothing is fetched when `make client` has done so already; any image
# with a shell then serves as CLIENT_IMAGE. Images for other platforms are compiled on the platform of the builder.
ARG CLIENT_IMAGE=node:22-alpine
ARG GO_IMAGE=golang:1.26-alpine
FROM --platform=${BUILDPLATFORM:-linux} ${CLIENT_IMAGE} AS client
WORKDIR /web
COPY web/ ./
RUN sh fetch-client.sh

# The pages of the Admin UI, for programs with a gateway, in the same way.
FROM --platform=${BUILDPLATFORM:-linux} ${CLIENT_IMAGE} AS pages
WORKDIR /adminui
COPY gateway/adminui/ ./
RUN sh fetch-pages.sh

FROM --platform=${BUILDPLATFORM:-linux} ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=client /web/client/ web/client/
ARG VERSION=devel
ARG TARGETOS
ARG TARGETARCH
ENV CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH LDFLAGS="-s -w -X partyline/cmd/internal/program.version=$VERSION"
RUN mkdir /out && go build -trimpath -ldflags "$LDFLAGS" -o /out/ ./cmd/edge ./examples/chat

FROM scratch AS chat
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/chat /chat
USER 65532:65532
ENV PAGE_LISTEN=:3010
EXPOSE 3010
HEALTHCHECK --interval=2s --timeout=3s --start-period=60s CMD ["/chat", "--health"]
ENTRYPOINT ["/chat"]

FROM scratch AS edge
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/edge /edge
USER 65532:65532
EXPOSE 3000
HEALTHCHECK --interval=2s --timeout=3s --start-period=60s CMD ["/edge", "--health"]
ENTRYPOINT ["/edge"]

FROM build AS build-gateway
COPY --from=pages /adminui/pages/ gateway/adminui/pages/
RUN go build -trimpath -ldflags "$LDFLAGS" -o /out/ ./cmd/gateway

FROM scratch AS gateway
COPY --from=build-gateway /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build-gateway /out/gateway /gateway
USER 65532:65532
ENV PARTYLINE_GATEWAY_LISTEN=:3080
EXPOSE 3080
HEALTHCHECK --interval=2s --timeout=3s --start-period=60s CMD ["/gateway", "--health"]
ENTRYPOINT ["/gateway"]

FROM build AS build-embedded
COPY --from=pages /adminui/pages/ gateway/adminui/pages/
RUN go build -trimpath -ldflags "$LDFLAGS" -o /out/ ./cmd/embedded && mkdir -p /folders/data /folders/tmp

# It serves strangers, so it asks for namespaces: docs/how-to/deploy.md has a line to try it. NATS stays on loopback.
# Its JetStream writes to /tmp, or to /data if so configured. A volume at /data takes its owner from the image.
FROM scratch AS embedded
COPY --from=build-embedded /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build-embedded --chown=65532:65532 /folders/ /
COPY --from=build-embedded /out/embedded /embedded
USER 65532:65532
ENV PARTYLINE_LISTEN=:3000
EXPOSE 3000 4222
HEALTHCHECK --interval=2s --timeout=3s --start-period=60s CMD ["/embedded", "--health"]
ENTRYPOINT ["/embedded"]

FROM edge

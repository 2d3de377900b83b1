# Images that hold one static binary and nothing else: `edge` (the default) and `embedded`, the one with NATS inside.

# The official browser client, from its npm package. Nothing is fetched when `make client` has done so already.
FROM node:22-alpine AS client
WORKDIR /web
COPY web/ ./
RUN sh fetch-client.sh

FROM golang:1.26-alpine AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
COPY --from=client /web/client/ web/client/
ARG VERSION=devel
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X partyline/cmd/internal/node.version=$VERSION" -o /out/ ./cmd/edge ./cmd/embedded

FROM scratch AS embedded
COPY --from=build /out/embedded /embedded
USER 65532:65532
EXPOSE 3000 4222
HEALTHCHECK --interval=5s --timeout=3s CMD ["/embedded", "--health"]
ENTRYPOINT ["/embedded"]

FROM scratch AS edge
COPY --from=build /out/edge /edge
USER 65532:65532
EXPOSE 3000
HEALTHCHECK --interval=5s --timeout=3s CMD ["/edge", "--health"]
ENTRYPOINT ["/edge"]

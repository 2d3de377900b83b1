# NATS of compose.yaml: the official image, as a user without privileges. A new volume at /data belongs to that user.
ARG NATS_IMAGE=nats:2.12-alpine
FROM ${NATS_IMAGE}
RUN mkdir -m 700 /data && chown 65532:65532 /data
USER 65532:65532

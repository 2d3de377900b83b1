#!/bin/sh
# `make images`: builds the images of a release for two platforms, as $IMAGES-edge:$VERSION-amd64 and so on. IMAGES is
# "partyline", or begins with your registry. With PUSH=1 it pushes them, and one list for both platforms as
# $IMAGES-edge:$VERSION. PROCESSORS=amd64 builds those alone. The programs are compiled on this machine's platform: nothing
# is emulated. Needs Docker with BuildKit.
set -eu
cd "$(dirname "$0")/../.."
images=${IMAGES:-partyline}
go=${GO_IMAGE:-golang:1.26-alpine}

for program in edge embedded gateway; do
  image=$images-$program:$VERSION
  for processor in ${PROCESSORS:-amd64 arm64}; do
    # `make client` has fetched what the client's image would fetch, so the one with Go does as well.
    DOCKER_BUILDKIT=1 ${DOCKER:-docker} build --platform "linux/$processor" --target "$program" --build-arg "VERSION=$VERSION" \
      --build-arg "GO_IMAGE=$go" --build-arg "CLIENT_IMAGE=${CLIENT_IMAGE:-$go}" --tag "$image-$processor" .
  done
  [ "${PUSH:-}" = 1 ] || continue
  ${DOCKER:-docker} push "$image-amd64"
  ${DOCKER:-docker} push "$image-arm64"
  ${DOCKER:-docker} manifest create --amend "$image" "$image-amd64" "$image-arm64"
  ${DOCKER:-docker} manifest push "$image"
done

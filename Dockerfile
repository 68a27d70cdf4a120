# One static binary on an empty image. `.ci/image` builds the last stage from a binary made outside.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN .ci/build-static dist /out/wharf

FROM scratch
COPY --from=build /out/wharf /wharf
# Ports below 1024 need no privilege in a container; nothing else needs root.
USER 65532:65532
ENTRYPOINT ["/wharf"]

# bancheck as an image of one static file: no shell, no package, not root, nothing written outside
# /var/lib/bancheck and /tmp.
#
#   docker build -t bancheck .                                          builds it inside
#   docker build -t bancheck --build-arg BINARY=host --build-arg HOST_BINARY=target/x86_64-unknown-linux-gnu/dist/bancheck .
#
# The second takes a binary that was built outside, by the very command below. `buildah bud` takes
# the same words. `.ci/sbom` says what is in the binary.
ARG BINARY=build

FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
# A target is named so that the flag is not applied to build scripts and macros as well.
RUN RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --profile dist --bin bancheck --target x86_64-unknown-linux-gnu \
 && cp target/x86_64-unknown-linux-gnu/dist/bancheck /bancheck
WORKDIR /empty

FROM scratch AS host
ARG HOST_BINARY=target/x86_64-unknown-linux-gnu/dist/bancheck
COPY ${HOST_BINARY} /bancheck
WORKDIR /empty

FROM ${BINARY} AS binary

FROM scratch
COPY --from=binary --chmod=0555 /bancheck /usr/local/bin/bancheck
COPY --chmod=0444 LICENSE /LICENSE
# A volume that is made here belongs to whom the folder of the image belongs to.
COPY --from=binary --chown=65532:65532 /empty /var/lib/bancheck
COPY --from=binary --chown=65532:65532 /empty /tmp
ENV PATH=/usr/local/bin BANCHECK_DATA_DIR=/var/lib/bancheck
USER 65532:65532
VOLUME /var/lib/bancheck
EXPOSE 50051 50052 9090
ENTRYPOINT ["/usr/local/bin/bancheck"]
CMD ["serve"]

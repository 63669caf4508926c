#!/bin/bash
# Makes the stand-in base images of docker/offline/images.env on a machine that can reach a Debian
# mirror but no image registry. Needs root, debootstrap and a Docker daemon; takes a few minutes.
# The mirror is debootstrap's default, or $DEBIAN_MIRROR.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root_fs=$(mktemp --directory)
trap 'rm -rf "$root_fs"' EXIT

debootstrap --variant=minbase --include=ca-certificates trixie "$root_fs" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
# Trust whom this machine trusts: it may sit behind a proxy that signs with its own certificate.
cp /etc/ssl/certs/ca-certificates.crt "$root_fs/etc/ssl/certs/ca-certificates.crt"
rm -rf "$root_fs"/var/cache/apt/archives/*.deb "$root_fs"/var/lib/apt/lists/*
tar --create --directory "$root_fs" . | docker import \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'CMD ["bash"]' - reveille-offline/debian:trixie

for target in python postgres prometheus; do
    docker build --target "$target" --tag "reveille-offline/$target:trixie" "$here"
done

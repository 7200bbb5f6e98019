#!/bin/sh
# Makes a base image where no registry can be reached: Debian 12 with its Python 3.11, by debootstrap; as root.
#   images/debian_base.sh localhost/diffusion-shapley/debian-python:12 [Debian mirror]
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$folder" ${2:+"$2"}
rm -rf "$folder"/var/cache/apt/* "$folder"/var/lib/apt/lists/*
tar --create --directory "$folder" . | podman import - "$1"

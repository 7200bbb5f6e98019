#!/bin/sh
# Draws the passwords of a new installation into s3.env and database.env beside this script; what is there stays.
set -eu
umask 077
cd "$(dirname "$0")"

draw() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

if [ ! -e s3.env ]; then
    printf 'AWS_ACCESS_KEY_ID=%.20s\nAWS_SECRET_ACCESS_KEY=%s\n' "$(draw)" "$(draw)" >s3.env
fi
if [ ! -e database.env ]; then
    password=$(draw)
    printf 'password=%s\nuri=postgresql://mlflow:%s@postgres.diffusion-shapley.svc:5432/mlflow\n' \
        "$password" "$password" >database.env
fi

#!/bin/sh
# Installs rasterloom on a new machine, fetches the machine's keys and starts its part of a cluster.
# The two cloud-init files carry it along; what it needs to know stands in /etc/rasterloom/install.env:
#   PACKAGE  what pip installs: rasterloom[s3], a version of it, or the address of a wheel
#   KEYS     folder with ca.pem, cert.pem and key.pem, such as s3://bucket/keys/worker; empty: they are copied here
#            by hand, and the services wait for them
#   ROLE     scheduler or worker
set -eu
# shellcheck source=/dev/null
. /etc/rasterloom/install.env

python3 -m venv /opt/rasterloom
/opt/rasterloom/bin/pip install --quiet --disable-pip-version-check "$PACKAGE"

# Keys are read with the rights of the machine itself, never with a password in its user data.
install -d -m 0700 -o rasterloom -g rasterloom /etc/rasterloom/tls
if [ -n "$KEYS" ]; then
  (
    umask 077
    /opt/rasterloom/bin/python - "$KEYS" /etc/rasterloom/tls <<'PYTHON'
import sys
import fsspec

source, target = sys.argv[1:]
files, folder = fsspec.core.url_to_fs(source)
for name in ("ca.pem", "cert.pem", "key.pem"):
    files.get_file(f"{folder}/{name}", f"{target}/{name}")
PYTHON
  )
  chown rasterloom:rasterloom /etc/rasterloom/tls/ca.pem /etc/rasterloom/tls/cert.pem /etc/rasterloom/tls/key.pem
fi

systemctl daemon-reload
if [ "$ROLE" = scheduler ]; then
  systemctl enable --now rasterloom-scheduler.service
  exit
fi

gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU ') || gpus=0
if [ "$gpus" -eq 0 ]; then
  printf 'RASTERLOOM_GPUS=none\nCUDA_VISIBLE_DEVICES=\n' >>/etc/rasterloom/cluster.env
  gpus=1 # one service, which starts a process for each core
fi
index=0
while [ "$index" -lt "$gpus" ]; do
  systemctl enable --now "rasterloom-worker@$index.service"
  index=$((index + 1))
done

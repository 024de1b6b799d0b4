#!/bin/bash
# Runs one command on a cluster of its own: a scheduler on the job's first machine, a worker for each GPU of every
# machine. All of it ends with the command.
#
#   rasterloom cluster certs ~/rasterloom-keys           # once
#   sbatch --nodes 4 cluster/deploy/slurm/cluster.sh \
#     rasterloom classify-pixels /shared/scene.tif /shared/model.dlpk --output /shared/classes.tif
#
# The command gets --cluster ADDRESS at its end, and RASTERLOOM_CLUSTER in its environment for scripts that call
# connect(). Keys, data and the environment with rasterloom are where every machine finds them under the same name.
#SBATCH --job-name=rasterloom
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=04:00:00
#SBATCH --output=rasterloom-%j.log
set -euo pipefail

if [[ $# -eq 0 ]]; then
  echo "Say what to run on the cluster: sbatch $0 rasterloom classify-pixels ..." >&2
  exit 2
fi
keys=${RASTERLOOM_KEYS:-$HOME/rasterloom-keys}
if [[ ! -r $keys/scheduler/key.pem || ! -r $keys/worker/key.pem || ! -r $keys/client/key.pem ]]; then
  echo "There are no keys in $keys: run 'rasterloom cluster certs $keys', or set RASTERLOOM_KEYS." >&2
  exit 2
fi

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Several jobs may share a machine, so the port is made of the job's number.
port=$((20000 + SLURM_JOB_ID % 20000))
address=tls://$first:$port

rasterloom cluster start --foreground --role scheduler --host 0.0.0.0 --port "$port" \
  --tls "$keys/scheduler" &
scheduler=$!
srun --ntasks-per-node=1 --kill-on-bad-exit=0 rasterloom cluster start --foreground --role worker \
  --join "$address" --tls "$keys/worker" --gpus "${RASTERLOOM_GPUS:-auto}" --grace 20 &
workers=$!

finish() {
  # The command first, then the workers: they say good-bye to a scheduler that is there.
  for process in ${command:-} "$workers" "$scheduler"; do
    kill -TERM "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
}
trap finish EXIT
# With sbatch --signal=B:TERM@120, SLURM says so when the time is nearly over: the same call goes on in another job.
trap 'exit 143' TERM

export RASTERLOOM_TLS=$keys/client RASTERLOOM_CLUSTER=$address
# The command begins when every machine has a worker; those that come later join in.
until (exec 3<>"/dev/tcp/$first/$port") 2>/dev/null; do
  kill -0 "$scheduler" # the script ends where the scheduler has
  sleep 1
done
python - "$address" "$SLURM_JOB_NUM_NODES" <<'PYTHON'
import sys
from rasterloom.cluster import connect

connect(sys.argv[1], n_workers=int(sys.argv[2]), timeout=600).close()
PYTHON

"$@" --cluster "$address" &
command=$!
wait "$command"

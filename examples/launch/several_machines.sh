#!/bin/sh
# One job on several machines that share a disk. Start it on each of them with the same words:
#   MACHINES=2 PROCESSES=8 MAIN=first.host sh examples/launch/several_machines.sh my.toml --out /shared/my
# MAIN is one of the machines; all others reach its port 29500.
exec torchrun --nnodes "${MACHINES:?}" --nproc_per_node "${PROCESSES:-8}" \
  --rdzv_backend c10d --rdzv_id kpig --rdzv_endpoint "${MAIN:?}:${PORT:-29500}" -m kpig run "$@"

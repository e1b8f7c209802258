#!/bin/sh
# One job in several processes of this machine, one for each GPU:
#   PROCESSES=8 sh examples/launch/one_machine.sh examples/suite.toml --out runs/my
exec torchrun --nproc_per_node "${PROCESSES:-8}" -m kpig run "$@"

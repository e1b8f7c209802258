#!/bin/sh
# One job on two machines with eight GPUs each, by Slurm. One task a machine: torchrun starts the others.
#   sbatch examples/launch/slurm.sh my.toml --out /shared/my
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
# With --resume a job that Slurm starts again goes on; where nothing was begun it begins.
MAIN=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_NNODES" --nproc_per_node "${PROCESSES:-8}" \
  --rdzv_backend c10d --rdzv_id "$SLURM_JOB_ID" --rdzv_endpoint "$MAIN:${PORT:-29500}" -m kpig run "$@" --resume

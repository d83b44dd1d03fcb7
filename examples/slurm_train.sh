#!/usr/bin/env bash
# Train MoRe on several machines with SLURM: sbatch examples/slurm_train.sh more_full
#
# One process per GPU, started by srun itself: SLURM's warning (USR1, five minutes before the limit) then reaches the
# training processes directly. They write a checkpoint and end; the job puts itself back into the queue and resumes.
# With torchrun in between the warning would stop at torchrun, which kills its workers after 30 seconds.
#SBATCH --job-name=openmore
#SBATCH --nodes=8
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=runs/%x-%j.log
set -euo pipefail

recipe=${1:?usage: sbatch examples/slurm_train.sh RECIPE [more options of openmore train]}
shift
out=runs/$recipe

MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export WORLD_SIZE=$SLURM_NTASKS OMP_NUM_THREADS=4

# The price first: memory per process and hours for this many GPUs.
openmore train "$recipe" "$@" --dry-run --processes "$SLURM_NTASKS"

# RANK and LOCAL_RANK are known only inside each task.
srun --kill-on-bad-exit=1 bash -c '
  export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID
  exec openmore train "$@" --resume
' train "$recipe" --out "$out" --set run.parallel=fsdp "$@"

# Not at the last step yet: the time limit came first.
steps_done=$(find "$out/checkpoints" -maxdepth 1 -name 'step_*' | sed 's/.*step_0*//' | sort -n | tail -n 1)
steps_wanted=$(openmore train "$recipe" "$@" --show | python3 -c 'import json, sys; print(json.load(sys.stdin)["optim"]["steps"])')
if [ "${steps_done:-0}" -lt "$steps_wanted" ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi

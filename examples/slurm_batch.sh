#!/usr/bin/env bash
# Process a manifest of clips with a SLURM job array: sbatch examples/slurm_batch.sh clips.txt out/masks masks
#
# Task i of n takes the clips i, i + n, ... Each result folder appears whole or not at all and finished clips are skipped,
# so a task that hits its time limit or is preempted is simply put back into the queue; submitting the whole array again
# is safe too. Failures: out/masks/failures.*.jsonl, one file per task.
#SBATCH --job-name=openmore-batch
#SBATCH --array=0-31
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.log
set -euo pipefail

manifest=${1:?usage: sbatch examples/slurm_batch.sh MANIFEST OUT [masks|reconstruct] [more options of openmore batch]}
out=${2:?usage: sbatch examples/slurm_batch.sh MANIFEST OUT [masks|reconstruct] [more options of openmore batch]}
task=${3:-masks}
shift $(( $# < 3 ? $# : 3 ))

# One thread per worker process, as many workers as this task has cores. With networks on a GPU: --workers 1.
export OMP_NUM_THREADS=1
exec openmore batch "$manifest" -o "$out" --task "$task" --executor slurm-array \
  --workers "${SLURM_CPUS_PER_TASK:-1}" "$@"

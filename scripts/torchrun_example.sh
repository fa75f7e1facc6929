#!/usr/bin/env bash
# sslight under torchrun, on one machine or several; the same command again goes on with the run.
#   scripts/torchrun_example.sh simclr/imagenet_resnet50 data.train.root=/data/train ...
# Several machines: the same command on each, with where the first one is and how many there are.
#   HEAD=node0 NODES=2 scripts/torchrun_example.sh ...
set -euo pipefail

nodes=${NODES:-1}
head=${HEAD:-localhost}
port=${PORT:-29500}
devices=${DEVICES:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}
config=$1
shift
if [ "$devices" -eq 0 ]; then
    echo "No GPU is seen. DEVICES=N says how many processes to start." >&2
    exit 2
fi
# A run starts again from its newest checkpoint when a process dies: resume is auto.
exec torchrun --nnodes "$nodes" --nproc-per-node "$devices" --max-restarts "${RESTARTS:-3}" \
    --rdzv-backend c10d --rdzv-id "${RUN:-sslight}" --rdzv-endpoint "$head:$port" \
    -m sslight fit --config "$config" \
    trainer.devices="$devices" \
    trainer.num_nodes="$nodes" \
    "$@"

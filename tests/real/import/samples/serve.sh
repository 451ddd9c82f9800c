#!/usr/bin/env bash
set -euo pipefail
cd "$(dirname "$0")"
MODEL=~/models/qwen.gguf
export CUDA_VISIBLE_DEVICES=${GPU:-0}
export LD_LIBRARY_PATH=/opt/llama/lib:$LD_LIBRARY_PATH
ARGS=(
  -m "$MODEL"
  --mmproj weights/mm.gguf
  -c 8192 # context
  --port "${1:-8080}"
  --chat-template-file "$TEMPLATES/x.jinja"
)
echo starting
exec numactl --interleave=all /opt/llama/llama-server "${ARGS[@]}" -ngl 99 --alias "$NAME" 2>&1

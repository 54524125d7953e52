#!/bin/bash
# One chat completion through wget: wget.sh whole|stream PROMPT HOLD [OPTION ...]
set -euo pipefail
mode=$1 prompt=$2 hold=$3
shift 3
here=$(dirname "$0")
said=$(mktemp)
trap 'cat "$said" >&2; rm -f "$said"' EXIT
[ "$mode" = whole ] || set -- "$@" --header "x-lab-hold: $hold"
wget --no-verbose --server-response --tries 1 --timeout 90 -O - https://api.openai.com/v1/chat/completions "$@" \
    --header 'content-type: application/json' --post-data "$(python3 "$here/request.py" "$mode" "$prompt")" 2>"$said" \
    | python3 "$here/answer.py" "$mode" "$hold" "$said"

#!/bin/bash
# One chat completion through curl: curl.sh whole|stream PROMPT HOLD [OPTION ...]
set -euo pipefail
mode=$1 prompt=$2 hold=$3
shift 3
here=$(dirname "$0")
said=$(mktemp)
trap 'cat "$said" >&2; rm -f "$said"' EXIT
[ "$mode" = whole ] || set -- "$@" --no-buffer -H "x-lab-hold: $hold"
python3 "$here/request.py" "$mode" "$prompt" \
    | curl -sS --fail-with-body https://api.openai.com/v1/chat/completions "$@" \
        -H 'content-type: application/json' --data-binary @- -w '%{stderr}HTTP/%{http_version}\n' 2>"$said" \
    | python3 "$here/answer.py" "$mode" "$hold" "$said"

#!/bin/bash
# Runs Ollama and one worker as a single unit of life: gpu-entrypoint python -m visual_worker
#
#   start   ollama serve → it answers → weights are there → the worker
#   stop    SIGTERM → the worker drains while its model still answers → Ollama
#   death   whichever of the two dies takes the other along, so the container never looks alive
#           with half of it gone
#
# Exit status: the worker's own; 1 if Ollama died or the weights could not be had.
# Reads REVEILLE_MODELS (space separated; default: the vision and the text model of the settings)
# and OLLAMA_READY_SECONDS (default 60).
set -euo pipefail

readonly models="${REVEILLE_MODELS-${REVEILLE_VISION_MODEL:-} ${REVEILLE_TEXT_MODEL:-}}"
readonly ready_seconds="${OLLAMA_READY_SECONDS:-60}"
readonly lock_file="${OLLAMA_MODELS:-/models}/.pull.lock"
ollama_pid=""
child_pid=""
stop_requested=false

log() {
    printf '{"event": "%s", "logger": "gpu-entrypoint", "level": "%s"}\n' "$2" "$1"
}

request_stop() {
    stop_requested=true
    if [[ -n "$child_pid" ]]; then
        kill -TERM "$child_pid" 2>/dev/null || true
    fi
}

# Waits for the child in child_pid, through any number of signals; its status is in child_status.
await_child() {
    child_status=0
    while true; do
        wait "$child_pid" && child_status=0 || child_status=$?
        kill -0 "$child_pid" 2>/dev/null || break
    done
    child_pid=""
}

stop_ollama() {
    kill -TERM "$ollama_pid" 2>/dev/null || true
    wait "$ollama_pid" 2>/dev/null || true
}

leave() {
    stop_ollama
    exit "$1"
}

start_ollama() {
    # Its own session: a Ctrl-C at the terminal must not reach the model before the worker drained.
    setsid ollama serve &
    ollama_pid=$!
    local deadline=$((SECONDS + ready_seconds))
    until ollama list >/dev/null 2>&1; do
        if ! kill -0 "$ollama_pid" 2>/dev/null; then
            log error "ollama ended before it answered"
            exit 1
        fi
        if ((SECONDS >= deadline)); then
            log error "ollama did not answer within ${ready_seconds} s"
            leave 1
        fi
        if [[ "$stop_requested" == true ]]; then
            leave 0
        fi
        sleep 0.2
    done
}

# One container of those that share the volume pulls; the others wait for its lock and find the
# weights there. A model that came with the image needs no lock, so the volume may be read-only.
ensure_weights() {
    local model=$1
    if ollama show "$model" >/dev/null 2>&1; then
        return 0
    fi
    log info "fetching ${model}"
    (
        exec 9>"$lock_file"
        flock 9
        ollama show "$model" >/dev/null 2>&1 || exec ollama pull "$model"
    ) &
    child_pid=$!
    await_child
    if [[ "$stop_requested" == true ]]; then
        leave 0
    fi
    if ((child_status != 0)); then
        log error "could not fetch ${model}"
        leave 1
    fi
}

run_worker() {
    "$@" &
    child_pid=$!
    if [[ "$stop_requested" == true ]]; then # asked before there was a worker to tell
        request_stop
    fi
    local ended=""
    local status=0
    until [[ -n "$ended" ]]; do # an empty name means that a signal ended the wait, not a process
        status=0
        wait -n -p ended "$child_pid" "$ollama_pid" || status=$?
        ended="${ended:-}"
    done
    if [[ "$ended" == "$child_pid" ]]; then
        log info "worker ended with status ${status}"
        leave "$status"
    fi
    log error "ollama ended with status ${status}; stopping the worker"
    request_stop
    await_child
    exit 1
}

trap request_stop TERM INT
start_ollama
for model in $models; do
    ensure_weights "$model"
done
run_worker "$@"

# Sourced by the scripts beside it: they find the checkout in $root and call `environment` before they use .venv.

root=$(readlink -f -- "${BASH_SOURCE[0]}")
root=${root%/scripts/*}

# environment [dev]: makes .venv what the lock says. A finished one costs two comparisons of files.
environment() {
    local python
    finished "$@" && return
    python=$(find_python)
    "$python" "$root/scripts/set_up.py" "$@" </dev/null >&2
}

# finished [dev]: whether .venv was set up from these locks, in this place (a copied or moved checkout was not).
finished() {
    local place=
    [[ -r $root/.venv/place ]] && read -r place <"$root/.venv/place"
    [[ $place == "$root" ]] || return
    same requirements.lock || same requirements-gpu.lock || return
    [[ ${1-} != dev ]] || same requirements-dev.lock
}

same() {
    cmp -s "$root/$1" "$root/.venv/$1"
}

# find_python: prints the first Python that TensorFlow supports. Each is run: a name on PATH may be an empty shim.
find_python() {
    local python
    for python in python3 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    echo "dlcli needs Python 3.11, 3.12 or 3.13, and none of python3, python3.13, python3.12 and python3.11 is one." >&2
    echo "Install one from your system's packages or from python.org, then call this again." >&2
    return 1
}

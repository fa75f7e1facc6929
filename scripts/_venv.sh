# Sourced by scripts/demo and scripts/test.

# make_venv FOLDER REQUIREMENT: a virtual environment with sslight installed from this checkout.
make_venv() {
    local folder=$1 requirement=$2
    local python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        echo "sslight needs Python 3.10 or newer; $python is $("$python" --version). Set PYTHON=..." >&2
        exit 1
    }
    [ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
    echo "Installing sslight into $folder (the first time takes a few minutes) ..."
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check -e "$requirement"
}

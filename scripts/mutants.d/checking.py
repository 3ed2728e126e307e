"""What can be known of mutations without compiling: each patch applies, what it names exists, and the table is theirs."""

import subprocess
import sys

import table
from patches import Wrong


def check(root, mutations):
    wrong = []
    for mutation in mutations:
        applied = subprocess.run(["git", "apply", "--check", mutation.path], cwd=root, capture_output=True, text=True)
        if applied.returncode:
            wrong.append(f"{mutation.name}: does not apply: {applied.stderr.strip().removeprefix('error: ')}")
        for command in mutation.noticed_by:
            wrong += [f"{mutation.name}: {command.text}: {sentence}" for sentence in command.missing(root)]
    try:
        if table.split(root)[1] != table.markdown(mutations):
            wrong.append(f"{table.DOCUMENT}: its table of mutations is not that of the patches: scripts/mutants --update writes it")
    except Wrong as error:
        wrong += error.sentences
    if wrong:
        raise Wrong(*wrong)
    print(f"   {len(mutations)} mutations apply, and what must notice them exists")
    return 0

"""Mutations: a patch for each, with a head that says what it breaks and which commands must notice that."""

import difflib
import os
import re
from dataclasses import dataclass

import commands

# What a mutation may change: the product, not its tests, and not who checks it.
PRODUCT = re.compile(r"(shared|ingress-service|proxy-service)/src/")


class Wrong(Exception):
    """Something that was given is wrong, in sentences."""

    def __init__(self, *sentences):
        super().__init__(*sentences)
        self.sentences = sentences


@dataclass(frozen=True)
class Mutation:
    """One way in which the product is broken."""

    name: str
    path: str
    what: str
    noticed_by: tuple
    files: tuple


def load(directory):
    """All mutations, by name. Whatever is wrong with any of them is said at once."""
    names = sorted(name for name in os.listdir(directory)) if os.path.isdir(directory) else []
    mutations, wrong = [], []
    for name in names:
        path = os.path.join(directory, name)
        if not name.endswith(".patch"):
            wrong.append(f"{name}: not a mutation, whose name ends with .patch")
            continue
        try:
            mutations.append(read(path))
        except Wrong as error:
            wrong += error.sentences
    if not names:
        wrong.append(f"there are no mutations in {directory}")
    if wrong:
        raise Wrong(*wrong)
    return mutations


def read(path):
    name = os.path.basename(path)
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    if not any(line.strip() for line in lines):
        raise Wrong(f"{name}: the file is empty")
    begin = next((at for at, line in enumerate(lines) if line.startswith(("diff --git ", "--- "))), len(lines))
    what, noticed_by, wrong = [], [], []
    for number, line in enumerate(lines[:begin], 1):
        field, _, value = line.partition(":")
        if field == "What" and value.strip():
            what.append(value.strip())
        elif field == "Noticed-By":
            try:
                noticed_by.append(commands.parse(value.strip()))
            except ValueError as error:
                wrong.append(f"{name}:{number}: {error}")
        elif line.strip():
            wrong.append(f"{name}:{number}: {line.strip()!r}: a line of the head is What: … or Noticed-By: …")
    if len(what) != 1:
        wrong.append(f"{name}:1: {'no' if not what else 'more than one'} line What: …, which says what is broken")
    if not any(line.startswith("Noticed-By:") for line in lines[:begin]):
        wrong.append(f"{name}:1: no line Noticed-By: …, which says who must notice it")
    body = lines[begin:]
    files = [line.removeprefix("+++ ").removeprefix("b/").split("\t")[0] for line in body if line.startswith("+++ ")]
    if not any(re.match(r"[+-](?!\+\+ |-- )", line) for line in body):
        wrong.append(f"{name}:{begin + 1}: the patch changes nothing")
    wrong += [f"{name}: it changes {file}, which is no source of the product" for file in files if not PRODUCT.match(file)]
    if wrong:
        raise Wrong(*wrong)
    return Mutation(name.removesuffix(".patch"), path, what[0], tuple(noticed_by), tuple(files))


def named(known, names):
    """The mutations of these names, in this order."""
    by_name = {mutation.name: mutation for mutation in known}
    wrong = []
    for name in names:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, n=3, cutoff=0.4) or [other for other in by_name if name in other][:3]
            hint = f"near are {', '.join(near)}" if near else "--list names all there are"
            wrong.append(f"there is no mutation {name!r}: {hint}")
    if wrong:
        raise Wrong(*wrong)
    return [by_name[name] for name in dict.fromkeys(names)]

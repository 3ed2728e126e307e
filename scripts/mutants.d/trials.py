"""Trying mutations: each command must pass on the tree as it is, and one of a mutation's must fail on the broken one."""

import json
import os
import shlex
import time
from dataclasses import dataclass

import commands
import table
from trees import TookTooLong

# On a busy machine a time limit may be missed by chance.
UNBROKEN_TRIES = 2

NOTICED, SURVIVED, NOT_TRIED = "noticed", "SURVIVED", "not tried"


@dataclass
class Outcome:
    """How a mutation fared."""

    mutation: object
    kind: str
    said: str
    seconds: float


def try_all(tree, mutations, every):
    """Tries mutations, and prints how they fared; the exit status."""
    cargo = shlex.split(os.environ.get("CARGO", "cargo"))
    failing = fail_unbroken(tree, cargo, mutations)
    outcomes = []
    for mutation in mutations:
        started = time.monotonic()
        useless = [failing[command] for command in mutation.noticed_by if command in failing]
        kind, said = (NOT_TRIED, "; ".join(useless)) if useless else try_one(tree, cargo, mutation, every)
        outcomes.append(Outcome(mutation, kind, said, time.monotonic() - started))
        print(f"{mutation.name}: {said} ({outcomes[-1].seconds:.0f} s)", flush=True)
    print()
    print(table.of(outcomes), end="")
    kinds = {outcome.kind for outcome in outcomes}
    return 1 if SURVIVED in kinds else 2 if NOT_TRIED in kinds else 0


def fail_unbroken(tree, cargo, mutations):
    """Runs every command on the unbroken tree, until it has passed on that state of it; those that do not, each with what
    it said. One that fails there notices nothing."""
    cache = os.path.join(tree.place, "passed.json")
    passed, failing = set(remembered(cache, tree.state)), {}
    for command in dict.fromkeys(command for mutation in mutations for command in mutation.noticed_by):
        if command.text in passed:
            continue
        for _ in range(UNBROKEN_TRIES):
            kind, said = run(tree, cargo, command, "unbroken.log")
            if kind == commands.PASSED:
                break
        else:
            failing[command] = f"on the unbroken tree, {command.text} does not pass: {said}"
            print(failing[command], flush=True)
            continue
        passed.add(command.text)
        with open(cache, "w", encoding="utf-8") as file:
            json.dump({tree.state: sorted(passed)}, file)
        print(f"unbroken: {command.text} passes", flush=True)
    return failing


def remembered(cache, state):
    try:
        with open(cache, encoding="utf-8") as file:
            return json.load(file).get(state, [])
    except (OSError, ValueError):
        return []


def try_one(tree, cargo, mutation, every):
    log = f"{mutation.name}.log"
    open(os.path.join(tree.logs, log), "w").close()
    try:
        refusal = tree.apply(mutation.path)
        if refusal:
            return NOT_TRIED, f"does not apply: {commands.shorten(refusal.removeprefix('error: '))}"
        return judge(tree, cargo, mutation, every, log)
    finally:
        tree.revert()


def judge(tree, cargo, mutation, every, log):
    noticed, silent = [], []
    for command in mutation.noticed_by:
        kind, said = run(tree, cargo, command, log)
        if kind == commands.BROKE:
            return NOT_TRIED, said
        if kind == commands.PASSED:
            silent.append(command.text)
            continue
        noticed.append(f"{command.text} ({said})")
        if not every:
            break
    if not noticed:
        return SURVIVED, f"SURVIVED {'; '.join(silent)}"
    missed = f"; not by {'; '.join(silent)}" if silent else ""
    return NOTICED, f"noticed by {'; '.join(noticed)}{missed}"


def run(tree, cargo, command, log):
    """Builds and runs a command; how it ended."""
    doing, limit = "the build for", commands.BUILD_TIME
    try:
        build = command.build(cargo)
        if build not in tree.built:
            status, output = tree.run(build, log, limit)
            if status:
                return commands.BROKE, f"does not compile: {commands.first_error(output)}"
            tree.built.append(build)
        doing, limit = "", command.limit()
        return command.read(*tree.run(command.run(cargo, tree.target), log, limit))
    except TookTooLong:
        return commands.BROKE, f"ran out of time: {doing} {command.text} took more than {limit} s".replace(":  ", ": ")

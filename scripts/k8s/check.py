"""Rendered Kubernetes objects against strict schemas, and against each other. Called by scripts/check-k8s."""

import glob
import json
import os
import sys

import kubernetes_validate
import yaml

sys.path += ["scripts"]
import mistakes
from rules import names, network, redis, rights, scaling, variables, workloads
from rules.objects import Objects, name_of

RULES = (workloads, variables, names, scaling, rights, network, redis)
# Objects of others, which have no schema here: rules look at them by hand.
WITHOUT_SCHEMA = {"ScaledObject"}
# Documents with commands that start a Redis.
COMMANDS = ("docker-compose.yml", "README.md", "DEPLOYMENT.md")
seen = {}


def invalid(thing):
    """What its schema says against an object, or None. Most objects are the same in all renderings."""
    key = json.dumps(thing, sort_keys=True)
    if key not in seen:
        seen[key] = None
        try:
            kubernetes_validate.validate(thing, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            seen[key] = f"{'/'.join(map(str, error.path))}: {error.message}"
    return seen[key]


def check(things, known):
    """What is wrong with the objects of one rendering, in sentences."""
    wrong = [f"{name_of(thing)}: {invalid(thing)}" for thing in things if thing["kind"] not in WITHOUT_SCHEMA and invalid(thing)]
    if wrong:
        return wrong
    return [text for rule in RULES for text in rule.check(Objects(things), known)]


def check_together(rendered):
    """What is wrong with combinations beside their overlay."""
    by_name = {name: Objects(things) for name, things in rendered.items()}
    return scaling.dropped(by_name) + scaling.differences(by_name)


def check_files():
    wrong = []
    for path in sorted(glob.glob("k8s/**/kustomization.yaml", recursive=True)):
        wrong += [f"{path}: {text}" for text in names.twice(open(path).read())]
    return wrong + [text for path in COMMANDS for text in redis.commands(path, open(path).read())]


def load(path):
    return [thing for thing in yaml.load_all(open(path), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if thing]


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--self-test"]
    known = variables.known(open("README.md").read(), open("docs/tracing.md").read())
    rendered = {os.path.basename(path).removesuffix(".yaml"): load(path) for path in arguments}
    failed = False
    for name, things in rendered.items():
        wrong = check(things, known)
        failed |= bool(wrong)
        print("\n".join(f"   {name}: {text}" for text in wrong) or f"   {name}: {len(things)} objects are valid")
    wrong = check_together(rendered) + check_files()
    if "--self-test" in sys.argv:
        wrong += mistakes.not_noticed(rendered, lambda things: check(things, known), check_together)
    print("\n".join(f"   {text}" for text in wrong), end="\n" if wrong else "")
    sys.exit(failed or bool(wrong))


if __name__ == "__main__":
    main()

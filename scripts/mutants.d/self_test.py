"""This program tried on a small repository that is thrown away, with a cargo that compiles nothing."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PRODUCT = "shared/src/lib.rs"
SOURCE = "answer: right\nspeed: quick\ncompiles: yes\nends: always\ntester: well\n"

# Compiles what says that it compiles, and runs tests and programs that read the product.
CARGO = """#!/usr/bin/env python3
import os, sys, time
text = open("shared/src/lib.rs").read()
if "compiles: yes" not in text and ("--no-run" in sys.argv or sys.argv[1] == "build"):
    print("shared/src/lib.rs:3:1: error: expected a yes", file=sys.stderr)
    sys.exit(101)
if sys.argv[1] == "build":
    programs = os.environ["CARGO_TARGET_DIR"] + "/quick"
    os.makedirs(programs, exist_ok=True)
    for name in ("chaos", "simulate"):
        with open(f"{programs}/{name}", "w") as file:
            file.write(open(__file__).read())
        os.chmod(f"{programs}/{name}", 0o755)
elif "--no-run" not in sys.argv:
    if "ends: always" not in text:
        open(os.environ["HUNG"], "w").write(str(os.getpid()))
        time.sleep(60)
    if "tester: well" not in text:
        sys.exit(2)
    wrong = "answer: right" not in text
    program = os.path.basename(sys.argv[0])
    if program == "chaos":
        print("scenario  verdict\\n  ok      replies   1\\n" + "  FAILED  I1: nothing is lost          3: a; b\\n" * wrong)
        sys.exit(wrong)
    if program == "simulate":
        print("theme  histories\\nseed 17, work 3: I4: two replies\\nseed 17, restart: 40 calls\\n" * wrong)
        sys.exit(wrong)
    if sys.argv[-1] == "answers":
        print("test answers_are_right ... " + ("FAILED" if wrong else "ok"))
    print(f"test result: ok. {int(sys.argv[-1] != 'nobody')} passed")
    sys.exit(101 if wrong and sys.argv[-1] == "answers" else 0)
"""

ANSWERS = "test -p roundtrip --lib answers"
SLOPPY = "test -p roundtrip --lib sloppy"


class Failed(Exception):
    """Something did not happen as it should."""


class Repository:
    """A repository with a product of five lines, this program, and its mutations."""

    def __init__(self, source, place):
        self.place = place
        self.hung = os.path.join(place, "hung")
        self.root = os.path.join(place, "repository")
        self.write("Cargo.toml", 'members = ["shared", "chaos"]\n')
        self.write("shared/Cargo.toml", 'name = "roundtrip"\n')
        self.write("chaos/Cargo.toml", 'name = "chaos"\n')
        self.write("chaos/src/bin/chaos/scenario.rs", 'id: "kill-worker"\n')
        self.write("shared/src/tests.rs", "fn answers_are_right() {}\nfn sloppy() {}\n")
        self.write(PRODUCT, SOURCE)
        self.write("RESILIENCE.md", "")
        self.write(".gitignore", "target/\n__pycache__/\n")
        self.write("cargo", CARGO)
        os.chmod(os.path.join(self.root, "cargo"), 0o755)
        shutil.copytree(os.path.join(source, "scripts", "mutants.d"), os.path.join(self.root, "scripts", "mutants.d"))
        shutil.copy(os.path.join(source, "scripts", "mutants"), os.path.join(self.root, "scripts", "mutants"))
        self.git("init", "-q")
        self.git("add", ".")
        self.git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-qm", "A product")

    def write(self, path, text):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def git(self, *arguments):
        return subprocess.run(["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True).stdout

    def mutation(self, name, old, new, *noticed_by, head="What: it is broken.\n"):
        lines = SOURCE.splitlines()
        body = "".join(f"-{line}\n+{line.replace(old, new)}\n" if old in line else f" {line}\n" for line in lines)
        body = f"--- a/{PRODUCT}\n+++ b/{PRODUCT}\n@@ -1,{len(lines)} +1,{len(lines)} @@\n{body}"
        self.write(f"scripts/mutations/{name}.patch", head + "".join(f"Noticed-By: {one}\n" for one in noticed_by) + "\n" + body)

    def start(self, *arguments):
        environment = os.environ | {"CARGO": os.path.join(self.root, "cargo"), "HUNG": self.hung}
        program = os.path.join(self.root, "scripts", "mutants")
        # What a shell starts in the background ignores Ctrl-C, and so would its children.
        heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        return subprocess.Popen([sys.executable, program, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heed)

    def expect(self, status, *said, of):
        child = self.start(*of)
        self.judge(child, status, said, of)

    def judge(self, child, status, said, of):
        output = child.communicate(timeout=60)[0]
        missing = [text for text in said if text not in output]
        if child.returncode != status or missing:
            raise Failed(f"{' '.join(of)}: exit status {child.returncode}, expected {status} and {missing or list(said)}:\n{output}")

    def changes(self):
        """What is not as it was committed, beside the mutations: in the working tree, and in the one that is broken."""
        tree = os.path.join(self.root, "target", "mutants", "tree")
        return self.git("status", "--porcelain", "--", ".", ":!scripts/mutations", ":!RESILIENCE.md") + self.git("-C", tree, "status", "--porcelain")


def outcomes(repository):
    repository.mutation("noticed", "right", "wrong", ANSWERS)
    repository.expect(0, "noticed by test -p roundtrip --lib answers (answers_are_right)", "1 of 1 mutations", of=["--all"])
    repository.mutation("by-chaos", "right", "wrong", SLOPPY, "chaos --scenario kill-worker")
    repository.expect(0, "I1: nothing is lost: 3: a; b", "; not by test -p roundtrip --lib sloppy", of=["by-chaos"])
    repository.mutation("by-simulation", "right", "wrong", "simulate --seeds 20", ANSWERS)
    repository.expect(0, "(seed 17, work 3: I4: two replies)", "; test -p roundtrip --lib answers (answers", of=["by-simulation", "--every"])
    repository.mutation("survives", "quick", "slow", SLOPPY, ANSWERS)
    repository.expect(1, "survives: SURVIVED test -p roundtrip --lib sloppy; test", "1 of 2", of=["survives", "noticed"])


def not_tried(repository):
    repository.mutation("elsewhere", "right", "wrong", ANSWERS)
    path = os.path.join(repository.root, "scripts/mutations/elsewhere.patch")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    repository.write("scripts/mutations/elsewhere.patch", text.replace(" speed: quick", " speed: high"))
    repository.expect(2, f"elsewhere: does not apply: patch failed: {PRODUCT}:1", of=["elsewhere"])
    repository.mutation("unreadable", "yes", "no", ANSWERS)
    repository.expect(2, "does not compile: shared/src/lib.rs:3:1: error: expected a yes", of=["unreadable"])
    repository.mutation("crash", "well", "ill", "chaos --scenario kill-worker")
    repository.expect(2, "exit status 2", "0 of 1 mutations were noticed", of=["crash"])
    repository.mutation("no-test", "right", "wrong", "test -p roundtrip --lib nobody")
    said = ("on the unbroken tree, test -p roundtrip --lib nobody does not pass: no test of this name", "1 of 2")
    repository.expect(2, *said, of=["no-test", "noticed"])


def bad_input(repository):
    repository.expect(2, "there is no mutation 'notised': near are noticed", of=["notised"])
    repository.expect(2, "which ones?", of=[])
    head = "Why: because\nWhat: it is broken.\n"
    repository.mutation("bad-a", "right", "wrong", ANSWERS, head=head)
    repository.mutation("bad-b", "right", "wrong", "chaos kill-worker")
    repository.mutation("bad-c", "right", "wrong", head="")
    repository.write("scripts/mutations/bad-d.patch", "")
    repository.mutation("bad-e", "nothing of that", "", ANSWERS)
    said = (
        "bad-a.patch:1: 'Why: because'",
        "bad-b.patch:2: Noticed-By: 'chaos kill-worker': accepted is test -p",
        "bad-c.patch:1: no line What",
        "bad-c.patch:1: no line Noticed-By",
        "bad-d.patch: the file is empty",
        "bad-e.patch:4: the patch changes nothing",
    )
    repository.expect(2, *said, of=["--list"])
    for name in "abcde":
        os.remove(os.path.join(repository.root, f"scripts/mutations/bad-{name}.patch"))


def checks(repository):
    for name in ("elsewhere", "no-test", "by-simulation"):
        os.remove(os.path.join(repository.root, f"scripts/mutations/{name}.patch"))
    repository.expect(2, "RESILIENCE.md has no place for the table", of=["--check"])
    repository.write("RESILIENCE.md", "before\n<!-- mutations: scripts/mutants --update writes what follows -->\n<!-- /mutations -->\nafter\n")
    repository.expect(2, "its table of mutations is not that of the patches", of=["--check"])
    repository.expect(0, of=["--update"])
    repository.expect(0, "5 mutations apply", of=["--check"])
    repository.mutation("elsewhere", "right", "wrong", "test -p roundtrip --lib nobody", "simulate --seeds 1", "chaos --scenario none")
    repository.write(PRODUCT, SOURCE.replace("speed", "pace"))
    said = ("elsewhere: does not apply", "roundtrip has no test nobody", "there is no package simulate", "chaos has no scenario none")
    repository.expect(2, *said, of=["--check"])
    # What is being changed is tried only where that is asked for.
    repository.mutation("noticed", "right", "wrong", ANSWERS)
    repository.expect(0, "noticed by", of=["noticed"])
    repository.expect(2, "does not apply", of=["noticed", "--dirty"])
    repository.write(PRODUCT, SOURCE)


def interrupted(repository):
    repository.mutation("hangs", "always", "never", ANSWERS)
    child = repository.start("hangs")
    deadline = time.monotonic() + 30
    while not os.path.exists(repository.hung) or not open(repository.hung).read():
        if time.monotonic() > deadline:
            raise Failed("the command that hangs was never run")
        time.sleep(0.02)
    repository.expect(2, "another scripts/mutants is at work", of=["noticed"])
    child.send_signal(signal.SIGINT)
    repository.judge(child, 130, ["interrupted"], ["hangs"])
    with open(repository.hung, encoding="utf-8") as file:
        hung = int(file.read())
    if os.path.exists(f"/proc/{hung}"):
        raise Failed(f"what was started ({hung}) goes on after the interruption")
    if repository.changes():
        raise Failed(f"an interruption leaves changes: {repository.changes()}")
    repository.expect(0, "noticed by", of=["noticed"])


def run(source):
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        repository = Repository(source, place)
        try:
            repository.expect(2, "there are no mutations in", of=["--list"])
            for part in (outcomes, not_tried, bad_input, checks, interrupted):
                part(repository)
                if repository.changes():
                    raise Failed(f"{part.__name__} leaves changes: {repository.changes()}")
        except Failed as failed:
            print(f"   failed: {failed}")
            return 1
    print("   mutations that are noticed, survive, do not apply, do not compile, hang or are written wrong are told apart")
    return 0

"""This program tried on documents with mistakes: each must be found, at its line, within its time."""

import os
import subprocess
import sys
import tempfile
import time

import processes

# Of a port that nobody uses here, so that documents can be tried while services run.
PORT = 5990
# For how long a block may run here, in seconds.
LIMIT = 3
SERVER = f"python3 -m http.server --bind 127.0.0.1 {PORT}"
STAYS = f"<!-- in a terminal of its own, until http://127.0.0.1:{PORT}/ answers -->\n"


def sh(text):
    return f"```sh\n{text}\n```\n"


def output(text):
    return f"\n<!-- output -->\n```text\n{text}\n```\n"


RIGHT = {
    "variables and the directory last": sh("ID=$(echo seven) && cd docs") + sh("echo $ID; test -f http.md") + output("seven"),
    "an output with wildcards": sh("printf 'a 1\\nb\\nc\\nd 2\\n'") + output("a …\n…\nd …"),
    "a service, its output, and its end": STAYS + sh(f"echo up; exec {SERVER}") + output("up\n…") + sh(f"curl -s http://127.0.0.1:{PORT}/README.md")
    + "<!-- Ctrl-C -->\n" + STAYS + sh(SERVER),
    "what a block leaves in the background": sh(f"{SERVER} &\nfor n in $(seq 50); do curl -s http://127.0.0.1:{PORT}/ >/dev/null && exit; sleep 0.1; done; false"),
    "what goes to a session of its own": sh(f"setsid redis-server --port {PORT} --save '' >/dev/null &\nfor n in $(seq 50); do redis-cli -p {PORT} ping >/dev/null && exit; sleep 0.1; done; false"),
    "what need not run, or fails rightly": "<!-- not run: has no end -->\n" + sh("sleep 9999") + "<!-- fails -->\n" + sh("false") + "<!-- needs: no-such-program -->\n" + sh("no-such-program"),
    "a block that is no shell": "```json\n{}\n```\n\n    a diagram ──▶ of boxes\n",
}
WRONG = {
    "a command that fails": (sh("true\nfalse\ntrue"), "page.md:1: left with 1"),
    "a command that fails in a pipe": (sh("false | cat"), "left with 1"),
    "a command that is not there": (sh("no-such-command"), "no-such-command: command not found"),
    "a variable of the writer's own shell": (sh('test -n "$CHECK_DOCS_SELF_TEST"'), "left with 1"),
    "another output": (sh("echo 1; echo 2") + output("1\n3"), "another output than"),
    "an output in the wrong order": (sh("echo 2; echo 1") + output("…\n1\n…\n2"), "another output than"),
    "a call that is refused": (f"{STAYS}{sh(SERVER)}{sh(f'curl -s http://127.0.0.1:{PORT}/nowhere')}", "page.md:5: left with 22"),
    "a service that is never reached": (STAYS + sh("sleep 60"), f"did not answer within {LIMIT} s"),
    "a service that ends at once": (STAYS + sh("echo no room >&2; exit 3"), "left with 3 before it answered; it wrote:\n      no room"),
    "a service that ends before its Ctrl-C": (STAYS + sh(f"{SERVER} & echo $! >$TMPDIR/pid; wait $!") + sh("kill $(cat $TMPDIR/pid); sleep 1"),
                                              "has ended by itself, with 143"),
    "a service that Ctrl-C does not end": (STAYS + sh(f"trap '' INT; {SERVER}") + "<!-- Ctrl-C -->\n", f"did not end within {LIMIT} s of Ctrl-C"),
    "a port that is taken": (STAYS + sh(SERVER) + STAYS + sh(SERVER), f"page.md:6: port {PORT} is taken"),
    "a block that hangs": (sh("sleep 60"), f"did not end within {LIMIT} s"),
    "a block that waits for somebody to type": (sh("read -r answer"), "left with 1"),
    "a file left in the repository": (sh("touch left-by-check-docs"), "left-by-check-docs in the repository"),
    "a block that was to fail": ("<!-- fails -->\n" + sh("true"), "is marked to fail"),
    "a mark that says nothing": ("<!-- not-run: typo -->\n" + sh("true"), '1: before a block of shell "not-run: typo" says nothing'),
    "a mark before nothing": ("<!-- not run: needs a cluster -->\n\nText.\n", "stands before nothing"),
    "a block between no fences": ("\n    curl -s localhost:5009\n", "page.md:2: this block is indented"),
    "a fence without an end": ("```sh\ntrue\n", "is not closed"),
    "an output of nothing": (output("1"), "an output without the block"),
    "shell that cannot be read": ("<!-- not run: needs a cluster -->\n" + sh("if true; then"), "bash cannot read it"),
    "an overlay that is not there": ("<!-- not run: needs a cluster -->\n" + sh("scripts/deploy staging"), 'no overlay "staging"'),
    "a directory that is not there": ("<!-- not run: needs a cluster -->\n" + sh("kubectl apply -k k8s/overlays/staging"), "k8s/overlays/staging"),
    "a package that is not there": ("<!-- not run: takes minutes -->\n" + sh("cargo run --release -p mayhem"), 'no package "mayhem"'),
    "a scenario that is not there": ("<!-- not run: takes minutes -->\n" + sh("cargo run -p chaos -- --scenario rain"), 'no scenario "rain"'),
    "a path that is not there": ("As `scripts/no-such-script` says.\n", "there is no scripts/no-such-script"),
    "a link to nowhere": ("[so](docs/nowhere.md)\n", "a link leads to docs/nowhere.md"),
    "a link to no heading": ("[so](README.md#no-such-heading)\n", "a link leads to #no-such-heading"),
}


class Failed(SystemExit):
    """Something did not happen as it should."""


def run():
    os.environ["CHECK_DOCS_SELF_TEST"] = "set"
    if processes.listens(PORT):
        raise Failed(f"port {PORT} is taken: the self-test uses it")
    with tempfile.TemporaryDirectory(prefix="check-docs-self-test-") as place:
        root = repository(place)
        for name, text in RIGHT.items():
            if found := tried(root, text):
                raise Failed(f"self-test: {name}: {found}")
            if processes.started():
                raise Failed(f"self-test: {name}: something was left running")
        for name, (text, expected) in WRONG.items():
            started = time.monotonic()
            found = "\n".join(tried(root, text))
            if expected not in found:
                raise Failed(f"self-test: {name} is not found: {found or 'all was right'}")
            if processes.started():
                raise Failed(f"self-test: {name}: something was left running")
            if time.monotonic() - started > 20:
                raise Failed(f"self-test: {name} took {time.monotonic() - started:.0f} s to be found")
            subprocess.run(["git", "clean", "-qfd"], cwd=root, check=True)
    print(f"   {len(RIGHT)} right documents pass, {len(WRONG)} mistakes are found")


def repository(place):
    """What of this repository the documents of the test name."""
    root = os.path.join(place, "repository")
    for name in ("docs", "scripts", "k8s/overlays/local"):
        os.makedirs(os.path.join(root, name))
    files = {
        "README.md": "# A title\n",
        "docs/http.md": "# A page\n",
        "Cargo.toml": '[workspace]\nmembers = ["chaos"]\n',
        "chaos/Cargo.toml": '[package]\nname = "chaos"\n',
    }
    for name, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
        with open(os.path.join(root, name), "w", encoding="utf-8") as file:
            file.write(text)
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def tried(root, text):
    """What is found wrong with a document of this text."""
    main = sys.modules["__main__"]
    document = os.path.join(root, "page.md")
    with open(document, "w", encoding="utf-8") as file:
        file.write(text)
    with open(os.devnull, "w", encoding="utf-8") as silent:
        shown, sys.stdout = sys.stdout, silent
        try:
            steps, mistakes = main.parse(root, "page.md")
            return mistakes or main.run(root, "page.md", steps, LIMIT)
        finally:
            sys.stdout = shown
            os.remove(document)

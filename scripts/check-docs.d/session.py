"""A reader who types what a document says: a clean shell, one directory, a terminal for each service."""

import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.parse

import processes
from blocks import CtrlC

# What a user's machine has besides: where cargo and its results are.
KEPT = ("HOME", "PATH", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_TARGET_DIR")
# Runs a block with the variables and the directory that the block before left.
SHELL = r"""
__known=$(compgen -v)
[ ! -f "$__state" ] || . "$__state"
__save() {
  printf 'cd %q\n' "$PWD"
  for __name in $(compgen -v); do
    case $__name in _*|BASH*|FUNCNAME|PIPESTATUS) continue ;; esac
    grep -qxF "$__name" <<<"$__known" || declare -p "$__name"
  done
}
trap '__status=$?; __save >"$__state.new" && mv "$__state.new" "$__state"; exit $__status' EXIT
set -eo pipefail
. "$__block"
"""


class Wrong(Exception):
    """What did not go as the document says."""


class Session:
    """The terminals of one document. They end with the `with` block."""

    def __init__(self, root, limit):
        self.root, self.limit = root, limit
        self.services = []

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="check-docs-")
        os.mkdir(self.path("tmp"))
        # A refusal is a mistake in what the document says, unless it says so: curl leaves with 22.
        self.write(".curlrc", "fail-with-body\nnoproxy = *\n")
        self.before = self.untracked()
        return self

    def __exit__(self, *_):
        processes.end_all()
        for process, *_ in self.services:
            process.wait()
        processes.bury()
        self.directory.cleanup()

    def path(self, name):
        return os.path.join(self.directory.name, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def read(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def untracked(self):
        """What lies in the repository and does not belong there."""
        listed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=all"], cwd=self.root, capture_output=True, text=True)
        return set(listed.stdout.splitlines())

    def leftovers(self):
        """What the blocks left in the repository, to be thrown into target/ by the document."""
        return sorted(line[3:] for line in self.untracked() - self.before)

    @staticmethod
    def lacks(block):
        """Why a block cannot be run on this machine, if so."""
        return f"{block.needs} is not here" if block.needs and not shutil.which(block.needs) else ""

    def step(self, step):
        if isinstance(step, CtrlC):
            self.ctrl_c()
        elif step.service:
            self.start(step)
        else:
            self.run(step)

    def shell(self, block):
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {"LANG": "C.UTF-8", "TMPDIR": self.path("tmp"), "CURL_HOME": self.directory.name}
        name = f"line-{block.line}"
        self.write(name, block.text)
        start = f'__state={self.path("state")} __block={self.path(name)}\n{SHELL}'
        with open(self.path(name + ".out"), "w") as out, open(self.path(name + ".err"), "w") as err:
            # What a shell starts in the background ignores Ctrl-C, and so would its children.
            heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
            process = subprocess.Popen(["bash", "--noprofile", "--norc", "-c", start], cwd=self.root, env=environment, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=err, start_new_session=True, preexec_fn=heed)
        return process, name

    def run(self, block):
        process, name = self.shell(block)
        try:
            status = process.wait(self.limit)
        except subprocess.TimeoutExpired:
            self.end_group(process)
            raise Wrong(f"did not end within {self.limit} s; what stays is marked as in a terminal of its own{self.said(name)}") from None
        if (status != 0) != block.fails:
            raise Wrong(f"left with {status}{', and is marked to fail' if block.fails else ''}{self.said(name)}")
        if block.output is not None and not matches(block.output, self.read(name + ".out")):
            raise Wrong(f"another output than\n{indented(block.output)}{self.said(name)}")

    def start(self, block):
        port = int(block.service["port"] or urllib.parse.urlsplit(block.service["url"]).port)
        if processes.listens(port):
            raise Wrong(f"port {port} is taken: end what listens there")
        process, name = self.shell(block)
        self.services.append((process, name, block))
        is_up = (lambda: processes.answers(block.service["url"])) if block.service["url"] else (lambda: processes.listens(port))
        if not processes.until(lambda: is_up() or process.poll() is not None, self.limit):
            raise Wrong(f'{block.service["url"] or f"port {port}"} did not answer within {self.limit} s{self.said(name)}')
        if process.poll() is not None:
            raise Wrong(f"left with {process.returncode} before it answered{self.said(name)}")
        if block.output is not None and not processes.until(lambda: matches(block.output, self.read(name + ".out")), 5):
            raise Wrong(f"another output than\n{indented(block.output)}{self.said(name)}")

    def ctrl_c(self):
        """Ends the services as their terminals would, the last one first."""
        while self.services:
            process, name, block = self.services.pop()
            if process.poll() is not None:
                raise Wrong(f"what line {block.line} started has ended by itself, with {process.returncode}{self.said(name)}")
            os.killpg(process.pid, signal.SIGINT)
            try:
                status = process.wait(self.limit)
            except subprocess.TimeoutExpired:
                self.end_group(process)
                raise Wrong(f"what line {block.line} started did not end within {self.limit} s of Ctrl-C{self.said(name)}") from None
            if status not in (0, 130, -signal.SIGINT):
                raise Wrong(f"what line {block.line} started left with {status} after Ctrl-C{self.said(name)}")

    @staticmethod
    def end_group(process):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def said(self, name):
        """The end of what a block wrote, to be shown."""
        lines = (self.read(name + ".out") + self.read(name + ".err")).replace("\r", "\n").splitlines()
        return "; it wrote" + (":\n" + indented("\n".join(lines[-15:])) if lines else " nothing")


def indented(text):
    return "".join(f"      {line[:300]}\n" for line in text.splitlines())


def matches(expected, output):
    """Whether an output is the expected one: `…` stands for anything in its line, alone in a line for any lines."""
    pattern = ""
    for line in expected.rstrip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(line.rstrip()).replace("…", ".*") + r"[ \t]*\n"
    return re.fullmatch(pattern, output.replace("\r", "").rstrip() + "\n") is not None

"""The tree that is broken: a git worktree of its own with a target directory of its own, so that the working tree is never
touched and each build takes only what changed. It is clean whenever nobody is at work on it."""

import fcntl
import os
import signal
import subprocess
import time

from patches import Wrong

# How long what was started has to end by itself, before it is killed.
PATIENCE = 10


class TookTooLong(Exception):
    """A command did not end within its bound."""


class Tree:
    def __init__(self, root, dirty):
        self.root = root
        self.place = os.path.join(root, "target", "mutants")
        self.path = os.path.join(self.place, "tree")
        self.target = os.path.join(self.place, "target")
        self.logs = os.path.join(self.place, "logs")
        self.dirty = dirty
        self.lock = None
        # What was built since the tree was changed last.
        self.built = []

    def __enter__(self):
        os.makedirs(self.logs, exist_ok=True)
        self.lock = open(os.path.join(self.place, "lock"), "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Wrong("another scripts/mutants is at work in this tree") from None
        commit = self.git(self.root, "rev-parse", "HEAD")
        if self.dirty:
            # Nothing where nothing has changed.
            commit = self.git(self.root, "stash", "create") or commit
        if os.path.exists(os.path.join(self.path, ".git")):
            self.git(self.path, "checkout", "--force", "--detach", "--quiet", commit)
        else:
            self.git(self.root, "worktree", "prune")
            self.git(self.root, "worktree", "add", "--force", "--detach", "--quiet", self.path, commit)
        self.revert()
        # What is the same in all ways is the same, whoever committed it.
        self.state = self.git(self.path, "rev-parse", "HEAD^{tree}")
        return self

    def __exit__(self, *_):
        self.revert()
        self.lock.close()

    def apply(self, patch):
        """Breaks the tree; what git says where the patch does not apply."""
        self.built.clear()
        applied = subprocess.run(["git", "apply", patch], cwd=self.path, capture_output=True, text=True)
        return applied.stderr.strip() if applied.returncode else ""

    def revert(self):
        self.built.clear()
        if os.path.exists(os.path.join(self.path, ".git")):
            self.git(self.path, "checkout", "--force", "--quiet", "HEAD", "--", ".")
            self.git(self.path, "clean", "-fdxq")

    def git(self, directory, *arguments):
        done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True)
        if done.returncode:
            raise Wrong(f"git {' '.join(arguments[:2])}: {done.stderr.strip()}")
        return done.stdout.strip()

    def run(self, argv, log, limit):
        """Runs a command in the tree; its exit status and all it said, which is kept in a log.

        Raises TookTooLong. Whatever ends it early ends all it started."""
        environment = os.environ | {"CARGO_TARGET_DIR": self.target, "CARGO_TERM_COLOR": "never", "INSTA_UPDATE": "no"}
        with open(os.path.join(self.logs, log), "a+", encoding="utf-8", errors="replace") as output:
            begin = output.seek(0, os.SEEK_END)
            try:
                child = subprocess.Popen(argv, cwd=self.path, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            except OSError as error:
                return 127, f"could not run {argv[0]}: {error.strerror}"
            try:
                status = child.wait(limit)
            except subprocess.TimeoutExpired:
                raise TookTooLong from None
            finally:
                end(child)
            output.seek(begin)
            return status, output.read()


def end(child):
    """Ends a command and all of its group: also what it left behind."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and is_there(child):
            time.sleep(0.02)
    child.wait()


def is_there(child):
    # Reaped here, so that it does not count as a member of its own group.
    child.poll()
    try:
        os.killpg(child.pid, 0)
    except ProcessLookupError:
        return False
    return True

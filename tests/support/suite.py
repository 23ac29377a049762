"""A list of cases that run in order, each on its own line, and a closing line with the counts.

A case passes by returning and fails by raising. There is no way to skip one: a client that is missing is a failure.
"""

import re
import subprocess
import sys
import time
import traceback


class CommandFailed(Exception):
    """A command ended in a way the case did not expect. The text holds all it printed."""


class Suite:
    def __init__(self, name):
        self.name = name
        self.cases = []

    def case(self, title):
        def add(function):
            self.cases.append((title, function))
            return function

        return add

    def run(self, *arguments, only=None, on_failure=None):
        """Runs the cases whose title matches the regular expression `only`; each gets `arguments`. Returns (passed, failed)."""
        chosen = [case for case in self.cases if not only or re.search(only, case[0])]
        if not chosen:
            sys.exit(f"error: no case of {self.name} matches {only!r} with its title")
        passed, failures = 0, []
        for title, function in chosen:
            started = time.monotonic()
            try:
                function(*arguments)
            except Exception as error:  # a failing case must not stop the others
                failures.append(title)
                print(f"FAIL  {title} ({time.monotonic() - started:.1f} s)", flush=True)
                print(indent(describe(error)), flush=True)
            else:
                passed += 1
                print(f"ok    {title} ({time.monotonic() - started:.1f} s)", flush=True)
        if failures:
            if on_failure:
                on_failure()
            print(f"\n{self.name}, failed:")
            for title in failures:
                print(f"  {title}")
        return passed, len(failures)


def describe(error):
    """What went wrong and in which line of the case."""
    frames = traceback.extract_tb(error.__traceback__)
    # Cases are functions called `_`; the line inside the case says more than the one in a helper.
    inside = [frame for frame in frames if frame.name == "_"]
    where = (inside or list(frames) or [None])[-1]
    place = f"{where.filename.rsplit('/', 1)[-1]}:{where.lineno}: {where.line}\n" if where else ""
    kind = "" if isinstance(error, (AssertionError, CommandFailed)) else f"{type(error).__name__}: "
    return f"{place}{kind}{error}"


def indent(text):
    return "\n".join(f"      {line}" for line in text.splitlines()[:60])


def run(*command, stdin=None, env=None, cwd=None, expect=0, timeout=120):
    """Runs a command and returns what it printed on both streams together.

    `expect` is the exit code that counts as success; `None` means any but 0.
    """
    command = [str(part) for part in command]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            env=env,
            cwd=cwd,
            timeout=timeout,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=None if stdin is not None else subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"$ {' '.join(command)}\nstill running after {timeout} s\n{error.output or ''}") from None
    right = done.returncode != 0 if expect is None else done.returncode == expect
    if not right:
        wanted = "a failure" if expect is None else f"exit code {expect}"
        raise CommandFailed(f"$ {' '.join(command)}\nexit code {done.returncode} instead of {wanted}\n{done.stdout}")
    return done.stdout


def check(condition, text):
    """An assertion whose text says what was expected and what came."""
    if not condition:
        raise AssertionError(text)


def equal(actual, wanted, what):
    check(actual == wanted, f"{what} is {actual!r} instead of {wanted!r}")

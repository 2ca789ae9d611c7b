"""Interleave variants, each in its own process, so that machine load affects all alike."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any


def take_turns(commands: dict[str, list[str]], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Run the variants in turns; return the answers of each, round by round."""
    processes = {
        way: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for way, command in commands.items()
    }
    answers: dict[str, list[dict[str, Any]]] = {way: [] for way in processes}
    try:
        for _ in range(rounds):
            for way, process in processes.items():
                answers[way].append(_answer(process))
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return answers


def _answer(process: subprocess.Popen) -> dict[str, Any]:
    """The answer of a process to one turn; if it exits, exit with its status: it has printed the reason."""
    try:
        process.stdin.write("turn\n")
    except BrokenPipeError:
        sys.exit(process.wait())
    line = process.stdout.readline()
    return json.loads(line) if line else sys.exit(process.wait())


def answer_turns(work: Callable[[], dict[str, Any]]) -> None:
    """In a variant's process: call `work` for every line of the input and print its result."""
    for _ in sys.stdin:
        print(json.dumps(work()), flush=True)

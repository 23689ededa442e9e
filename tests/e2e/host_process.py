"""A host program of the tests: a process that is told what to do, a line each, and answers each with a line."""

import signal
import subprocess

DEADLINE_S = 60


class HostProcess:
    """Its answers are lines of NAME=VALUE words, the last of which may hold spaces. `first` is what it says by itself."""

    def __init__(self, program, *words):
        self.process = subprocess.Popen([program, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)
        self.first = self.process.stdout.readline().rstrip("\n")

    def ask(self, *order):
        self.process.stdin.write(" ".join(map(str, order)) + "\n")
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise AssertionError(f"{self.process.args} ended at {order}: {line!r}, exit {self.process.poll()}")
        return self.parse(line)

    @staticmethod
    def parse(line):
        answer, last = {}, None
        for word in line.rstrip("\n").split(" "):
            name, equals, value = word.partition("=")
            if equals and last not in ("reason", "message"):
                answer[last := name] = value
            elif last:
                answer[last] += " " + word
        return {name: int(value) if value.isdigit() else value for name, value in answer.items()}

    def must(self, *order):
        answer = self.ask(*order)
        if answer.get("error"):
            raise AssertionError(f"{order}: {answer}")
        return answer

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.close()

    def end(self):
        self.process.stdin.write("end\n")
        code = self.process.wait(DEADLINE_S)
        self.close()
        if code != 0:
            raise AssertionError(f"{self.process.args} ended with {code}")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_S)
        self.process.stdin.close()
        self.process.stdout.close()

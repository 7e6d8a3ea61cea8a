"""Owns the run: start the programs, choose each candidate's fastest form, check that all give the
same answers, time them in turn, read the peak of a core, load each model in fresh processes.

Refuses to know what is computed (cases.py, the programs) and what a figure is worth (report.py).
Bound: the rounds and seconds of the command line, about six minutes in all. Called by
inference.sh, which installs what this needs.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cases
import numpy
import report

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ANSWERS = 16
"""Calls whose answers are compared."""
LOADS = 3
INT8_DISTANCE_MAX = 1.5
"""How far answers of 8-bit numbers may be from f32, against how far ONNX Runtime's are."""
FULL = {"rounds": 5, "seconds": 0.25}
QUICK = {"rounds": 2, "seconds": 0.05}


class BenchError(Exception):
    """The comparison cannot be made, or would not be one."""


class Program:
    """A candidate on some cores."""

    def __init__(self, command: list[str], cores: list[int], environment: dict | None = None):
        on = ",".join(map(str, cores))
        self.name = Path(command[0]).name
        self.process = subprocess.Popen(
            ["taskset", "-c", on, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=os.environ | (environment or {}))

    def ask(self, question: dict) -> dict:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it ended"}
        if "error" in answer:
            raise BenchError(f"{self.name}: {answer['error']}, asked {question}")
        return answer

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Run:
    """What was found so far."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.cores = sorted(os.sched_getaffinity(0))
        is_compiled = shutil.which("c++") is not None
        self.cases = [case for case in cases.models(arguments.models, is_compiled)
                      if arguments.only is None or arguments.only in case.name]
        self.rows: list[dict] = []
        self.functions: list[dict] = []
        self.loads: list[dict] = []
        self.peaks: list[dict] = []
        self.references: dict[str, numpy.ndarray] = {}

    def start(self, peer: str, cores: list[int]) -> Program:
        arguments, on = self.arguments, ",".join(map(str, cores))
        count = str(len(cores))
        match peer:
            case "ours":
                return Program([str(arguments.driver), on], cores)
            case "onnx":
                return Program([str(arguments.peer), str(arguments.library)], cores)
            case "torch":
                cache = {"TORCHINDUCTOR_CACHE_DIR": str(arguments.models / "compiled")}
                return Program([sys.executable, "-W", "ignore", str(HERE / "torch_peer.py")],
                               cores, cache)
            case _:
                threads = {"OPENBLAS_NUM_THREADS": count, "NUMBA_NUM_THREADS": count}
                return Program([sys.executable, str(HERE / "functions_peer.py")], cores, threads)

    def peak(self) -> None:
        """Read several times, as other work on the machine comes and goes."""
        command = ["taskset", "-c", str(self.cores[-1]), str(self.arguments.peak)]
        found = subprocess.run(command, check=True, capture_output=True).stdout
        self.peaks.append(json.loads(found))

    def turns(self, asked: list[tuple[str, Program, dict]]) -> dict[str, list[dict]]:
        """Times every call in turn, round by round, after whoever spins has gone to sleep."""
        found: dict[str, list[dict]] = {name: [] for name, _, _ in asked}
        for _ in range(self.arguments.rounds):
            for name, program, question in asked:
                time.sleep(0.01)
                found[name].append(program.ask(question | {"do": "time"}))
        return found

    def fastest(self, program: Program, questions: list[dict]) -> dict:
        """The question whose form is the fastest here."""
        if len(questions) == 1:
            return questions[0]
        seconds = self.arguments.seconds / 2
        least = [program.ask(question | {"do": "time", "seconds": seconds})["median_us"]
                 for question in questions]
        return questions[least.index(min(least))]

    def case(self, case: cases.Case, programs: dict[str, Program], cores: list[int]) -> None:
        """One case on some cores."""
        chosen, outputs = {}, {}
        for peer, questions in case.questions.items():
            opened = []
            for question in questions:
                question = question | {
                    "id": question["form"], "threads": len(cores), "way": "program",
                    "answers": 1 if "tokens" in question else ANSWERS,
                    "seconds": self.arguments.seconds}
                answer = programs[peer].ask(question | {"do": "open"})
                opened.append(question)
                outputs[peer, question["form"]] = numpy.array(answer["output"])
            chosen[peer] = self.fastest(programs[peer], opened)
        distances = self.check(case, outputs)
        asked = [(peer, programs[peer], chosen[peer]) for peer in chosen]
        if case.is_served:
            served = chosen["ours"] | {"id": "served", "way": "engine", "answers": 1}
            programs["ours"].ask(served | {"do": "open"})
            asked.append(("served", programs["ours"], served))
        rounds = self.turns(asked)
        for program in programs.values():
            program.ask({"do": "close"})
        self.rows.append({
            "case": case.name, "cores": len(cores), "torch_name": case.torch_name,
            "form": {peer: question["form"] for peer, question in chosen.items()},
            "operations": case.operations, "distance": distances, "rounds": rounds,
            "us": {name: statistics.median(one["median_us"] for one in found)
                   for name, found in rounds.items()},
        })
        print(report.row(self.rows[-1]), file=sys.stderr)

    def check(self, case: cases.Case, outputs: dict) -> dict[str, float]:
        """Fails unless the answers are the same, as far as the numbers allow."""
        forms = {peer: [output for (of, _), output in outputs.items() if of == peer]
                 for peer in case.questions}
        is_int8 = case.operations["int8"] > 0
        key = case.name.replace("int8", "f32")
        if is_int8 and key not in self.references:
            raise BenchError(f"{case.name}: its answers in f32 are wanted, too")
        reference = self.references[key] if is_int8 else forms["onnx"][0]
        self.references.setdefault(key, reference)
        distances = {}
        for peer, found in forms.items():
            if any(one.shape != reference.shape for one in found):
                raise BenchError(f"{case.name}: {peer} gives another number of answers")
            by = distance_of_all if is_int8 else distance
            distances[peer] = max(by(one, reference) for one in found)
        if is_int8:
            distances["onnx"] = min(distance_of_all(one, reference) for one in forms["onnx"])
            limit = INT8_DISTANCE_MAX * distances["onnx"]
        else:
            limit = case.tolerance
        if distances["ours"] > limit:
            raise BenchError(f"{case.name}: {distances['ours']:.3g} from ONNX Runtime's answers,"
                             f" at most {limit:.3g} is right")
        return distances

    def models(self, cores: list[int]) -> None:
        """All cases on some cores."""
        programs = {peer: self.start(peer, cores) for peer in ("ours", "onnx", "torch")}
        for case in self.cases:
            self.case(case, programs, cores)
        for program in programs.values():
            program.close()

    def single_functions(self, cores: list[int]) -> None:
        """All functions on some cores."""
        ours, theirs = self.start("ours", cores), self.start("functions", cores)
        for function in cases.functions():
            asked, outputs = [], {}
            for name, program in (("ours", ours), ("numpy", theirs), ("numba", theirs)):
                question = function | {"id": name, "form": name, "way": "function", "answers": 1,
                                       "threads": len(cores), "seconds": self.arguments.seconds}
                outputs[name] = numpy.array(program.ask(question | {"do": "open"})["output"])
                asked.append((name, program, question))
            for name, output in outputs.items():
                far = distance(output, outputs["numpy"])
                if far > 1e-4:
                    raise BenchError(f"{function}: {name} is {far:.3g} from NumPy's answers")
            rounds = self.turns(asked)
            us = {name: statistics.median(one["median_us"] for one in found)
                  for name, found in rounds.items()}
            self.functions.append(function | {"cores": len(cores), "rounds": rounds, "us": us})
            print(report.function_row(self.functions[-1]), file=sys.stderr)
            for program in (ours, theirs):
                program.ask({"do": "close"})
        ours.close()
        theirs.close()

    def load(self) -> None:
        """Each model from its file to the first answer, in fresh processes."""
        models = {case.model: case for case in reversed(self.cases)}
        for model in dict.fromkeys(case.model for case in self.cases):
            case, found = models[model], {}
            row = next(row for row in self.rows if row["case"] == case.name)
            for peer, questions in case.questions.items():
                form = "eager" if row["form"][peer] == "compiled" else row["form"][peer]
                question = next(one for one in questions if one["form"] == form)
                answers = []
                for _ in range(LOADS):
                    program = self.start(peer, self.cores[-1:])
                    answers.append(program.ask(question | {
                        "do": "open", "id": "load", "threads": 1, "way": "program", "answers": 1}))
                    program.close()
                found[peer] = {key: statistics.median(answer[key] for answer in answers)
                               for key in ("load_us", "before_kb", "after_kb")}
            self.loads.append({"model": model, "torch_name": case.torch_name, "peers": found})


def distance(found: numpy.ndarray, reference: numpy.ndarray) -> float:
    """The largest difference against the value, or against the root of the mean square of all where
    the value is smaller."""
    usual = numpy.sqrt(numpy.mean(reference ** 2))
    return float(numpy.max(numpy.abs(found - reference) / numpy.maximum(abs(reference), usual)))


def distance_of_all(found: numpy.ndarray, reference: numpy.ndarray) -> float:
    """The length of the difference against the length of the reference."""
    return float(numpy.linalg.norm(found - reference) / numpy.linalg.norm(reference))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true",
                        help="short windows, to see that all works; results go to the work folder")
    parser.add_argument("--only", help="cases whose names have this; none for functions alone,"
                        " and results go to the work folder")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one window")
    for name in ("models", "driver", "peer", "library", "peak"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="set by inference.sh")
    arguments = parser.parse_args()
    for name, value in (QUICK if arguments.quick else FULL).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return arguments


def main() -> None:
    arguments = parse_arguments()
    run = Run(arguments)
    facts = report.facts()
    for cores in [run.cores[-1:], run.cores[-2:]] if len(run.cores) > 1 else [run.cores]:
        run.peak()
        run.models(cores)
        run.single_functions(cores)
    run.peak()
    run.load()
    found = facts | {
        "rounds": arguments.rounds, "seconds": arguments.seconds, "peaks": run.peaks,
        "cases": run.rows, "functions": run.functions, "loads": run.loads}
    text = report.report(found)
    print(text)
    results = arguments.models if arguments.quick or arguments.only else ROOT / "benches/results"
    (results / "inference.txt").write_text(text + "\n")
    (results / "inference.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except BenchError as error:
        sys.exit(f"inference: {error}")

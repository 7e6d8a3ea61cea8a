"""Writes the test cases that the package `onnx` has for its operators: onnx_conformance.py FOLDER.

Each case is a folder with `model.onnx`, `tolerance` (relative and absolute, in one line) and, per
set of data, `test_data_set_N/{input,output}_M.pb`.
"""

import pathlib
import sys

import numpy
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases


def serialized(value, port):
    """The bytes of a value of a port, whatever Python type the case holds it in."""
    if isinstance(value, onnx.TensorProto):
        return value.SerializeToString()
    if port.type.HasField("sequence_type"):
        return numpy_helper.from_list(value, port.name).SerializeToString()
    if port.type.HasField("optional_type"):
        return numpy_helper.from_optional(value, port.name).SerializeToString()
    return numpy_helper.from_array(numpy.asarray(value), port.name).SerializeToString()


def write(case, folder):
    """Writes one case."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    (folder / "tolerance").write_text(f"{case.rtol} {case.atol}\n")
    ports = case.model.graph
    for index, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{index}"
        data.mkdir()
        for kind, values, infos in (
            ("input", inputs, ports.input),
            ("output", outputs, ports.output),
        ):
            for place, (value, port) in enumerate(zip(values, infos)):
                (data / f"{kind}_{place}.pb").write_bytes(serialized(value, port))


def main():
    folder = pathlib.Path(sys.argv[1])
    cases = collect_testcases(None)
    for case in cases:
        write(case, folder / case.name)
    print(f"onnx-conformance: {len(cases)} cases in {folder}")


main()

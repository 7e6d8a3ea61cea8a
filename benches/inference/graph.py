"""Owns the writing of ONNX graphs by hand.

Refuses to know models. Bound: one graph, its constants inside the file.
"""

from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Nodes:
    """Collects the nodes and constants of one graph."""

    def __init__(self) -> None:
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, values: numpy.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def add(self, operator: str, *inputs, output: str | None = None, **attributes) -> str:
        self.count += 1
        output = output or f"v{self.count}"
        names = [self.constant(i) if isinstance(i, numpy.ndarray) else i for i in inputs]
        self.nodes.append(helper.make_node(operator, names, [output], f"n{self.count}",
                                           **attributes))
        return output

    def save(self, path: Path, inputs: list, outputs: list) -> None:
        graph = helper.make_graph(self.nodes, path.stem, inputs, outputs, self.constants)
        domains = {node.domain for node in self.nodes}
        opsets = [helper.make_opsetid(domain, 1 if domain else OPSET)
                  for domain in sorted({"", *domains})]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


def floats(name: str, *dims) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims))

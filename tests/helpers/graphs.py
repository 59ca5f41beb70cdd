"""Small ONNX graphs for tests: built call by call, arrays become initializers."""

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.graph.fold import infer_and_fold
from edgecomp.graph.names import name_everything
from edgecomp.graph.verify import verify


class Graph:
    """``g = Graph(); x = g.input("x", (1, 3, 8, 8)); y = g("Conv", x, weights, pads=[...])``."""

    def __init__(self, opset=21):
        self.opset = opset
        self.nodes, self.inputs, self.initializers, self.infos = [], [], [], []

    def input(self, name, shape, dtype=np.float32):
        kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(onnx.helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, array, name=None):
        name = name or f"c{len(self.initializers)}"
        self.initializers.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def __call__(self, operator, *inputs, outputs=1, name=None, domain="", **attributes):
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        number = len(self.nodes)
        results = [f"v{number}" if at == 0 else f"v{number}_{at}" for at in range(outputs)]
        node = onnx.helper.make_node(
            operator, names, results, name or f"n{number}", domain=domain, **attributes
        )
        node.metadata_props.add(key="edgecomp.source", value=f"net.py:{number}")
        self.nodes.append(node)
        return results[0] if outputs == 1 else results

    def proto(self, *outputs, ir_version=10):
        values = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = onnx.helper.make_graph(
            self.nodes, "g", self.inputs, values, self.initializers, value_info=self.infos
        )
        opsets = [onnx.helper.make_opsetid("", self.opset)]
        model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)
        if self.opset < 25:
            # Outputs need types in a file.
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
            for value, known in zip(model.graph.output, inferred.graph.output, strict=True):
                value.CopyFrom(known)
        return model

    def model(self, *outputs):
        """The onnx_ir model as a pass meets it: named, shapes known."""
        model = ir.from_proto(self.proto(*outputs))
        name_everything(model)
        infer_and_fold(model)
        verify(model)
        return model


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)

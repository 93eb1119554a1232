"""A small writer of ONNX graphs: operators one by one, in the order in which they run."""

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

# What most published exports are written for.
OPSET = 18
IR_VERSION = 8


class Graph:
    """Names are given by the order of writing, so the same calls write the same bytes."""

    def __init__(self, tensors, dtype="float32"):
        """`tensors` is a state dict; its entries become initializers of `dtype` when they are used."""
        self.tensors, self.dtype = tensors, numpy.dtype(dtype)
        self.nodes, self.initializers, self.names = [], {}, {}

    def op(self, kind, *inputs, **attributes):
        """The one output of a new node."""
        number = self.names.setdefault(kind, 0)
        self.names[kind] += 1
        output = f"{kind}_{number}"
        inputs = [name if isinstance(name, str) else self.constant(name) for name in inputs]
        self.nodes.append(helper.make_node(kind, inputs, [output], f"/{output}", **attributes))
        return output

    def constant(self, value):
        """Integers are int64, other numbers of the graph's type."""
        array = numpy.asarray(value)
        array = array.astype(numpy.int64 if array.dtype.kind == "i" else self.dtype)
        key = f"constant_{array.dtype}_{'x'.join(map(str, array.shape))}_{'_'.join(map(str, array.ravel()))}"
        return self.initializer(key, array)

    def weight(self, key, change=lambda array: array):
        return self.initializer(key, change(self.tensors[key].numpy()).astype(self.dtype))

    def initializer(self, key, array):
        self.initializers[key] = numpy.ascontiguousarray(array)
        return key

    # Compositions that every family has.

    def linear(self, x, key):
        """As torch stores it: the weight is (out, in), the bias may be absent."""
        x = self.op("MatMul", x, self.weight(f"{key}.weight", numpy.transpose))
        return self.op("Add", x, self.weight(f"{key}.bias")) if f"{key}.bias" in self.tensors else x

    def size(self, x, axis):
        """One dimension of `x`, as a list of one."""
        return self.op("Slice", self.op("Shape", x), [axis], [axis + 1])

    def heads(self, x, heads):
        """(B, L, H * D) to (B, H, L, D)."""
        width = self.op("Reshape", x, [0, 0, heads, -1])
        return self.op("Transpose", width, perm=[0, 2, 1, 3])

    def attention(self, queries, keys, values, bias, scale):
        """(B, H, L, D) each, to (B, L, H * D)."""
        scores = self.op("MatMul", queries, self.op("Transpose", keys, perm=[0, 1, 3, 2]))
        scores = self.op("Add", self.op("Mul", scores, scale), bias)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), values)
        return self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), [0, 0, -1])

    def bias(self, allowed):
        """A mask that is true where attention may look, as what is added to scores."""
        lowest = float(numpy.finfo(self.dtype).min)
        return self.op("Where", allowed, 0.0, lowest)

    def cast(self, x, dtype):
        return self.op("Cast", x, to=helper.np_dtype_to_tensor_dtype(numpy.dtype(dtype)))

    def model(self, inputs, outputs):
        """`inputs` and `outputs` are (name, dtype, dimensions)."""
        def declared(values):
            kinds = [(name, helper.np_dtype_to_tensor_dtype(numpy.dtype(dtype)), shape) for name, dtype, shape in values]
            return [helper.make_tensor_value_info(*kind) for kind in kinds]

        initializers = [numpy_helper.from_array(array, name) for name, array in self.initializers.items()]
        graph = helper.make_graph(self.nodes, "main_graph", declared(inputs), declared(outputs), initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model.producer_name = "qwen3-embedding fixtures"
        onnx.checker.check_model(model)
        return model


def with_external_data(model, location, threshold):
    """Moves the larger initializers out; returns the bytes of the file `location`."""
    data = b""
    for tensor in model.graph.initializer:
        raw = tensor.raw_data
        if len(raw) < threshold:
            continue
        # As exporters do: aligned for memory mapping.
        data += b"\0" * (-len(data) % 64)
        for key, value in (("location", location), ("offset", len(data)), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        data += raw
    return data

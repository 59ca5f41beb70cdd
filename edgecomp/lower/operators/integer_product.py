"""Integer products with constant weights, as operations."""

import dataclasses

from edgecomp.graph.integer_operators import IntegerProduct
from edgecomp.lower.operators.windows import emit_on_image, image_pads, pair
from edgecomp.lower.reader import Reader
from edgecomp.plan.finish import Finish
from edgecomp.plan.products import Convolution, MatrixMultiply
from edgecomp.plan.values import Array, Value


@dataclasses.dataclass(frozen=True)
class ProductReading:
    """A product while its operations are emitted.

    Attributes:
        reader: receives them.
        group: the product.
        x: its stored activation.
    """

    reader: Reader
    group: IntegerProduct
    x: Value

    @property
    def name(self) -> str:
        """What names of its values begin with."""
        return self.group.node.name or ""

    @property
    def is_depthwise(self) -> bool:
        """Whether every output has one channel of the input."""
        weight = self.group.weight
        return self.group.window is not None and self.group.groups > 1 and weight.shape[1] == 1

    def new_value(self, name: str, shape: tuple[int, ...], dtype: str) -> Value:
        """A value of the product's own."""
        return self.reader.new_value(f"{self.name}.{name}", shape, dtype)

    def new_constant(self, name: str, array: Array) -> Value:
        """A constant of the product's own."""
        return self.reader.new_constant(f"{self.name}.{name}", array)

    def emit(
        self,
        weight: Array,
        bias: Array,
        finish: Finish,
        output: Value,
        *,
        weight_bits: int = 8,
    ) -> None:
        """Products of x with weights that have the group's window, and their sums' end.

        Args:
            weight: int8, as the group's.
            bias: int32 per channel.
            finish: of the sums.
            output: what they become.
            weight_bits: see ``Convolution``.
        """
        reader, group, window = self.reader, self.group, self.group.window
        image = weight[:, :, None, :] if window and weight.ndim == 3 else weight
        constants = [self.new_constant("weight", image), self.new_constant("bias", bias)]
        if window is None:
            product = MatrixMultiply(finish=finish, weight_bits=weight_bits)
            reader.emit(product, [self.x, *constants], [output], group.nodes)
            return
        convolution = Convolution(
            strides=pair(window.strides, 1),
            dilations=pair(window.dilations, 1),
            pads=image_pads(window),
            groups=group.groups,
            finish=finish,
            weight_bits=weight_bits,
        )
        nodes = group.nodes
        emit_on_image(reader, group.node, self.x, constants, convolution, nodes, output)

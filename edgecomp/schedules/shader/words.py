"""What Metal and WGSL say alike: vectors have constructors, and functions short names."""

from edgecomp.schedules.text.language import Language, NoTextError, Text
from edgecomp.schedules.tirx import Dtype


class ShaderWords(Language):
    """A language with vectors of its own."""

    def constructed(self, text: str, dtype: Dtype) -> str:
        """Of a scalar or of all elements."""
        return f"{self.type_name(dtype)}({text})"

    def broadcast(self, x: Text, lanes: int) -> str:
        """By the type's constructor."""
        return self.constructed(x.text, x.dtype.with_lanes(lanes))

    def ramp(self, base: str, stride: str, dtype: Dtype) -> str:
        """Element by element."""
        lanes = (f"{base} + {k} * {stride}" for k in range(dtype.lanes))
        return self.constructed(", ".join(lanes), dtype)

    def lane(self, x: Text, index: str) -> str:
        """As of an array."""
        return f"{x.text}[{index}]"

    def join(self, name: str, left: str, right: str, dtype: Dtype) -> str:
        """The language's own, or that in front of the kernels."""
        if name in ("min", "max"):
            return f"{name}({left}, {right})"
        if dtype.name != "int32":
            raise NoTextError(f"{name} of {dtype}")
        return f"ec_{name}({left}, {right})"

    def sum_of_products(self, arguments: list[Text]) -> str:
        """``mad24``: integers have nothing faster."""
        a, b, c = (argument.text for argument in arguments)
        return f"({a} * {b} + {c})"

    def sigmoid(self, x: Text, exponential: str) -> str:
        """By a function of that name, which gives e^x."""
        scalar = x.dtype.with_lanes(1)
        one = self.converted(Text(self.constant(1, scalar), scalar), x.dtype)
        return f"({one} / ({one} + {exponential}(-{x.text})))"

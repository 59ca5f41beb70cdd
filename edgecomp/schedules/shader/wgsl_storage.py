"""Memory behind a WGSL binding: how it is declared, loaded from and stored to."""

import enum

from edgecomp.schedules.text.language import NoTextError
from edgecomp.schedules.tirx import Dtype

_WORD_BITS = 32
_LANES = 4


class Layout(enum.Enum):
    """How the memory of a binding is declared."""

    SCALARS = enum.auto()
    #: Vectors of four: of memory that is read and written by whole ones.
    VECTORS = enum.auto()
    #: Words, of which kernels store no part.
    WORDS = enum.auto()
    #: Words that several work items may store parts of.
    ATOMIC_WORDS = enum.auto()


def words_of(element: Dtype) -> int:
    """How many elements a word holds; 0 where elements are not parts of words."""
    if element.is_float or element.is_bool or element.bits >= _WORD_BITS:
        return 0
    return _WORD_BITS // element.bits


class Storage:
    """One binding.

    Args:
        name: of the variable.
        element: that the kernel's pointer has.
        layout: as declared.
    """

    def __init__(self, name: str, element: Dtype, layout: Layout) -> None:
        self.name, self.element = name, element
        if words_of(element) and layout is Layout.SCALARS:
            layout = Layout.WORDS
        self._layout = layout
        #: Whether the function names it.
        self.is_used = False
        self._helpers: set[str] = set()
        self._loads_vectors = self._unaligned = self._stores_scalars = False
        self._stores_parts = False

    def best_layout(self) -> Layout:
        """By all loads and stores that were written."""
        if words_of(self.element):
            return Layout.ATOMIC_WORDS if self._stores_parts else Layout.WORDS
        vectors = self._loads_vectors and not self._unaligned and not self._stores_scalars
        return Layout.VECTORS if vectors and not self._is_wide else Layout.SCALARS

    @property
    def _is_wide(self) -> bool:
        return self.element.bits > _WORD_BITS

    def declared_type(self) -> str:
        """The type of the variable."""
        if self._layout is Layout.ATOMIC_WORDS:
            return "array<atomic<u32>>"
        if self._layout is Layout.WORDS:
            return "array<u32>"
        if self._is_wide:
            return "array<vec2<u32>>"
        kind = "f" if self.element.is_float else "u" if self.element.name[0] == "u" else "i"
        name = f"{kind}{self.element.bits}"
        return f"array<vec4<{name}>>" if self._layout is Layout.VECTORS else f"array<{name}>"

    def load(self, index: str, lanes: int, *, aligned: bool) -> str:
        """Neighbouring elements; parts of words as u32."""
        self.is_used = True
        if words_of(self.element):
            return self._load_parts(index, lanes, aligned=aligned)
        if lanes == 1:
            if self._layout is Layout.VECTORS:
                return f"{self.name}[({index}) >> 2u][({index}) & 3]"
            return f"{self.name}[{index}]"
        self._note_vector(lanes, aligned=aligned)
        if self._layout is Layout.VECTORS:
            return f"{self.name}[({index}) >> 2u]"
        parts = ", ".join(f"{self.name}[{index} + {k}]" for k in range(lanes))
        kind = self.declared_type().removeprefix("array<").removesuffix(">")
        return f"vec{lanes}<{kind}>({parts})"

    def store(self, index: str, value: str, lanes: int, *, aligned: bool) -> str:
        """Statement: neighbouring elements; parts of words as u32."""
        self.is_used = True
        if words_of(self.element):
            return self._store_parts(index, value, lanes, aligned=aligned)
        if lanes == 1:
            self._stores_scalars = True
            return f"{self.name}[{index}] = {value};"
        self._note_vector(lanes, aligned=aligned)
        if self._layout is Layout.VECTORS:
            return f"{self.name}[({index}) >> 2u] = {value};"
        parts = [f"let v = {value};", f"let i = {index};"]
        parts += [f"{self.name}[i + {k}] = v[{k}];" for k in range(lanes)]
        return f"{{ {' '.join(parts)} }}"

    def _note_vector(self, lanes: int, *, aligned: bool) -> None:
        if self._is_wide:
            raise NoTextError(f"vectors of {self.element}")
        self._loads_vectors = True
        self._unaligned = self._unaligned or not aligned or lanes != _LANES

    # Parts of words.

    @property
    def _step(self) -> int:
        """Logarithm of the elements of a word."""
        return words_of(self.element).bit_length() - 1

    def _word(self, index: str) -> str:
        if self._layout is Layout.ATOMIC_WORDS:
            return f"atomicLoad(&{self.name}[{index}])"
        return f"{self.name}[{index}]"

    def _load_parts(self, index: str, lanes: int, *, aligned: bool) -> str:
        bits, place = self.element.bits, f"({index}) >> {self._step}u"
        if lanes == 1:
            self._helpers.add("load")
            return f"{self.name}_load({index})"
        if lanes == _LANES and aligned:
            if bits == 8:
                return f"ec_unpack8({self._word(place)})"
            return f"ec_unpack16({self._word(place)}, {self._word(f'(({index}) >> 1u) + 1')})"
        if lanes == _LANES and bits == 8:
            self._helpers.add("load4")
            return f"{self.name}_load4({index})"
        self._helpers.add("load")
        parts = ", ".join(f"{self.name}_load({index} + {k})" for k in range(lanes))
        return f"vec{lanes}<u32>({parts})"

    def _store_parts(self, index: str, value: str, lanes: int, *, aligned: bool) -> str:
        bits, place = self.element.bits, f"({index}) >> {self._step}u"
        if lanes == _LANES and aligned:
            if bits == 8:
                return self._store_word(place, f"ec_pack8({value})")
            second = self._store_word(f"(({index}) >> 1u) + 1", "w.y")
            return (
                f"{{ let w = ec_pack16({value}); {self._store_word(place, 'w.x')} {second} }}"
            )
        self._stores_parts = True
        self._helpers.add("store")
        if lanes == 1:
            return f"{self.name}_store({index}, {value});"
        parts = [f"let v = {value};", f"let i = {index};"]
        parts += [f"{self.name}_store(i + {k}, v[{k}]);" for k in range(lanes)]
        return f"{{ {' '.join(parts)} }}"

    def _store_word(self, place: str, word: str) -> str:
        if self._layout is Layout.ATOMIC_WORDS:
            return f"atomicStore(&{self.name}[{place}], {word});"
        return f"{self.name}[{place}] = {word};"

    def helper_texts(self) -> list[str]:
        """Functions that loads and stores call."""
        bits, step = self.element.bits, self._step if words_of(self.element) else 0
        last, mask, name = (1 << step) - 1, (1 << bits) - 1, self.name
        texts = {
            "load": f"fn {name}_load(i: i32) -> u32 {{\n"
            f"  return extractBits({self._word(f'i >> {step}u')}, u32(i & {last}) * {bits}u, "
            f"{bits}u);\n}}",
            # Two words that lie side by side, as one that begins at the element.
            "load4": f"fn {name}_load4(i: i32) -> vec4<u32> {{\n"
            f"  let low = {self._word('i >> 2u')};\n"
            f"  let high = {self._word('(i + 3) >> 2u')};\n"
            "  let s = u32(i & 3) * 8u;\n"
            "  return ec_unpack8(select((low >> s) | (high << (32u - s)), low, s == 0u));\n}",
            # Work items that store other parts of the word do not disturb each other.
            "store": f"fn {name}_store(i: i32, v: u32) {{\n"
            f"  let s = u32(i & {last}) * {bits}u;\n"
            f"  atomicAnd(&{name}[i >> {step}u], ~({mask}u << s));\n"
            f"  atomicOr(&{name}[i >> {step}u], (v & {mask}u) << s);\n}}",
        }
        return [texts[helper] for helper in sorted(self._helpers)]

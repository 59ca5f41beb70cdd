"""Every error code is explained."""

from edgecomp.errors import Code
from edgecomp.explanations import EXPLANATIONS


def test_every_code_has_an_explanation():
    missing = [code.name for code in Code if code not in EXPLANATIONS]
    assert not missing, f"add to edgecomp/explanations.py: {missing}"


def test_explanations_are_sentences():
    for text in EXPLANATIONS.values():
        assert text.endswith(".")
        assert text[0].isupper()  # not a flag


def test_no_code_is_used_twice():
    codes = [code.text for code in Code]
    assert len(codes) == len(set(codes))

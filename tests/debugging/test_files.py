"""The page and the node data."""

import html.parser
import json
import re

import pytest
from debugging.conftest import BAD, NAMES, chain
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.options import DebugOptions

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Checks that tags close in order; collects what a page names."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.ids, self.text = [], [], [], set(), ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        known = dict(attributes)
        self.links += [known[key] for key in ("href", "src", "xlink:href") if key in known]
        self.ids.add(known.get("id"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, _attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def report_and_files(rng, samples, tmp_path):
    options = DebugOptions(html=tmp_path / "page.html", node_data=tmp_path / "net.json")
    report = api.debug(chain(rng, "activations"), samples, options=options)
    return report, (tmp_path / "page.html").read_text(), (tmp_path / "net.json").read_text()


def test_the_page_parses_and_needs_nothing_else(report_and_files):
    report, text, _ = report_and_files
    page = Page(text)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.links) == len(NAMES)
    assert not re.search(r"https?://|@import|url\(|<script", text)
    # One plot of all layers; histograms of the weights and of what is read, for each.
    assert page.tags.count("svg") == 1 + 2 * len(NAMES)
    for name in NAMES:
        assert name in page.text
    assert f"{report.search.predicted_db:.1f} dB" in page.text
    assert "- pass: quantize" in page.text
    assert BAD in page.text


def test_names_are_escaped(rng, samples, tmp_path):
    g = Graph()
    x = g.input("x", (1, 3, 12, 12))
    model = g.model(g("Conv", x, normal(rng, 2, 3, 1, 1), name="<script>&\"'"))
    options = DebugOptions(html=tmp_path / "p.html", bisect=False)
    api.debug(model, samples, options=options)
    text = (tmp_path / "p.html").read_text()
    assert "<script" not in text
    assert "<script>&\"'" in Page(text).text


def test_node_data_has_the_form_of_model_explorer(report_and_files):
    report, _, text = report_and_files
    data = json.loads(text)
    assert set(data) == {"results", "gradient"}
    assert [stop["stop"] for stop in data["gradient"]] == [0.0, 0.5, 1.0]
    worst = report.layers[0]
    values = {key: each["value"] for key, each in data["results"].items()}
    assert len(values) == len(NAMES)
    assert min(values, key=values.get) == worst.layer.outputs[0]
    assert values[worst.layer.outputs[0]] == pytest.approx(worst.alone.sqnr_db, abs=1e-3)

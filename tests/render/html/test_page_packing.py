import zlib
from base64 import b64decode

from kdbench.render.html.page import laid_open, packed


def test_a_packed_text_is_short_and_without_markup_and_comes_back():
    text = "</script>é" * 1000
    letters = packed(text)
    assert len(letters) < 200
    assert not set(letters) & set("<>&\"'")
    assert zlib.decompress(b64decode(letters)).decode() == text


def test_a_page_is_laid_open_with_its_content_and_without_its_libraries():
    page = """<p>content</p>
<script type="text/plain" id="content">{}</script>
<script type="text/plain" id="vega">{}</script>
<script type="module">let content;</script>"""
    assert laid_open(page.format(packed('{"title":"<b>"}'), packed("window.vega = 1"))) == page.format(
        '{"title":"<b>"}', ""
    )
    assert laid_open("any < other") == "any < other"

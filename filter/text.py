"""Bytes of a page to its text: which encoding, and what is no text at all.

Byte order marks are believed, then strict UTF-8; what is UTF-8 with NULs may be UTF-16, and is
where that reads well. What is neither is read under each of UTF-16, GB18030, Big5 and damaged
UTF-8, and the reading whose characters are commonest wins: the wrong one of GB18030 and Big5 is
valid nearly as often as the right one, but what it gives are rare characters. Other encodings are
left to charset-normalizer. A last character that a crawler cut in the middle becomes U+FFFD, as do
lone surrogates; nothing else is changed.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Sequence

from filter.errors import WinnowError

REPLACEMENT = "\ufffd"

SAMPLE_BYTES = 1 << 16
"""Bytes of a page by which its encoding is told."""

CONTROL_SHARE = 0.05
"""Share of control characters beyond which data is no text."""

_GB18030_MARK = b"\x84\x31\x95\x33"

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16, so it is looked for first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (_GB18030_MARK, "gb18030"),
)

_MAGIC = (
    (b"%PDF-", "a PDF"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"PK\x03\x04", "a zip archive or an office document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an office document"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b\x08", "gzip data (a name that ends in .gz would have it unpacked)"),
    (b"\xfd7zXZ\x00", "xz data (a name that ends in .xz would have it unpacked)"),
    (b"\x28\xb5\x2f\xfd", "zstandard data (a name that ends in .zst would have it unpacked)"),
    (b"BZh", "bzip2 data"),
    (b"\x7fELF", "a program"),
    (b"PAR1", "a Parquet file"),
)

_CANDIDATES = ("utf-8", "gb18030", "cp950", "big5hkscs", "utf-16-le", "utf-16-be")
"""Encodings that are tried, the likelier first: an equal score does not displace one."""

_OTHERS = ("cp932", "euc_jp", "iso2022_jp", "cp949", "cp1251", "koi8_r", "cp1252")
"""Encodings of pages that are not Chinese, among which charset-normalizer chooses."""

_EAST_ASIAN = frozenset(("cp932", "euc_jp", "cp949", "euc_kr"))

_CONTROLS = frozenset(map(chr, (*range(32), 127))) - frozenset("\t\n\v\f\r\x1b")
_SURROGATES = re.compile("[\ud800-\udfff]")

_NOT_ASCII = re.compile(rb"[\x80-\xff]")
# After its first byte, which may be the second half of a character.
_ASCII_RUN = re.compile(rb"([\x00-\x7f])[\x00-\x7f]{30,}")

# The 600 characters that make up 80% of modern Chinese text, commonest first, and the traditional
# forms of those that have one.
_COMMON = (
    "的一在是了人不有中国和大以为上行发个用年时会这日我来生要到作地出动可能对新业下家工全方成公法多他进部月市民于区定理开分现"
    "们后过等本同高子好就也关经实前合自者建主化机务面展道天将通体学事产加力安文说员应当重长小其表还你得心第提水与设政之次保点"
    "都如所间场性度量期电管平示及内目情物外数据服入三制着最并很里系资果美活位持使此看车没比品明报而强相程元交正计件已起意近信"
    "共条网去海司运规常更因两然金利门从代十统记特名种治东手基社总二式被解但增台或问向查西院路今结些处无组任北流万么项收立调推"
    "受接指单那议科军联该防知南题布需各至打感由导商书山回气供样老想局医级息消队口续施委原质只护源价技支城传标称给色创造四集案"
    "做带头风斯领省线预取身步客求型格病办深见教先环快放达非少装选改党战显引影告完确州警别包境置户企术它太况村态京检器营游华责"
    "便广决构话女费认效团变类备直让证参育房视列复研模未江习五监首又专助某例超域何她命儿算际注升再具功反准济清周众府走整根把较"
    "易空投每药己世股图食值站县球款义精转克真约河协响节存举救降权几字农赛配容观验才亿张住界群形优速论边什买吃请照率热划积织令"
    "青极王料友限声获致送采控疗依维志测光望始号马林低且除孩神识店拉段士觉酒白排连职干货雨断难尔亚究爱按份益范试必米落许宣候势"
    "险健评执火居考随严百李师像击官满您状半象序乐则往愿律坚负片血红德阳策言即央核早乡充双围听历花音越宝足康演害失版互景细巴罗"
)
_COMMON_TRADITIONAL = (
    "國爲為發個時會這來動對業進於區開現們後過關經實機務將體學產說員應當長還與設點間場電內數據著並裏裡資車沒報強計條網運規兩門"
    "從統記種東總臺問結處無組萬麼項調單議軍聯該題導書氣樣醫級隊續質護價傳標稱給創帶頭風領線預辦見環達裝選黨戰顯確別戶術況態檢"
    "營遊華責廣決構話費認團變類備讓證參視復習監專兒際準濟衆眾較藥圖縣義轉約協響節舉權幾農賽觀驗億張羣優論邊買喫請熱劃積織極聲"
    "獲採療維測號馬識覺連職幹貨斷難爾亞愛範試許勢險評執隨嚴師擊滿狀樂則願堅負紅陽鄉雙圍聽歷寶細羅"
)
_PUNCTUATION = "，。、：；？！“”‘’「」『』（）《》〈〉【】—…·　"

_SCORES = {
    **dict.fromkeys(_PUNCTUATION, 2.0),
    **dict.fromkeys(_COMMON_TRADITIONAL, 2.0),
    **{character: 3.0 - 2.0 * rank / len(_COMMON) for rank, character in enumerate(_COMMON)},
}


def decode(data: bytes, *, name: str = "input") -> tuple[str, str]:
    """The text of a page and the encoding it was in.

    Args:
        data: A whole page.
        name: What to call it in an error: a file's path.

    Returns:
        The text, without byte order mark and lone surrogates, and the name of the encoding.

    Raises:
        WinnowError: If the data is no text, or in no encoding that can be told.
    """
    encoding = detect(data, name=name)
    return decode_as(data, encoding), encoding


def decode_as(data: bytes, encoding: str) -> str:
    """The text of a page whose encoding is known; what is invalid in it becomes U+FFFD."""
    if encoding == "gb18030":  # whose codec keeps the mark
        data = data.removeprefix(_GB18030_MARK)
    return replace_surrogates(data.decode(encoding, errors="replace"))


def detect(data: bytes, *, name: str = "input", declared: Sequence[str] = ()) -> str:
    """The encoding of a page, or of the head of a file that may end in the middle of a character.

    Args:
        data: The page.
        name: What to call it in an error: a file's path.
        declared: Encodings that the page is said to be in, by Python's names. They are believed
            where the data does not speak against them.

    Raises:
        WinnowError: If the data is no text, or in no encoding that can be told.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            raise WinnowError(f"{name}: not a text but {kind}")
    if _is_utf8(data):
        encoding, text = _utf8_or_utf16(data[:SAMPLE_BYTES])
    else:
        sample = _sample(data)
        encodings = dict.fromkeys((*declared, *_CANDIDATES))
        readings = {encoding: _read(sample, encoding) for encoding in encodings}
        encoding = max(readings, key=lambda encoding: _score(readings[encoding]))
        text = readings[encoding]
        if _control_share(text) <= CONTROL_SHARE:
            # A page in another language has rare characters in its own encoding too.
            for other in declared:
                if REPLACEMENT not in readings[other] and _score(text) < _doubt(text, other):
                    return other
            if _score(text) < 0:
                return _detect_otherwise(sample, name)
    if _control_share(text) > CONTROL_SHARE:
        raise WinnowError(f"{name}: not a text (binary data)")
    return encoding


def squeeze_ascii(data: bytes) -> bytes:
    """A page without the most of its long runs of ASCII, which tell nothing of its encoding."""
    return _ASCII_RUN.sub(rb"\1 ", data)


def replace_surrogates(text: str) -> str:
    """A text of the same length with U+FFFD in place of lone surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATES.sub(REPLACEMENT, text)
    return text


def _is_utf8(data: bytes) -> bool:
    try:
        # Not final: a last character may be cut.
        codecs.getincrementaldecoder("utf-8")("strict").decode(data, final=False)
    except UnicodeDecodeError:
        return False
    return True


def _utf8_or_utf16(sample: bytes) -> tuple[str, str]:
    """The encoding of what is valid UTF-8, and its reading.

    UTF-16 of plain ASCII is valid UTF-8 too, with a NUL beside each character. A few stray NULs in
    a page of UTF-8 are no reason to read it so: what that gives is rare characters.
    """
    readings = {"utf-8": _read(sample, "utf-8")}
    if b"\0" in sample:
        others = {encoding: _read(sample, encoding) for encoding in ("utf-16-le", "utf-16-be")}
        readings |= {encoding: text for encoding, text in others.items() if _score(text) >= 0}
    return max(readings.items(), key=lambda reading: _score(reading[1]))


def _sample(data: bytes) -> bytes:
    """The part of a page by which its encoding is told: ASCII alone would tell nothing."""
    if len(data) <= SAMPLE_BYTES:
        return data
    if b"\0" not in data:
        return squeeze_ascii(data)[:SAMPLE_BYTES]
    # It may be in UTF-16, where half of a Chinese character looks like ASCII, and characters begin
    # at even places. If it is not, ASCII between its NULs speaks against that, and is wanted.
    found = _NOT_ASCII.search(data)
    begin = max(0, found.start() - SAMPLE_BYTES // 2) // 2 * 2 if found else 0
    return data[begin : begin + SAMPLE_BYTES]


def _read(data: bytes, encoding: str) -> str:
    # The incremental decoder leaves a cut last character out of the reading, and of its score.
    return codecs.getincrementaldecoder(encoding)("replace").decode(data, final=False)


def _score(text: str) -> float:
    """How much a reading looks like a page: the sum over its characters, ASCII counting nothing."""
    return sum(count * _character_score(char) for char, count in Counter(text).items())


def _doubt(text: str, other: str) -> float:
    """The score under which a reading gives way to the one in another encoding that is declared.

    An encoding in which not every sequence of bytes is valid is declared with better reason.
    """
    characters = sum(char >= "\x80" for char in text)
    return 0.5 * characters if other in _EAST_ASIAN else 0.0


def _character_score(char: str) -> float:
    if char in _SCORES:
        return _SCORES[char]
    if char in _CONTROLS:
        return -5.0
    code = ord(char)
    if code < 0x80:
        return 0.0
    if 0x4E00 <= code < 0xA000 or 0xFF01 <= code < 0xFF5F:  # any other Chinese, full-width ASCII
        return -0.5
    if char == REPLACEMENT or 0x80 <= code < 0xA0 or 0xE000 <= code < 0xF900:  # C1, private use
        return -10.0
    return -2.0


def _control_share(text: str) -> float:
    return sum(text.count(char) for char in _CONTROLS) / len(text) if text else 0.0


def _detect_otherwise(sample: bytes, name: str) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=list(_OTHERS)).best()
    if best is None:
        raise WinnowError(f"{name}: cannot tell the encoding; convert the page to UTF-8 first")
    return codecs.lookup(best.encoding).name

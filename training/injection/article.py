"""What in a document of prose is its author's.

News as corpora hold it has lost its line breaks and kept the credits of its site (a quarter of the
documents), and patients' questions hold a clinic's own words. Taken for prose they would teach that
boilerplate and keywords are none. The rules are for Chinese, both scripts; they rather leave out a
paragraph too many, for there is enough.
"""

from __future__ import annotations

import re

_AROUND = " \u3000\n【[（("
"""Blanks and opening brackets, with which a cut document may end."""

_LONGEST_END = 120
"""Characters up to which what follows the last sentence, on its line, is no part of it."""

_SENTENCE_END = re.compile(
    r"(?:[。．！？；…]|[.!?;](?=[”’」』\"）)】]*(?:\s|\Z)))[”’」』\"）)】]*(?:[（(]全?[文书書]?完[）)])?"
)

_ROLE = (
    r"(?:记者|記者|编辑|編輯|责编|責編|编译|編譯|校对|校對|审核|審核|通讯员|通訊員|实习生|實習生"
    r"|采写|採寫|撰文|摄影报道|攝影報導|(?<!提)供[稿图圖]|作者|来源|來源|图源|圖源)"
)

_CREDIT = re.compile(
    # A short line of names: no clause, and nobody tells a reporter anything.
    rf"(?=[（(【\[]?[^，。]{{0,14}}{_ROLE})"
    r"(?!.*(?:告诉|告訴|表示|[说說了从從将將的]|获悉|獲悉|认为|認為|进行|進行|提醒|通过|經過))"
    r"[^，。\n]{4,60}\Z"
    r"|[（(【\[]?(?=.*(?:记者|記者|通讯员|通訊員|来源：|來源：))[^，。\n]{2,40}[）)】\]]\Z"
    r"|[^\n]{0,20}(?:属于原创|如若转载|未经授权|系转载|版权归|版權歸)[^\n]{0,40}\Z"
)
"""Who wrote an article, and whose it is, at its end."""

_PICTURE_CREDIT = re.compile(
    r"[（(【](?:[^（()）【】\n]{0,30}(?:(?<!提)供[图圖](?!书|書|纸|紙)|(?<!拍)[摄攝]\s*(?=[）)】])|资料图(?=[）)】])"
    r"|資料圖(?=[）)】]))|(?:[图圖](?:片)?(?:源|来源|來源)|图/|圖/|资料图|資料圖|制图|製圖)[：:/\s])"
    r"[^（()）【】\n]{0,30}[）)】]"
)
"""Whose picture it was, in brackets after a caption."""

_FURNITURE = re.compile(
    r"(?:(?<![一-鿿])(?:来源|來源|作者|编辑|編輯|撰文|摄影|攝影)|(?<=[。！？）)\d\s])(?:来源|作者|编辑)"
    r"|图源|圖源|图片来源|圖片來源|责编|責編|责任编辑|責任編輯|原标题|原標題|发稿时间|校对|校對|通讯员)"
    r"\s*[：:|｜丨︱](?![：“\"])"
    r"|(?<![一-鿿])[文图][/丨｜](?=[一-鿿])"
    r"|本文属于原创|此文系转载|声明：本网|版权归(?!属)|如有侵权|侵权请联系|关注小编"
    r"|点击[^。，\n]{0,6}关注"
)
"""What a site adds to an article, in the midst of it: lost line breaks have made it one with it."""

_CLINIC = re.compile(
    r"(?:哪家|哪个|最好|主治|专治)"
    r"(?![^，。？！\n]{0,10}[去到在上往][^，。？！\n]{0,10}医院)"
    r"[^的，。？！\n]{0,10}医院(?=[？?。，\s]|\Z)"
    r"|(?<=[。！？])定点[^，。？！\n]{1,8}医院"
    r"|医院[^，。？！\n]{0,6}(?:哪家|哪里|排名)|医院在哪(?![个儿])"
    r"|(?:治疗|治)[^，。？！\n]{1,10}(?:哪里|哪家)最?[好强](?=[？?，。\s]|\Z)"
)
"""What patients' questions are made of where a clinic has written them."""


def article(text: str) -> tuple[str, str]:
    """A document without what its site added to it, and the credit that it ended with, if any.

    Left out are credits of pictures, what follows the last sentence on its line, if it is short (a
    credit, or a sentence that was cut off), and then paragraphs with furniture in them.
    """
    text, credit = _PICTURE_CREDIT.sub("", text).strip().rstrip(_AROUND), ""
    while True:
        line = text.rfind("\n") + 1
        last = max((own.end() for own in _SENTENCE_END.finditer(text, line)), default=line)
        end = text[last:].strip()
        is_credit = bool(_CREDIT.match(end))
        cut_off = last > line and len(end) <= min(_LONGEST_END, len(text) // 3)
        cut_off = cut_off and sum(map(str.isdigit, end)) < 4  # a telephone number is no remnant
        if not end or not (is_credit or cut_off):
            break
        credit = end if is_credit else credit
        text = text[:last].rstrip(_AROUND)
    lines = text.split("\n")
    kept = [own for own in lines if not (_FURNITURE.search(own) or _CLINIC.search(own))]
    return "\n".join(kept), credit

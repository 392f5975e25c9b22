"""What is dropped into sentences: names, pieces of text, search queries, broken as real ones.

About half of the strings are cut out of other documents of the corpus, so that no list of words
can tell them; the rest comes from the material, composed and broken (cut anywhere, doubled,
bracketed).
"""

from __future__ import annotations

import re
from random import Random

from training.injection.page import Page

_STOPS = re.compile(
    r"[\s，。、；：！？“”‘’（）《》【】…—,.;:!?()\[\]\"'的了是在和与及着也就都而但]+"
)
_CLAUSES = re.compile("[，。；！？\\n]+")
_HAN = re.compile(r"[\u4e00-\u9fff]{2,9}")

# Weights of the lists a keyword is drawn from; a list that is absent is passed over.
_LISTS = {
    "products_industrial": 8, "products_other": 6, "product_categories": 2, "product_titles": 2,
    "product_food_names": 1, "brands": 3, "industries": 1, "seo_longtail_realestate": 4,
    "seo_longtail_business": 2, "seo_longtail_composed": 4, "seo_gambling": 3,
    "blackhat_terms": 3, "ad_law_words": 1, "diseases": 2, "symptoms": 1, "drugs_with_maker": 2,
    "departments": 1, "hospitals": 3, "hospital_lines_composed": 3, "hospital_questions_real": 2,
    "cities": 1, "companies_listed": 1, "companies_short": 2, "car_terms": 2,
    "written_keywords": 12,
}  # fmt: skip
_SUFFIXES = (
    "厂家", "价格", "批发", "哪家好", "多少钱", "官网", "公司", "品牌", "报价", "供应商", "app",
    "下载", "图片", "排名", "怎么样", "网址", "平台", "招商", "加盟", "维修", "设备", "定制",
    "生产厂家", "代理", "注册", "登录", "作文", "范文", "怎么写", "大全", "有哪些", "是什么意思",
    "教程", "培训班", "排行榜", "视频", "在线阅读", "txt下载", "资质转让", "装修", "治疗", "手术",
    "医院", "软件", "推荐", "500字", "答案", "电话", "二手", "租赁", "回收", "费用", "流程",
    "条件", "代办",
)  # fmt: skip
_BRAND_HEADS = "金银皇鑫永利博乐天盛凯亚欧华新九万宝龙凤星发百彩环球优威尼太阳澳门幸运极速".strip()
_BRAND_TAILS = (
    "娱乐", "体育", "国际", "棋牌", "贵宾会", "彩票", "电竞", "在线", "游戏", "平台", "手机版",
    "app下载",
    "官方网站", "注册", "开户", "娱乐城", "真人", "投注", "官网", "会员登录", "计划软件",
)  # fmt: skip
_GAME_HEADS = (
    "极速", "秒速", "幸运", "北京", "重庆", "澳洲", "加拿大", "香港", "天津", "新疆", "分分",
    "大发", "SG", "168", "bt365", "AG", "必赢", "手机",
)  # fmt: skip
_GAMES = (
    "赛车", "飞艇", "快三", "时时彩", "六合彩", "11选5", "PK10", "28", "牛牛", "百家乐", "捕鱼",
    "幸运8", "幸运5", "双色球", "足彩", "老虎机", "斗地主", "麻将",
)  # fmt: skip
_GAME_TAILS = (
    "开奖", "开奖结果", "开奖网", "计划", "人工计划", "全天计划", "预测", "走势图", "技巧", "app",
    "下载", "手机下载", "官网", "网址", "投注平台", "怎么玩", "直播", "娱乐平台", "首页",
    "在线预测", "助手", "三期计划",
)  # fmt: skip
_PREFIXES = (
    "最好",
    "专业",
    "正规",
    "优质",
    "知名",
    "推荐",
    "热门",
    "最新",
    "权威",
    "口碑好的",
    "哪里有",
    "附近",
)
_BRACKETS = ("【】", "「」", "《》", "[]", "（）", "“”", "()", "<>", "||", "『』")


def split_terms(text: str) -> list[str]:
    """Chunks between punctuation and function words."""
    return _STOPS.split(text)


def split_clauses(text: str) -> list[str]:
    """Stretches between commas and stops."""
    return _CLAUSES.split(text)


def ngram(page: Page, shortest: int = 2, longest: int = 8, domain: str | None = None) -> str:
    """A run of Han characters cut anywhere out of another document."""
    rng = page.rng
    for _ in range(4):
        piece = page.prose.piece(rng, 40, domain)
        runs = _HAN.findall(piece)
        if runs:
            run: str = rng.choice(runs)
            length = rng.randint(shortest, longest)
            start = rng.randrange(max(1, len(run) - length + 1))
            if len(run[start : start + length]) >= shortest:
                return run[start : start + length]
    return "设备"


def term(page: Page, domain: str | None = None) -> str:
    """A chunk between punctuation and function words of another document: most look like nouns."""
    for _ in range(4):
        chunks = split_terms(page.prose.piece(page.rng, 60, domain))
        chunks = [chunk for chunk in chunks if 2 <= len(chunk) <= 10]
        if len(chunks) > 2:
            return str(page.rng.choice(chunks[1:-1]))
    return ngram(page)


def listed(page: Page) -> str:
    """An item of one of the material's lists."""
    return page.material.draw(page.rng, _list(page), held_out=page.held_out)[:30]


def _list(page: Page) -> str:
    """The name of one of the lists that are there: the project's own always is."""
    names = [name for name in _LISTS if page.material.has(name)]
    return page.rng.choices(names, [_LISTS[name] for name in names])[0]


def game(rng: Random) -> tuple[str, str]:
    """A lottery or betting game as it is searched for: its name and what is wanted of it."""
    return rng.choice(_GAME_HEADS) + rng.choice(_GAMES), rng.choice(_GAME_TAILS)


def brand(rng: Random) -> str:
    """A made-up betting or shop brand, with digits or Latin letters at times."""
    if rng.random() < 0.35:
        return "".join(game(rng))
    head = "".join(rng.choice(_BRAND_HEADS) for _ in range(rng.randint(1, 3)))
    if rng.random() < 0.3:
        letters = "".join(rng.choice("abcdefghkmopqtxyz") for _ in range(rng.randint(1, 4)))
        head = rng.choice((letters, letters.upper(), letters + str(rng.randint(3, 9999)))) + head
    return head + rng.choice(("", str(rng.randint(2, 999)))) + rng.choice(_BRAND_TAILS)


def family(page: Page, count: int) -> list[str]:
    """Search phrases about one thing: the same stem with ever other endings, as doorways have."""
    rng = page.rng
    stem, endings = (game(rng)[0], _GAME_TAILS) if rng.random() < 0.5 else (term(page), _SUFFIXES)
    return [stem + (rng.choice(endings) if rng.random() < 0.9 else "") for _ in range(count)]


def compose(page: Page) -> str:
    """City, noun and commercial suffix as search engines are asked for them."""
    rng = page.rng
    noun = term(page) if rng.random() < 0.5 else listed(page)
    city = page.material.draw(rng, "cities") if rng.random() < 0.5 else ""
    prefix = rng.choice(_PREFIXES) if rng.random() < 0.2 else ""
    suffix = rng.choice(_SUFFIXES) if rng.random() < 0.6 else ""
    return f"{prefix}{city}{noun}{suffix}"[:30]


def own_term(page: Page) -> str:
    """A chunk between punctuation and function words of the host itself."""
    rng = page.rng
    start = rng.randrange(max(1, len(page) - 200))
    chunks = [c for c in split_terms(page.text[start : start + 200]) if _HAN.fullmatch(c)]
    chunks = [chunk for chunk in chunks if 2 <= len(chunk) <= 10]
    return rng.choice(chunks) if chunks else term(page, page.domain)


def keyword(page: Page) -> str:
    """One keyword, unbroken."""
    rng = page.rng
    if page.own_words and rng.random() < page.own_words:
        return own_term(page)
    if page.lent.keywords and rng.random() < 0.2:
        return rng.choice(rng.choice(page.lent.keywords))
    kind = rng.random()
    if kind < 0.22:
        return term(page)
    if kind < 0.40:
        return ngram(page)
    if kind < 0.52:
        return term(page, page.domain)
    if kind < 0.74:
        return listed(page)
    if kind < 0.9:
        return compose(page)
    return brand(rng)


def broken(rng: Random, text: str) -> str:
    """Breaks a string as careless generators do: cut anywhere, doubled, bracketed, spaced."""
    kind = rng.random()
    if kind < 0.15 and len(text) > 3:
        start = rng.randrange(len(text) - 2)
        text = text[start : start + rng.randint(2, len(text) - start)]
    elif kind < 0.2:
        text = text + text
    elif kind < 0.26:
        bracket = rng.choice(_BRACKETS)
        text = bracket[0] + text + bracket[1]
    elif kind < 0.29:
        text = rng.choice(" -_|/,") + text
    elif kind < 0.32:
        text = text + rng.choice(" -_|/,：:")
    return text


def pool(page: Page, smallest: int = 1, largest: int = 7) -> list[str]:
    """The strings that one page cycles through: of one kind, or pieces of one phrase, or mixed."""
    rng = page.rng
    size = rng.randint(smallest, largest)
    if page.own_words and rng.random() < page.own_words:
        return [own_term(page) for _ in range(size)]
    if page.lent.keywords and rng.random() < 0.3:  # as one real page has them
        lent = rng.choice(page.lent.keywords)
        start = rng.randrange(max(1, len(lent) - size + 1))
        return lent[start : start + size]
    kind = rng.random()
    if kind < 0.25:  # pieces of a few long phrases, cut anywhere
        phrases = [compose(page) + (ngram(page) if rng.random() < 0.5 else "") for _ in range(2)]
        strings = []
        for _ in range(size):
            phrase = rng.choice(phrases)
            start = rng.randrange(max(1, len(phrase) - 2))
            strings.append(phrase[start : start + rng.randint(2, 10)])
    elif kind < 0.5:  # one list
        name = _list(page)
        strings = [page.material.draw(rng, name, held_out=page.held_out)[:20] for _ in range(size)]
    elif kind < 0.56:
        strings = family(page, size)
    elif kind < 0.65:  # the host's own field
        strings = [term(page, page.domain) for _ in range(size)]
    elif kind < 0.72:
        strings = [brand(rng) for _ in range(max(1, size // 2))]
    else:
        strings = [keyword(page) for _ in range(size)]
    return [broken(rng, string) for string in strings if string.strip()] or [ngram(page)]


def latin_name(rng: Random) -> str:
    """A made-up word in Latin letters, capitalised or not."""
    syllables = ("ba", "lo", "mer", "tin", "so", "ra", "vel", "co", "dan", "li", "ter", "no", "max")
    word = "".join(rng.choice(syllables) for _ in range(rng.randint(1, 4)))
    return rng.choice((word, word.capitalize(), word.upper()))


def digits(rng: Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def telephone(rng: Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return f"1{rng.choice('3578')}{digits(rng, 9)}"
    if kind < 0.7:
        return f"0{digits(rng, rng.choice((2, 3)))}-{digits(rng, rng.choice((7, 8)))}"
    if kind < 0.9:
        return f"400-{digits(rng, 3)}-{digits(rng, 4)}"
    return digits(rng, rng.choice((5, 7, 8, 11)))


def domain_name(rng: Random) -> str:
    """An invented domain, most often that of a host in it."""
    return rng.choice(("www.", "www.", "", "m.", "bbs.")) + bare_domain(rng)


def bare_domain(rng: Random) -> str:
    """An invented domain of pinyin syllables, letters or digits."""
    syllables = (
        "xiao", "shuo", "shu", "wang", "du", "book", "txt", "zhong", "hua", "qi", "bai", "le",
        "yun",
        "hai", "jia", "mei", "xin", "long", "tian", "fa", "da", "you", "ba", "wo", "ai", "kan",
        "lu",
    )  # fmt: skip
    name = "".join(rng.choice(syllables) for _ in range(rng.randint(1, 3)))
    if rng.random() < 0.3:
        name += digits(rng, rng.randint(1, 4))
    top = rng.choices(
        ("com", "net", "cn", "org", "cc", "com.cn", "la", "tw", "info"), (9, 4, 4, 1, 2, 2, 1, 1, 1)
    )[0]
    return f"{name}.{top}"


def values(page: Page) -> dict[str, object]:
    """What sentences with gaps are filled with, by the letter of the gap."""
    rng = page.rng

    def draw(name: str) -> str:
        return page.material.draw(rng, name, held_out=page.held_out) or term(page)

    def noun() -> str:
        return listed(page) if rng.random() < 0.6 else term(page, page.domain)

    site = domain_name(rng)
    return {
        "t": telephone(rng), "m": rng.randint(1, 12), "d": rng.randint(1, 28), "x": noun(),
        "p": rng.randint(3, 999), "q": rng.randint(100, 9999), "u": rng.choice(("http://",
            "https://", "")) + site,
        "y": draw("cities"), "z": term(page), "a": noun(), "b": noun(), "c": noun(),
        "s": draw("symptoms"), "h": draw("hospitals"), "w": draw("ad_law_words"),
        "i": draw("diseases"),
        "e": digits(rng, 6) + "@" + site.removeprefix("www."), "n": digits(rng, 12),
        "k": digits(rng, 6), "o": draw("companies_listed"),
    }  # fmt: skip

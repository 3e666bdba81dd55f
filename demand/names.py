"""Names of titles as different publishers write them, brought to one key: series and number of the season or sequel."""

import re
import unicodedata

_SEASON = re.compile(
    r"^(?P<series>.+?)\s*[:\-–]\s*(?:limited series|(?:season|series|part|parte|volume|vol\.?|chapter|book|collection|temporada|staffel|stagione|sæson|シーズン)\s*(?P<number>\w+)?\b.*)$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^(?P<series>.+) (?P<number>\d{1,2})$")
_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6,
}  # fmt: skip


def plain_name(name: str) -> str:
    """A name without what publishers differ in: the original title after ``//``, case, accents, punctuation; a name of nothing else stays as it is.

    >>> plain_name("Pokémon Journeys: The Series // ポケットモンスター")
    'pokemon journeys the series'
    """
    text = unicodedata.normalize("NFKD", name.split(" // ")[0].casefold())
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    text = text.replace("&", " and ").replace("'", "").replace("’", "")
    return re.sub(r"[\W_]+", " ", text).strip() or name


def title_key(name: str) -> tuple[str, int]:
    """The series (for a film, its own name) and the number of the season, part or sequel; 1 where none is written.

    >>> title_key("Money Heist: Part 5"), title_key("Enola Holmes 2"), title_key("Alba: Limited Series")
    (('money heist', 5), ('enola holmes', 2), ('alba', 1))
    """
    written = name.split(" // ")[0].strip()
    season = _SEASON.match(written)
    if season:
        return plain_name(season["series"]), _number(season["number"])
    plain = plain_name(written)
    numbered = _NUMBERED.match(plain)
    if numbered:
        return numbered["series"], int(numbered["number"])
    return plain, 1


def is_season(name: str) -> bool:
    """Whether a name is written as that of a season rather than a film's."""
    return _SEASON.match(name.split(" // ")[0].strip()) is not None


def _number(text: str | None) -> int:
    if text is None:
        return 1
    if text.isdecimal():
        return min(int(text), 999)
    return _WORDS.get(text.casefold(), 1)


_SCRIPTS = ("HANGUL", "HIRAGANA", "KATAKANA", "CJK", "CYRILLIC", "ARABIC", "DEVANAGARI", "THAI", "HEBREW", "TAMIL", "TELUGU", "GREEK")  # fmt: skip
SCRIPT_CLASSES = 2 + len(_SCRIPTS)
"""Values of :func:`script_class`."""


def script_class(name: str) -> int:
    """What a published name says of its language: 0 no title of its own, 1 one in Latin letters, from 2 on its script.

    >>> script_class("Alba"), script_class("Elite // Élite"), script_class("The Glory // 더 글로리")
    (0, 1, 2)
    """
    parts = name.split(" // ", 1)
    if len(parts) == 1:
        return 0
    for letter in parts[1]:
        if not letter.isalpha():
            continue
        written = unicodedata.name(letter, "")
        for position, script in enumerate(_SCRIPTS):
            if written.startswith(script):
                return 2 + position
    return 1


def wording(name: str) -> tuple[int, int, bool, bool]:
    """How a name is made: letters and words of it without its original, whether it has a colon, and whether it is a limited series.

    Long names with a colon are documentaries and specials more often than hits; this is what a name tells before anybody has watched.

    >>> wording("Crime Scene: The Times Square Killer: Limited Series")
    (52, 8, True, True)
    """
    written = name.split(" // ")[0].strip()
    return len(written), len(written.split()), ": " in written, "limited series" in written.casefold()

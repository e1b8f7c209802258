"""Which language a response is in: names and codes, and a detector where it is installed."""

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MappingProxyType

from kpig.errors import nearest

MISSING = "the package 'lingua-language-detector' is needed to tell languages; pip install 'kpig[languages]'"

_CODES = """
Afrikaans af; Albanian sq; Arabic ar; Armenian hy; Azerbaijani az; Basque eu; Belarusian be; Bengali bn;
Bokmal nb; Bosnian bs; Bulgarian bg; Catalan ca; Chinese zh; Croatian hr; Czech cs; Danish da; Dutch nl;
English en; Esperanto eo; Estonian et; Finnish fi; French fr; Ganda lg; Georgian ka; German de; Greek el;
Gujarati gu; Hebrew he; Hindi hi; Hungarian hu; Icelandic is; Indonesian id; Irish ga; Italian it;
Japanese ja; Kazakh kk; Korean ko; Latin la; Latvian lv; Lithuanian lt; Macedonian mk; Malay ms; Maori mi;
Marathi mr; Mongolian mn; Nynorsk nn; Persian fa; Polish pl; Portuguese pt; Punjabi pa; Romanian ro;
Russian ru; Serbian sr; Shona sn; Slovak sk; Slovene sl; Somali so; Sotho st; Spanish es; Swahili sw;
Swedish sv; Tagalog tl; Tamil ta; Telugu te; Thai th; Tsonga ts; Tswana tn; Turkish tr; Ukrainian uk;
Urdu ur; Vietnamese vi; Welsh cy; Xhosa xh; Yoruba yo; Zulu zu; Norwegian no; Slovenian sl; Farsi fa;
Mandarin zh; Filipino tl; Castilian es
"""
CODES: Mapping[str, str] = MappingProxyType(
    {name: code for name, code in (entry.split() for entry in _CODES.split(";"))}
)
"""ISO 639-1 codes by the English names of the languages that the detector knows."""

_TOGETHER: Mapping[str, tuple[str, ...]] = MappingProxyType({"no": ("nb", "nn")})
"""Codes that stand for several languages of the detector."""

TIMES_AS_LIKELY = 100.0
"""How much likelier than the stated language another must be for a response to break the demand. Chosen on
the short sentences of tests/test_languages.py: none is refused in its own language; at 20, 8 % were."""


def is_installed() -> bool:
    """Whether the detector is there; nothing is loaded."""
    return importlib.util.find_spec("lingua") is not None


def code_of(name: str) -> str | None:
    """The ISO 639-1 code of a language by its English name or code, case aside; None for no language."""
    codes = {known.lower(): code for known, code in CODES.items()}
    plain = name.strip().lower()
    return codes.get(plain) or (plain if plain in codes.values() else None)


def near(name: str) -> str | None:
    """The name of a language that `name` may be a slip of."""
    return nearest(name.strip().capitalize(), CODES)


def is_in(text: str, code: str) -> bool:
    """Whether no other language is TIMES_AS_LIKELY as the stated one, by the detector.

    So a text too short to tell, such as a name, a number or a word that many languages share, is in it.
    """
    likely = _detector()(text)
    stated = sum(likely.get(one, 0.0) for one in _TOGETHER.get(code, (code,)))
    return max(likely.values(), default=0.0) <= TIMES_AS_LIKELY * stated or not any(likely.values())


@cache
def _detector() -> Callable[[str], Mapping[str, float]]:
    """What gives the probability of every language by its code; loaded at first use.

    The detector's larger models take 0.9 GB instead of 65 MB, and found no more of the same sentences.
    """
    from lingua import LanguageDetectorBuilder

    builder = LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode()
    detector = builder.build()

    def likely(text: str) -> Mapping[str, float]:
        return _by_code(
            (value.language.iso_code_639_1.name, value.value)
            for value in detector.compute_language_confidence_values(text)
        )

    return likely


def _by_code(values: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    return {code.lower(): value for code, value in values}

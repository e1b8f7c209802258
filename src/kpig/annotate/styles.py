"""Styles: phrases that say how an answer is written: notation, casing, language, tone, nothing around."""

import re

_LANGUAGES = (
    r"(?:English|German|French|Spanish|Italian|Portuguese|Dutch|Danish|Swedish|Norwegian|Finnish|"
    r"Icelandic|Polish|"
    r"Czech|Slovak|Hungarian|Romanian|Bulgarian|Greek|Turkish|Russian|Ukrainian|Serbian|Croatian|Slovene|"
    r"Estonian|"
    r"Latvian|Lithuanian|Arabic|Hebrew|Persian|Farsi|Hindi|Urdu|Bengali|Tamil|Telugu|Punjabi|Nepali|Chinese|"
    r"Mandarin|Cantonese|Japanese|Korean|Vietnamese|Thai|Indonesian|Malay|Tagalog|Swahili|Zulu|Afrikaans|"
    r"Latin|"
    r"Catalan|Basque|Galician|Welsh|Irish|Esperanto)"
)
_NOTATIONS = (
    r"(?:JSON|JSONL|YAML|XML|CSV|TSV|HTML|LaTeX|TeX|Markdown|SQL|ISO|BibTeX|Unicode|ASCII|ROT13|Python|"
    r"Roman|regex|"
    r"big-?O|hexadecimal|binary|decimal|scientific|camelCase|snake_case|kebab-case|PascalCase)"
)
_QUALITY = (
    r"(?:(?:simple|easy|plain|clear|formal|informal|polite|friendly|fluent|everyday|basic|good|correct|"
    r"proper|modern|"
    r"old|British|American|Brazilian|standard|valid|very|well-formed)\s+){0,3}"
)
_PLACES = (
    r"order\b|the\s+order\b|bullet\s+points?\b|bullets\b|(?:all\s+)?(?:lower|upper|title|sentence|camel|"
    r"snake|kebab)[\s-]?case|"
    r"(?:all\s+)?(?:capitals?|caps)\b|"
    r"(?:single|double|square|round|angle|curly|quotation|block|small|capital|bold|italics?|inverted|"
    r"ascending|"
    r"descending|alphabetical|chronological|reverse|numerical|brackets|parentheses|quotes|backticks|prose|"
    r"verse|"
    r"rhyme|digits|figures|numerals|metres|euros|percent)\b|"
    r"the\s+(?:\w+\s+){0,2}(?:form(?:at)?|style|order|tense|tone|voice|person|notation)\b|"
    r"(?:an?\s+)?(?:[\w-]+\s+){1,2}(?:form(?:at)?|style|tense|tone|voice|register|notation|case|letters|"
    r"markdown|"
    r"quotes|brackets)\b|the\s+(?:same|first|second|third|past|present|future)\b|separate\s+lines|"
    r"the\s+(?:same\s+)?language\b|(?!my\b|your\b|the\b)[\w-]+\s+(?:speak|slang|dialect|accent|spelling|"
    r"english)\b|the\s+style\b"
)
_DONE = (
    r"(?:separated|delimited|joined|starting|ending|beginning|followed|preceded|prefixed|surrounded|"
    r"enclosed|wrapped|"
    r"rounded|written|formatted|ordered|sorted|numbered|spelled|spelt|capitali[sz]ed|lower-?cased|"
    r"upper-?cased)"
)
_TOLD = (
    r"(?:politely|formally|informally|warmly|professionally|calmly|humorously|neutrally|cheerfully|"
    r"courteously|respectfully|verbatim|literally)\b"
)
_AROUND = (
    r"(?:explanations?|prose|quotes?|quotation\s+marks?|punctuation|greetings?|signatures?|comments?|"
    r"markdown|text|"
    r"preambles?|emojis?|reasoning|reasons?|justifications?|headings?|headers?|formatting|units?|symbols?|"
    r"spaces?|"
    r"brackets|bullets?|numbering|code\s+fences?|introductions?|intro|commentary|caps|capitals|"
    r"full\s+stop|backticks?|exclamation\s+marks?|question\s+marks?|period|slash|dash|hyphen|semicolon|"
    r"comma|extra\s+\w+|other\s+(?:text|words?|output)|"
    r"additional\s+\w+|"
    r"further\s+\w+|line\s+breaks?|newlines?|html|tags|links|sentences?|words)\b"
)
_NOTHING = (
    rf"no\s+need\s+(?:to|for)\b|(?:no|without|with\s+no|omit|skip|leave\s+out)\s+(?:(?:any|the|a|an|extra|"
    rf"other|further|additional|"
    rf"surrounding|trailing|final|leading|introductory|code|of)\s+){{0,2}}{_AROUND}|nothing\s+(?:else|more|"
    rf"around|before|after|but)\b"
)
_DATES = r"[YMDHyd]{1,4}(?:[-./: ][YMDHSymds]{2,4})+"
_AS = (
    rf"as\s+(?:(?:an?|the|one|valid|plain|pure|comma-separated|numbered|bulleted)\s+)*(?:{_NOTATIONS}\b|"
    rf"{_DATES}|bullet|table|list\b|tuple|"
    r"(?:dict|array|object|formula|fraction|percentage|number|integer|decimal|digit|string|code|hashtag)s?\b|"
    r"plain\s+text|question\b|poem\b|haiku\b|dialogue\b|\w+=)"
)
LED_FORM = re.compile(
    rf"{_AS}|(?:in|into|using)\s+(?:an?\s+)?(?:{_QUALITY}(?:{_LANGUAGES}|{_NOTATIONS})\b|{_PLACES}|"
    rf"{_DATES})|to\s+{_DATES}|"
    rf"{_DONE}\s+(?:with|by|to|in|as|from|off)\b|numbered\b|(?:like|as)\s+(?:this|so)\s*:|"
    rf"so\s+that\s+(?:it|they)\s+\w+s?\b|"
    rf"to\s+sound\b|one\s+(?:\w+\s+)?per\s+line|on\s+(?:separate|its\s+own|their\s+own|one|a\s+single|"
    rf"a\s+new|new)\s+lines?|"
    rf"{_NOTHING}|(?:\w+)-separated\b|with(?:out)?\s+(?:keys|fields)\b|{_TOLD}",
    re.IGNORECASE,
)
"""A form that may follow an operation without a comma."""

_NAMED = (
    rf"(?:formal|informal)\b|{_QUALITY}(?:{_LANGUAGES}|{_NOTATIONS})\b(?!')|(?:all\s+)?(?:lower|upper|"
    rf"title)[\s-]?case|"
    r"(?:all\s+)?(?:capitals|caps|capital\s+letters|lowercase|uppercase|italics|bold)\b|"
    r"(?:one|two|three|four|\d+|no)\s+decimals?(?:\s+places?)?\b|plain\s+text\b|"
    r"(?:the\s+)?(?:digits?|number|numeral|label|letter|word|name|code|pattern|command|query|answer|"
    r"result|value|"
    r"term|date|surname|infinitive|singular|plural)s?\s+only\b|"
    r"[\w-]+(?:\s(?:and\s)?[\w-]+){0,2}\s+only\s*(?:$|[,.;)!]|(?:and|but|please)\b)|"
    r"(?:(?:rounded\s+)?to\s+the\s+)?nearest\s+\w+|whole\s+numbers?\b|[\w-]+\s+indent(?:ation|ed)?\b|"
    r"(?:space|comma|tab|semicolon|line)\s+separated\b|title\s+case\b"
)
_BARE = (
    r"(?:just|only)\s+(?:the|this|that|these|one|an?|its|his|her)\b|only\s+\w+(?:\s+\w+)?$|"
    r"(?:\d+|one|two|three|four|five|six|single)[-\s](?:digit|letter)\s+\w+|`[^`]+`\s+(?:as|for)\b|"
    r"with\s+(?:[\"'“‘`]|the\s+\S+\s+(?:sign|"
    r"symbol|suffix|"
    r"prefix|unit)\b|an?\s+(?:\w+\s+)?(?:bar|comma|semicolon|dash|hyphen|space|slash|colon|full\s+stop|"
    r"period)\b)"
)
FORM_START = re.compile(
    rf"(?:and\s+)?(?:(?:each|all|both|everything)\s+(?:one\s+)?)?(?:{LED_FORM.pattern}|{_NAMED}|{_BARE})",
    re.IGNORECASE,
)
"""The text from here on says how the answer is written."""

_FRAMES = r"(?:end|start|begin|open|close|finish)\s+(?:\w+\s+){0,3}?(?:with|by)\b|fill\s+in\s+\S*[=:]"
FRAMES = re.compile(rf"(?:always\s+|and\s+|then\s+|also\s+|please\s+)*(?:{_FRAMES})", re.IGNORECASE)
"""A demand that says what stands around an answer, and never what the answer is."""

ORDERS = re.compile(
    r"(?:always\s+|and\s+|then\s+|also\s+|please\s+)*(?:"
    r"sign\s+(?:off\s+)?(?:as|with)\b|be\s+(?!sure\b|brief\b|concise\b|short\b|specific\b)\w+\s*(?:$|[,.]|"
    r"and\b|but\b)|"
    r"(?:write|give|answer|return|express|format|present)\s+(?:it\s+|them\s+|this\s+|each\s+|"
    r"the\s+\w+\s+)?as\s|"
    r"(?:give|write|return|answer\s+with|output)\s+(?:an?\s+|the\s+)?(?:whole\s+number|number|integer|digit|"
    r"fraction|percentage|decimal)\b|"
    r"(?:give|return|write|output|print|answer|reply|respond|show|say|provide|send)\s+(?:(?:me|with|back|"
    r"in|using)\s+)?"
    r"(?:only|just|nothing\s+but|nothing\s+else)\b|"
    r"(?:give|return|write|output|print|answer|reply|respond|show)\s+(?:it\s+)?(?:\w+\s+){0,3}only\b|"
    r"(?:write|give|return|output|print)\s+the\s+(?:word|digit|number|letter|label|name|code|"
    r"value)s?\s*(?:$|,|not\b|never\b|only\b|and\s+not)|"
    r"only\s+(?:report|give|return|output|print|answer|reply|respond|write|show)\b|"
    r"(?:write|put|place|print|list|give)\s+(?:each|every|one|them|it|the\s+\w+|all)\b.*\b(?:line|lines|"
    r"order|quotes|brackets|"
    r"parentheses|capitals|letters)\b|"
    rf"{_FRAMES}|"
    r"(?:answer|reply|respond|write|return|output|give|speak)\s+(?:(?:\w+\s+){0,3}?)(?:in|as|with|"
    r"using)\s+(?!your|words|only|or)"
    rf"(?:{_QUALITY}(?:{_LANGUAGES}|{_NOTATIONS})\b|{_PLACES}|(?:the|an?|its)\s+(?:single\s+)?(?:word|"
    rf"digit|number|letter|label|name)\b)|"
    r"round\s+(?:(?:it|them|the\s+\w+|all\s+\w+|up|down)\s+)?to\b|"
    r"(?:separate|delimit|capitali[sz]e|format|wrap|enclose|round|number|quote)\s+(?:the\s+(?:answers?|"
    r"outputs?|items?|"
    r"results?|values?|names?|words?|fields?|entries)|it|them|each|all|every|values|items|with|by)\b|"
    r"(?:copy|quote|repeat)\s+(?:it|them|this)\b|use\s+(?:(?:a|an|the|only|double|single|lower|upper|"
    r"plain|this|bullet|"
    r"markdown|digits|commas|semicolons|quotation|all)\s+)*(?:format|form|quotes|quotation\s+marks|case|"
    r"capitals?|letters|commas?|"
    r"semicolons?|markdown|digits|bullets?|bullet\s+points|brackets|notation|tone|style|lowercase|"
    r"uppercase|language)\b|use\s+an?\s+(?:[\w-]+\s+)?(?:list|table)\b)",
    re.IGNORECASE,
)
"""A demand of its own that only says how the answer is written."""

_REFUSED = re.compile(
    rf"(?:do\s+not|don'?t|never|not|no)\s+(?:add|include|write|use|give|output|print|append|explain|"
    rf"provide|put|return|"
    rf"repeat)?\s*(?:(?:any|the|a|an|extra|other|further|additional|surrounding|final)\s+)*(?:{_AROUND})|"
    r"(?:do\s+not|don'?t|never)\s+explain\b",
    re.IGNORECASE,
)
_LANGUAGE = re.compile(
    rf"{_QUALITY}{_LANGUAGES}\b(?:\s+(?:in)?to\s+{_LANGUAGES}|\s+(?:translation|version|equivalent))?"
    r"(?:\s+(?:please|only))?\W*$",
    re.IGNORECASE,
)


_SHOWN = re.compile(r".{1,80}\s(?:->|→|=>|becomes|turns\s+into)\s", re.IGNORECASE)
_NAME_ONLY = re.compile(
    rf"{_QUALITY}(?:{_LANGUAGES}|{_NOTATIONS})\b(?:\s+(?:only|code|object))?\W*$", re.IGNORECASE
)


_AROUND_IT = re.compile(
    rf"{_NOTHING}|(?:all\s+)?(?:lower|upper)[\s-]?case|(?:in\s+)?capitals?\b", re.IGNORECASE
)


def is_nothing_around(piece: str) -> bool:
    """Whether a piece says what must not stand around an answer, or its casing: never a label itself."""
    return bool(_AROUND_IT.match(piece) or _REFUSED.match(piece))


def is_form(piece: str) -> bool:
    """Whether a piece of a clause, without what it is joined by, says how the answer is written."""
    return bool(FORM_START.match(piece) or ORDERS.match(piece) or _REFUSED.match(piece))


def shows(piece: str) -> bool:
    """Whether a piece is an example of what becomes of what, there to fix the form ("Berlin" -> "BER")."""
    return bool(_SHOWN.match(piece))


def is_named(piece: str) -> bool:
    """Whether a piece is the name of a language or a notation, with or without "only"."""
    return bool(_NAME_ONLY.match(piece))


def is_language(piece: str) -> bool:
    """Whether a piece is the name of a language and no more; alone it asks for a translation."""
    return bool(_LANGUAGE.match(piece))

"""Lexicons: the words and phrases that tell what a clause of an instruction does.

Verbs and nouns are those of instructions at large. Patterns ignore case and match at the start of a clause
unless their name says otherwise. They were chosen on the 40 tasks of superni-stream and on short
instructions (docs/LOG.md, "Finding key parts" and "Key parts of short instructions").
"""

import re


def _words(text: str) -> str:
    """An alternation of the words, longest first."""
    return "|".join(sorted(text.split(), key=len, reverse=True))


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# "." after one of these ends no sentence.
ABBREVIATIONS = _set(
    "max min approx incl excl e.g i.e eg ie etc ex vs cf resp approx fig al dr mr mrs ms prof st"
)
OPERATION_VERBS = _words(
    "abbreviate adapt add adjust advise alphabetise alphabetize analyse analyze annotate anonymise "
    "anonymize answer apologise apologize append apply arrange ask assess assign avoid boil brainstorm "
    "break build calculate capitalise capitalize capture categorise categorize censor change chart "
    "check choose cite clarify classify clean coin combine come compare complete compose compress "
    "compute concatenate conclude condense congratulate consider construct continue contrast convert "
    "copy correct count craft create criticise critique debug decide decode decompose deduce "
    "deduplicate define delete demonstrate derive describe detect determine develop devise diagnose "
    "discard distinguish divide do double draft draw drop edit elaborate elicit eliminate encode end "
    "enrich ensure enumerate estimate evaluate examine exchange exclude expand explain express extend "
    "extract fact-check figure fill filter find finish fix flag follow form format formulate forward "
    "gather generate give greet group guess handle highlight identify ignore illustrate imagine imitate "
    "improve include indicate infer insert interpret invent invert invite itemise itemize join judge "
    "justify keep label leave lemmatise let limit link list locate look lowercase make mark mask match "
    "measure mention merge mimic minimise modify move multiply name narrate negate normalise normalize "
    "note offer omit optimise optimize order organise organize outline output paint pair paraphrase parse "
    "perform pick pinpoint place point polish predict prepare present preserve print prioritise "
    "prioritize produce pronounce proofread propose provide pseudonymise pull punctuate put quote rank "
    "rate reason reassure recap recast recognize recommend reconstruct record redact reduce refactor "
    "refer refine reformulate refuse remember remove rename reorder reorganise repeat rephrase replace "
    "reply report reproduce rescue resolve respell respond restore retell return reverse revise rewrite "
    "romanise rotate round route say score segment select separate shorten show simplify sketch solve "
    "sort specify spell split spot standardise standardize start state stem strip substitute subtract "
    "suggest sum summarise summarize supply swap symbolise tabulate tag take tell thank think tidy "
    "tokenise tokenize trace transcribe transform translate transliterate treat triage trim truncate "
    "try turn underline unscramble update uppercase use verify visualise weigh wrap write"
)
NOUN_VERBS = (  # verbs that are as often nouns: "..., answer options and ..."
    r"(?:answer|label|list|name|number|point|rank|rate|reason|record|report|return|score|state|start|end|"
    r"form|"
    r"format|group|judge|change|check|count|link|mark|match|measure|order|output|place|present|sum|tag|"
    r"turn|use|"
    r"copy|correct|complete|double|limit|estimate|pick|quote|repeat|reply|reverse|separate|swap|divide|"
    r"note|do)\b"
)
READING_VERBS = _words("read consider look examine study view inspect watch listen")
NOT_VERBS = _set(
    "the a an this that these those there here it its he she they we i you your our my his her their each "
    "every all any some no none both either neither one two three many most several few such what which who "
    "whom whose when where why how if unless whether while although though because since as so but and or "
    "nor for from in into of off on onto out over to with without within by at about above after before "
    "below between during through under until upon is are was were be been being do does did has have had "
    "can could may might must shall should will would not never also then thus hence however therefore "
    "otherwise else given provided based using note only even just other another first second third next "
    "last finally once per via than like unlike despite except let's see sometimes often usually"
)
FOLLOWERS = (
    r"(?:the|an?|this|these|those|all|each|every|any|only|one|two|both|whether|if|it|them|its|your|which|"
    r"what|how|who|where|when|why|that|those|out|up|as|with|in|into|by|between|no|exactly|either|just|"
    r"at\s+(?:least|most))\b|[\"'“‘`\[<]"
)
FIRM_FOLLOWERS = (
    r"(?:the|an?|this|these|those|as|all|each|every|any|only|whether|if|it|them|its|your|which|what|how|"
    r"who|one|"
    r"out|into|exactly|where|when|another|yes|no|true|false|some|such|between|at|to)\b|[\"'“‘`\[\d]"
)
TASK_NOUNS = r"(?:task|job|goal|objective|aim|purpose|mission|role|responsibility|assignment|challenge)"
MODALS = (
    r"(?:(?:will\s+|would\s+|'ll\s+|also\s+|only\s+|just\s+)*(?:need|have|ought)\s+to|must|should|shall|"
    r"(?:are|'re|were)\s+(?:also\s+)?(?:expected|required|asked|supposed|requested|instructed|tasked|"
    r"encouraged|told|to\b(?!\s+be\s+given))(?:\s+to|\s+with)?|"
    r"(?:will|'ll)\s+be\s+(?:asked|required|expected|tasked)\s+(?:to|with)|"
    r"(?:will|'ll)(?!\s+(?:be|see|find|get|receive|read|hear|need|have|not)\b)|need(?=\s+not\b))"
)
YOU_MUST = rf"you\s*{MODALS}(?:\s+(?:also|then|only\s+need\s+to|first|now|always|try\s+to|please))?"
TASK_IS = (
    rf"(?:(?:your|the|our|this)\s+(?:\w+\s+){{0,2}}{TASK_NOUNS}|you)\s+(?:here\s+|now\s+)?(?:is|will\s+be|"
    rf"are)"
    r"(?:\s+simply|\s+just|\s+now|\s+then)?(?:,?\s+therefore,?)?\s*:?\s*\"?to\b"
)
TASK_FORM = (
    rf"(?:your|the|our|this)\s+(?:\w+\s+){{0,2}}{TASK_NOUNS}(?:\s+(?:is|"
    rf"will\s+be)(?:\s+about)?(?=\s+(?:{OPERATION_VERBS})\b)|"
    r"\s+(?:is|will\s+be)\s+about(?=\s+\w+ing\b)|"
    r"\s+(?:involves|requires\s+you\s+to|requires)(?=\s)|(?:\s+is)?\s+as\s+follows(?=\s*:)|(?=\s*:))"
)
ASKED = r"(?:we|i)\s+(?:(?:would\s+)?(?:ask|want|need|like|expect|require))\s+(?:you\s+to|that\s+you)(?=\s)"
POLITE = r"(?:please|kindly|can\s+you|could\s+you|would\s+you)(?:\s+(?:please|kindly))?"
WANTED = (
    r"(?:(?:wanted|needed|required|requested|looking\s+for|desired)\s*:|"
    r"would\s+you\s+(?:mind|be\s+so\s+(?:kind|good)\s+as\s+to)(?=\s)|(?:i\s+)?(?:would\s+)?ask\s+you\s+to)"
)
DEMAND_CARRIER = rf"(?:{TASK_IS}|{TASK_FORM}|{YOU_MUST}|{ASKED}|please\s)"
CARRIER = re.compile(
    rf"(?:(?:and|so|but|then|thus|hence|now|next|finally|also|therefore)\b,?\s*)*"
    rf"(?:{TASK_IS}|{TASK_FORM}|{YOU_MUST}|{ASKED}|{WANTED}|"
    rf"{POLITE}(?:\s+to(?=\s))?)(?:\s+{POLITE})?[\s,:]+(?=\S)",
    re.IGNORECASE,
)
OPENING = re.compile(
    r"(?:as\s+an?\s+(?:[\w-]+\s+){0,5}[\w-]+,\s+(?!you\b)|(?:in|for)\s+(?:this|the\s+following|"
    r"the\s+given|our)\s+(?:\w+\s+)?(?:task|problem|exercise|"
    r"assignment|question|challenge|job|activity|work|case)\b[,:]?\s*(?:where\s+)?|"
    r"(?:also|additionally|moreover|furthermore|then|next|finally|in\s+addition|specifically|"
    r"in\s+other\s+words|that\s+is|more\s+specifically|i\.e\.|and|but|so|here|now|first|lastly)\s*,\s*|"
    r"(?-i:And|But|So)\s+|(?:and|but|so|then)\s+(?=you\b|your\b|please\b|do\s+not\b|don't\b|make\s+sure))+",
    re.IGNORECASE,
)
ENUMERATION = re.compile(r"(?:[-*•]\s+|\(?(?:\d{1,2}|[a-zA-Z]|[ivx]{1,4})[.)]\s+)")
NOTE = re.compile(
    r"(?:please\s+)?(?:note|notice|remember|keep\s+in\s+mind|bear\s+in\s+mind|be\s+aware|recall)\s*"
    r"(?:also\s+)?(?:that\b|:|,)\s*|(?:important|note|hint|tip|nb|n\.b\.)\s*:\s*",
    re.IGNORECASE,
)
EXAMPLE_START = re.compile(
    r"(?:for\s+(?:example|instance)|as\s+an\s+example|e\.?g\.?|eg\b|ex\b|examples?(?:\s+(?:input|"
    r"output)s?)?\s*:|an?\s+example\b|"
    r"some\s+examples|let'?s\s+say|suppose\b|say\b,|in\s+the\s+example|as\s+opposed\s+to|consider\s+the\s+"
    r"(?:following\s+)?example|such\s+as|\w+\s*=\s)",
    re.IGNORECASE,
)
PERMISSION_START = re.compile(
    r"(?:you\s+(?:can|may|could|might|are\s+(?:also\s+)?(?:free|allowed|welcome))\b(?!\s*not|\s+only)|"
    r"feel\s+free|it\s+is\s+(?:ok|okay|fine|acceptable|allowed)\b|it's\s+(?:ok|okay|fine))",
    re.IGNORECASE,
)
PERMITTED_MEANS = re.compile(
    r"(?:you\s+(?:can|may|could)\s+(?:do|achieve|accomplish)\s+(?:so|this|it|that)\s+by|"
    r"(?:this|it)\s+can\s+be\s+(?:done|achieved|accomplished)\s+(?:by|if|through|when))\s+",
    re.IGNORECASE,
)
SAID_AGAIN = re.compile(r"(?:i\.?e\.?|that\s+is|in\s+other\s+words|namely)\b[.,:]*\s*", re.IGNORECASE)
HEADING = re.compile(r"[A-Z][\w-]*(?:\s[\w-]+){0,2}:\s+")
PASSED = (
    r"(?:given|provided|presented|shown|supplied|displayed|assigned|offered|faced|introduced|fed|told|asked)"
)
INPUT_START = re.compile(
    rf"(?:tables?\s+\w+\s*\(|you(?:'re|'ll|\s+are|\s+will|\s+were|\s+have|"
    rf"\s+would)?(?:\s+be(?:en)?)?(?:\s+also|"
    rf"\s+now)?\s+{PASSED}\b|"
    r"you(?:'ll|\s+will)?\s+(?:have|see|find|get|receive|read|hear)\s+|we\s+(?:give|provide|have|show|"
    r"present)|"
    r"you\s+have\s+(?:an?|the|two|three|some)\b|"
    r"(?:given|provided)\b(?!\s+answers?)|(?:below|here|following|above)\s+(?:is|are|you)\b|"
    r"(?:for|from)\s+(?:the|an?|each|every|this|these)\s+(?:given|provided|following|input)\b|"
    r"(?:(?:(?:the|each|every|this|all|an?|as|your)\s+)+(?:\w+\s+)?)?inputs?\b(?!\s*(?:and|or)\s+output)|"
    r"when\s+given\b|with\s+the\s+given\b|the\s+following\s+(?:is|are)\b|the\s+(?:task|dataset|data)\b)",
    re.IGNORECASE,
)
INPUT_PASSIVE = re.compile(
    rf"\b(?:is|are|will\s+be|has\s+been|have\s+been|be)\s+(?:also\s+)?{PASSED}\b(?!\s+as)", re.IGNORECASE
)
CONDITION = re.compile(
    r"(?:(?:and|but|or)\s+)?(?:if|when|whenever|in\s+case|in\s+the\s+case|unless|otherwise|else|once|"
    r"for\b(?!\s+(?:example|instance))|in\s+your|while|as\s+long\s+as|even\s+if|in\s+cases|only\s+if)\b",
    re.IGNORECASE,
)
BASIS = re.compile(r"(?:based\s+(?:up)?on|according\s+to|using|from|with\s+the\s+help)\b", re.IGNORECASE)
NEGATED = re.compile(r"(?:do\s+not|don'?t|never|not|no)\b", re.IGNORECASE)
ADVERB = r"(?:(?:\w+ly|then|also|just|always|only|first|instead|simply)\s+)?"
SURE_VERB = re.compile(
    rf"{ADVERB}(?:be\s+(?!\w+ed\b)\w|make\s+(?:sure|certain|as\b)|"
    rf"(?:{OPERATION_VERBS})\b(?!\s*[:=]|'s|"
    r"\s+(?:(?!wh|how\b|if\b|that\b|all\b)\w+\s+)?(?:is|are|was|must|should|can|may|will|has|have)\b|"
    r"\s+(?:options?|choices?)\b))",
    re.IGNORECASE,
)
FIRM_VERB = rf"{ADVERB}(?:{OPERATION_VERBS})\s+(?={FIRM_FOLLOWERS})|(?:do\s+not|don't|make\s+sure)\s"
GERUND = re.compile(
    rf"(?!using|given|being|following|during|according)\w+ing\s+(?={FOLLOWERS})", re.IGNORECASE
)
OUTPUT_SUBJECT = re.compile(
    r"(?:(?:the|your|this|all|each|every|any|an?|its|these)\s+)*(?:(?:final|generated|correct|resulting|"
    r"resultant|expected|new|produced|created|written|predicted|output|possible|desired|required|only|valid|"
    r"short|rewritten|converted|good|suitable)\s+)*"
    r"(?:outputs?|answers?|responses?|results?|repl(?:y|ies)|predictions?|labels?|class(?:es)?|"
    r"categor(?:y|ies))\b"
    r"(?!\s+(?:options?|choices?|candidates?))"
    r"|your\s|(?:the|an?|any)\s+(?:generated|final|rewritten|resulting|created|produced|written)\b",
    re.IGNORECASE,
)
FINITE = re.compile(
    r"\b(?:is|are|was|were|am|should|must|can|cannot|can't|could|may|might|will|would|shall|needs?|has|have|"
    r"do|does|did|ha[ds]|isn't|aren't|shouldn't|doesn't|don't|won't|(?:mean|refer|indicate|implie|imply|"
    r"describe|contain|consist|represent|hold|happen|include|denote|correspond|belong|range|introduce|"
    r"provide|express|talk|involve|mention|get|put|show|state|require|follow|come|appear|occur|seem|stand|"
    r"work|start|end|"
    r"exist|tell|take|give|use|make|separate|specify|summarize|support|contradict|become|refute|entail)s?)\b",
    re.IGNORECASE,
)
OBLIGATION = re.compile(
    r"\b(?:should|must|shouldn't|mustn't|ha(?:s|ve)\s+to|needs?\s+to|can\s*not|can't|(?:is|"
    r"are)\s+(?:required|"
    r"expected|supposed)\s+to|ought\s+to)\b",
    re.IGNORECASE,
)
STOP_WORDS = NOT_VERBS | _set(
    "input output given task following new correct provided original name names type types kind number count "
    "list set text good best single word words"
)
FINITE_AFTER_GERUND = re.compile(
    r"\b(?:may|might|can|is|are|will|would|helps?|means?|requires?)\b", re.IGNORECASE
)
EXEMPTION = re.compile(
    r"you\s+(?:do\s+not|don'?t|are\s+not|aren'?t|need\s*n[o']t|can\s*not|can'?t|may\s+not)\b|no\s+\w+",
    re.IGNORECASE,
)
LIST_OF_LABELS = re.compile(r"(?:here|below|the\s+following)\s+(?:is|are)\b", re.IGNORECASE)
READING_ORDER = re.compile(
    rf"(?:please\s+)?(?:(?:carefully|first|just)\s+)?(?:{READING_VERBS})\s+(?:(?:at|to|over|"
    rf"through)\s+)?(?:the|this|these|each|every|an?)"
    r"(?:\s+(?!(?:and|then|to|but|or)\b)[\w'’-]+){1,9}$",
    re.IGNORECASE,
)
PERSONA = re.compile(
    r"(?:you\s*(?:are|'re)\s+(?!to\b|given\b|asked\b)|(?:you\s+)?(?:work|act)\s+(?:as|at|for|in|on)\b|"
    r"imagine\s+(?:you|that\s+you)\b|"
    r"pretend\s+(?:to\s+be|you|that)\b|your\s+name\s+is\b|you\s+(?:work|act|know|speak|serve|help)\b)",
    re.IGNORECASE,
)
COURTESY = re.compile(
    r"(?:(?:many\s+)?thanks|thank\s+you|sorry|hello|hi|hey|dear|good\s+(?:morning|evening|day)|cheers|"
    r"greetings|welcome|(?:much|greatly)\s+appreciated|(?:please\s+)?bear\s+with)\b",
    re.IGNORECASE,
)
WISH_FOR = re.compile(
    r"(?:(?:and|so|now|here)\s+)*i(?:'d|'m|\s+(?:just|only|really|would|am))*\s+(?:need|want|like|"
    r"looking\s+for)\s+"
    r"(?!to\b|you\b|it\b)(?=\S)",
    re.IGNORECASE,
)
FORM_EXAMPLE = re.compile(
    r"(?:an?\s+)?examples?\s*:\s*(?=.{1,120}(?:->|→|=>|\bbecomes\b|\bturns\s+into\b))", re.IGNORECASE
)
DEFAULT = re.compile(
    r"(?:(?:a|an|any|all|every|the)\s+)?(?:missing|unknown|absent|empty|unclear|unstated)\s+\w+|"
    r"(?:all|each|every)\s+(?:values?|fields?|keys?|entries|items?|lines?)\b",
    re.IGNORECASE,
)
LABELS_ARE = re.compile(
    r"(?:the\s+)?(?:possible\s+|valid\s+|allowed\s+|permitted\s+)?(?:options|labels|choices|classes|"
    r"categories|"
    r"answers|values|tags)\s+(?:are|can\s+be|may\s+be|include)\s*:?\s*",
    re.IGNORECASE,
)
NAMED_BY_VERB = re.compile(
    rf"(?:{OPERATION_VERBS})-\w|{NOUN_VERBS}(?:,\s+(?!and\b|then\b|or\b|but\b)|"
    rf"\s+\w+s\s+(?:(?:from|in|of|by|for|on|at)\s+(?:(?:the|our|my|this|an?|their)\s+)?\w+\s+)?"
    rf"(?:often\s+|always\s+|usually\s+)?(?:arrive\b|{FINITE.pattern}))",
    re.IGNORECASE,
)
"""A noun that looks like a verb begins a statement: "Answer sheets are ...", "Mark, our boss, ..."."""

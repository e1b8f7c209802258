"""A response is told to be in its language, or in another where that is clear."""

import pytest

from kpig.errors import DataError
from kpig.tasks.constraints import languages, parse, satisfied


def test_a_language_without_the_detector_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("kpig.tasks.constraints.languages.is_installed", lambda: False)
    with pytest.raises(DataError, match=r"here: language: .* pip install 'kpig\[languages\]'"):
        parse({"type": "language", "language": "de"}, "here")


def test_every_language_of_the_detector_can_be_named_and_no_other():
    from lingua import Language

    codes = {one.name.capitalize(): one.iso_code_639_1.name.lower() for one in Language.all()}
    assert codes.items() <= languages.CODES.items()
    assert set(languages.CODES.values()) == {*codes.values(), "no"}


SENTENCES = {
    "en": "She walked to the market early in the morning and bought fresh bread.",
    "de": "Sie ging früh am Morgen zum Markt und kaufte frisches Brot.",
    "fr": "Elle est allée au marché tôt le matin et a acheté du pain frais.",
    "es": "Fue al mercado temprano por la mañana y compró pan fresco.",
    "it": "È andata al mercato la mattina presto e ha comprato del pane fresco.",
    "nl": "Ze ging vroeg in de ochtend naar de markt en kocht vers brood.",
    "pl": "Poszła wcześnie rano na targ i kupiła świeży chleb.",
    "ru": "Она рано утром пошла на рынок и купила свежий хлеб.",
    "uk": "Вона рано вранці пішла на ринок і купила свіжий хліб.",
    "tr": "Sabah erkenden pazara gitti ve taze ekmek aldı.",
    "fi": "Hän meni aikaisin aamulla torille ja osti tuoretta leipää.",
    "ja": "彼女は朝早く市場へ行って焼きたてのパンを買いました。",
    "zh": "她一大早去市场买了新鲜的面包。",
    "ko": "그녀는 아침 일찍 시장에 가서 신선한 빵을 샀다.",
    "ar": "ذهبت إلى السوق في الصباح الباكر واشترت خبزا طازجا.",
}


@pytest.mark.parametrize("stated", SENTENCES)
def test_a_sentence_is_in_its_language_and_in_no_other(stated):
    constraint = parse({"type": "language", "language": stated}, "here")
    assert [code for code, text in SENTENCES.items() if satisfied(constraint, "", text)] == [stated]


SHORT = {
    "es": [
        "El gato duerme en la cama.",
        "Buenos días a todos.",
        "Introduce {amount} euros, por favor.",
        "Gracias por su pedido.",
        "Llueve desde el lunes.",
    ],
    "fr": [
        "Le chat dort sur le lit.",
        "Bonjour à tous.",
        "Où est la gare ?",
        "Merci pour votre commande.",
        "Il pleut depuis lundi.",
    ],
    "de": [
        "Die Katze schläft auf dem Bett.",
        "Wo ist die nächste Apotheke?",
        "Ein Nachbar hat Toms Schlüssel im Garten gefunden.",
        "Vielen Dank für Ihre Bestellung.",
        "Es regnet seit Montag.",
    ],
    "it": [
        "Il gatto dorme sul letto.",
        "Dov'è la stazione?",
        "Grazie per il suo ordine.",
        "Piove da lunedì.",
    ],
    "pt": [
        "O gato dorme na cama.",
        "Onde fica a estação?",
        "Obrigado pela sua encomenda.",
        "Chove desde segunda-feira.",
    ],
    "nl": ["De kat slaapt op het bed.", "Waar is het station?", "Bedankt voor uw bestelling."],
    "da": ["Katten sover på sengen."],
    "fi": ["Kissa nukkuu sängyllä."],
    "pl": ["Kot śpi na łóżku.", "Gdzie jest dworzec?"],
    "en": [
        "The cat sleeps on the bed.",
        "Yes, of course.",
        "Thank you very much.",
        "The answer is no.",
        "I do not know.",
        "Thanks for your order.",
        "The minister will pay half of the ring road, so work may start in spring.",
        "It has rained since Monday.",
    ],
    "sv": ["Katten sover i sängen.", "Tack för din beställning."],
    "hu": ["A macska az ágyon alszik."],
    "cs": ["Kočka spí na posteli."],
    "ru": ["Кошка спит на кровати.", "Дождь идёт с понедельника."],
    "nb": ["Takk for bestillingen."],
    "tr": ["Sipariş için teşekkürler."],
    "uk": ["Дощ іде з понеділка."],
    "el": ["Πού είναι ο σταθμός;"],
}


def test_no_short_sentence_is_refused_in_its_own_language_and_nine_of_ten_are_in_another():
    judged = [
        (stated == code, languages.is_in(text, stated))
        for code, texts in SHORT.items()
        for text in texts
        for stated in SHORT
    ]
    own = [verdict for is_own, verdict in judged if is_own]
    others = [verdict for is_own, verdict in judged if not is_own]
    assert all(own) and len(own) == 48
    assert others.count(False) > 0.9 * len(others)


@pytest.mark.parametrize("text", ["", "42", "Paris", "OK", "3 + 4 = 7", "😀"])
def test_what_no_detector_can_tell_is_in_every_language(text):
    assert languages.is_in(text, "pt") and languages.is_in(text, "fr")

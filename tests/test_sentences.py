"""Sentences are counted in any script, and abbreviations, numbers and quotes end none."""

import pytest

from kpig.tasks.constraints.sentences import num_sentences

COUNTED = {
    0: ["", "...", " \n "],
    1: [
        "no mark here",
        "42.",
        "At 5 p.m. we start.",
        "See Fig. 2 and No. 5 for more.",
        "Apple Inc. CEO Tim Cook spoke.",
        "彼は「行く。」と言った。",
        "Visit kpig.org or v2.0 today.",
        "“Why?” she asked.",
    ],
    2: [
        "Hello there. How are you?",
        "Dr. Smith met Mr. J. K. Brown. They talked.",
        "I live in the U.S. now. It is nice.",
        "He lives in the U.S. She does not.",
        "The meeting is at 5 p.m. Bring tea.",
        "“Stop!” he said. Then he left.",
        'He said "I am here." Then he left.',
        "今日は晴れです。明日は雨です。",
        "यह एक है। वह दो है।",
        "كيف حالك؟ أنا بخير.",
        "1. Buy milk.\n2. Call Ann.",
        "1. Buy milk. 2. Call Ann.",
        "A wrapped line\ngoes on here. Done.",
        "Am 3. Mai kam er. Er ging.",
        "Ich mag z. B. Tee. Du auch?",
        "The food was bad . the staff was rude .",
        "i like it. it is good.",
        "**Bold claim.** Next one.",
        "¿Qué tal? ¡Bien!",
        "I am 30. You are 20.",
        "Wait... what? No way!",
    ],
    3: [
        "我喜欢你。你呢？很好！",
        "- buy milk\n- call Ann\n- sleep",
        "A title\n\nOne. Two.",
    ],
}


@pytest.mark.parametrize(
    ("count", "text"), [(count, one) for count, texts in COUNTED.items() for one in texts]
)
def test_sentences_are_counted(count, text):
    assert num_sentences(text) == (count, count)


def test_thai_leaves_the_number_open_between_its_marks_and_its_spaces():
    assert num_sentences("ฉันชอบแมว เธอชอบหมา ok") == (1, 2)

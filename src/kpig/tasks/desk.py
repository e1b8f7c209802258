"""Four months of a support desk's tasks, as the chat files that a team would have.

Two tasks a month, a hundred examples each, from words of our own and one seed: the same files every time.
The system prompt says what to do, the user's turn is the customer's message, the assistant's the answer.
Unlike in the suite, messages of different tasks look different: a model can guess what is asked.
"""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from kpig.files import publish

NUM_EXAMPLES = 100
NUM_TEST = 20

ITEMS = (
    "kettle",
    "desk lamp",
    "backpack",
    "tent",
    "blender",
    "keyboard",
    "scarf",
    "yoga mat",
    "teapot",
    "drill",
)
NAMES = ("Ada", "Bruno", "Chen", "Dalia", "Emre", "Freja", "Goran", "Hana", "Ines", "Jonas")
CITIES = ("Bergen", "Porto", "Lyon", "Graz", "Turku", "Ghent", "Brno", "Cork", "Gdansk", "Malmo")
COLOURS = ("red", "blue", "green", "black", "white")

TROUBLES = {
    "billing": (
        "I was charged twice for the {item}.",
        "The invoice for my {item} shows the wrong amount.",
        "My refund for the {item} has not reached my bank.",
        "Why is there a fee of {number} euros on my bill?",
    ),
    "shipping": (
        "The {item} has not arrived in {city} yet.",
        "The parcel with my {item} is stuck in {city}.",
        "Can you send the {item} to {city} instead?",
        "The courier left my {item} in the rain in {city}.",
    ),
    "account": (
        "I cannot log in since {number} days.",
        "Please change my name to {name} in my profile.",
        "I forgot the password of my shop account.",
        "Somebody in {city} has used my account.",
    ),
}
HURRY = (
    "I need it today!",
    "This is an emergency.",
    "Please help right now.",
    "My flight leaves in {number} hours.",
)
CALM = ("There is no hurry.", "Whenever you have time.", "Thank you in advance.", "Just so that you know.")

Row = tuple[str, str]
"""What the customer writes, and the answer."""


def words(chance: random.Random) -> dict[str, object]:
    """One of each, for the places in a sentence."""
    return {
        "item": chance.choice(ITEMS),
        "name": chance.choice(NAMES),
        "city": chance.choice(CITIES),
        "number": chance.randint(2, 40),
    }


def trouble(chance: random.Random) -> tuple[str, str, dict[str, object]]:
    """A complaint, the team that it is for, and the words that were put into it."""
    team = chance.choice(list(TROUBLES))
    used = words(chance)
    return chance.choice(TROUBLES[team]).format(**used), team, used


def route(chance: random.Random) -> Row:
    text, team, _ = trouble(chance)
    return f"{chance.choice(NAMES)} writes: {text}", team


def urgency(chance: random.Random) -> Row:
    text, _, used = trouble(chance)
    urgent = chance.random() < 0.5
    return f"{text} {chance.choice(HURRY if urgent else CALM).format(**used)}", "yes" if urgent else "no"


def order(chance: random.Random) -> Row:
    item, colour, count = chance.choice(ITEMS), chance.choice(COLOURS), chance.randint(1, 9)
    asked = chance.choice(("I would like {} {} {}.", "Please send me {} {} {}.", "We need {} {} {}."))
    plural = item if count == 1 else f"{item}s"
    answer = json.dumps({"item": item, "colour": colour, "count": count}, allow_nan=False)
    return asked.format(count, colour, plural), answer


def reply(chance: random.Random) -> Row:
    text, team, _ = trouble(chance)
    name = chance.choice(NAMES)
    return f"{text} {name}", f"Dear {name}, thank you. Our {team} team will answer you today."


def customer(chance: random.Random) -> Row:
    used = words(chance)
    text = chance.choice(
        ("This is {name} from {city}.", "{name} here, I live in {city}.", "My name is {name}, {city}.")
    )
    return f"{text.format(**used)} {trouble(chance)[0]}", str(used["name"])


def headline(chance: random.Random) -> Row:
    text, team, used = trouble(chance)
    return f"{text} {chance.choice(CALM)}", f"{team.upper()}: {str(used['item']).upper()}"


def days(chance: random.Random) -> Row:
    first, more = chance.randint(1, 15), chance.randint(2, 12)
    return f"I ordered the {chance.choice(ITEMS)} on May {first} and it came on May {first + more}.", str(
        more
    )


def politeness(chance: random.Random) -> Row:
    text, _, _ = trouble(chance)
    polite = chance.random() < 0.5
    before = chance.choice(
        ("Could you please help? ", "Good morning. ") if polite else ("You are useless. ", "Again! ")
    )
    return f"{before}{text}", "polite" if polite else "rude"


MONTHS: dict[int, dict[str, tuple[str, Callable[[random.Random], Row]]]] = {
    1: {
        "route": ("Route the customer's message. Answer with one of: billing, shipping, account.", route),
        "urgency": ("Is the message urgent? Answer yes or no.", urgency),
    },
    2: {
        "order": ("Extract the order as JSON with the keys item, colour and count.", order),
        "reply": ("Write a reply to the customer in at most 20 words. Begin with 'Dear'.", reply),
    },
    3: {
        "customer": ("Name the customer who wrote the message. Answer with one word.", customer),
        "headline": ("Write a headline for the ticket in capital letters.", headline),
    },
    4: {
        "days": ("How many days did the delivery take? Answer with a number only.", days),
        "tone": ("Classify the tone of the message: polite or rude.", politeness),
    },
}


def rows(
    month: int, task: str, system: str, make: Callable[[random.Random], Row]
) -> Iterator[dict[str, object]]:
    """A task's examples, no message twice; the last ones are for testing."""
    chance, seen = random.Random(f"support desk, {task}"), set[str]()
    while len(seen) < NUM_EXAMPLES:
        message, answer = make(chance)
        if message in seen:
            continue
        seen.add(message)
        said = (("system", system), ("user", message), ("assistant", answer))
        turns = [{"role": role, "content": text} for role, text in said]
        split = "test" if len(seen) > NUM_EXAMPLES - NUM_TEST else "train"
        yield {"step": month, "task": task, "split": split, "messages": turns}


def write(folder: Path) -> None:
    """Write month-1.jsonl to month-4.jsonl into a folder, which is made where it is not there.

    Raises RunError where the files cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for month, tasks in MONTHS.items():
        lines = [
            json.dumps(row, allow_nan=False)
            for task, (system, make) in tasks.items()
            for row in rows(month, task, system, make)
        ]
        publish(folder / f"month-{month}.jsonl", "\n".join(lines) + "\n")

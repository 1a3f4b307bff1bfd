"""Words for sample data: invented people, places and projects of an Australian community, and stories of any size."""

from __future__ import annotations

import base64
import re
import unicodedata
from random import Random

WORKSPACES = ("Placemat Commons", "River Country Stories", "Harbour Street Collective", "Red Dirt Radio")
GIVEN_NAMES = (
    "Aisha", "Amelia", "Anh", "Arjun", "Bridie", "Callum", "Carmel", "Chiara", "Daniel", "Deng", "Eleni", "Esther",
    "Fatima", "Finn", "Grace", "Hamish", "Hana", "Imogen", "Isaac", "Jarrah", "Joana", "José", "Kirra", "Leilani",
    "Liam", "Linh", "Mabel", "Mele", "Minh", "Nadia", "Noah", "Nyibol", "Oscar", "Priya", "Renée", "Rosa", "Ruth",
    "Sefina", "Sione", "Tāne", "Tomasz", "Una", "Violet", "Wei", "Yasmin", "Zoë",
)  # fmt: skip
FAMILY_NAMES = (
    "Ashgrove", "Bellweather", "Brightwater", "Castellano", "Chau-Merrin", "D'Almeida", "Dunmarra", "Everglade",
    "Fairweather", "Garlock", "Hartigan-Lo", "Ironside", "Jessamine", "Kallista", "Lindqvist", "Marrable",
    "Nguyễn-Hall", "O'Farrelly", "Papadelis", "Quillam", "Rosewarne", "Saltbush", "Tuilagi-Reed", "Underhill",
    "Vanstone", "Wattleton", "Yallambee", "Zieliński",
)  # fmt: skip
BACKGROUNDS = (
    "First Nations", "Torres Strait Islander", "Pasifika", "Māori", "Greek Australian", "Italian Australian",
    "Vietnamese Australian", "South Sudanese Australian", "Indian Australian", "Lebanese Australian",
    "Irish Australian", None,
)  # fmt: skip
PLACES = (
    "Banksia Flat", "Bluegum Landing", "Brolga Creek", "Coolamon Ridge", "Curlew Bay", "Ghostgum Crossing",
    "Heron Point", "Ironbark Junction", "Kingfisher Bend", "Lilly Pilly Hill", "Mulga Downs", "Paperbark Swamp",
    "Quandong Vale", "Saltpan Road", "Spinifex Plain", "Wattle Creek",
)  # fmt: skip
REGIONS = ("Northern Rivers", "Far North", "Outback", "Coast", "Tablelands", "Inner city")
AREAS = ("Youth justice", "Housing", "Health", "Country and climate", "Arts", "Food", "Elders", "Learning")
UNDERTAKINGS = (
    "Kitchen",
    "Garden",
    "Radio",
    "Archive",
    "Workshop",
    "Yarning Circle",
    "Choir",
    "Bike Shed",
    "Clinic",
    "Bus",
)
THEMES = (
    "belonging",
    "country",
    "family",
    "healing",
    "justice",
    "language",
    "migration",
    "music",
    "resilience",
    "work",
)
FUNDERS = ("Community Foundation", "Regional Fund", "Arts Board", "Trust", "Council", "Co-operative", "Health Service")
LANGUAGES = ("English", "Auslan", "Ελληνικά", "Tiếng Việt", "te reo Māori")
ROLES = ("lead", "partner", "volunteer")
MEDIA_KINDS = (("image", "jpg"), ("image", "png"), ("audio", "mp3"), ("video", "mp4"), ("document", "pdf"))
CLAUSES = (
    "we used to walk down to the river before anyone else was up",
    "my grandmother kept every letter in a biscuit tin",
    "the first winter here was colder than any of us had packed for",
    "nobody asked us what we needed until that afternoon",
    "the kids painted the wall in three days – and half the street came to look",
    "you learn the words again, slowly, one song at a time",
    "there was always another place at the table",
    "when the flood came the hall was the only dry floor in town",
    "he said “you'll be right”, and for once we were",
    "we planted the first row in the rain",
    "I still have the bus ticket",
    "that was the year the café stayed open",
)


def slug(words: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")


def full_name(rng: Random) -> str:
    return f"{rng.choice(GIVEN_NAMES)} {rng.choice(FAMILY_NAMES)}"


def sentence(rng: Random) -> str:
    text = ", and ".join(rng.sample(CLAUSES, rng.randint(1, 2)))
    return f"{text[0].upper()}{text[1:]}."


def paragraph(rng: Random) -> str:
    return " ".join(sentence(rng) for _ in range(rng.randint(2, 5)))


def title(rng: Random) -> str:
    forms = (
        "{} at {}",
        "What {} taught me about {}",
        "“{}” – a yarn from {}",
        "{}; or, the long way to {}",
    )
    return rng.choice(forms).format(rng.choice(THEMES).capitalize(), rng.choice(PLACES))


def story(rng: Random, length: int) -> str:
    """A story of at least that many characters; above 2,000 its transcript marks keep it from being compressed away."""
    parts: list[str] = []
    written = 0
    while written < length:
        part = paragraph(rng) if length < 2_000 or rng.random() < 0.1 else transcript_line(rng)
        parts.append(part)
        written += len(part) + 1
    return "\n".join(parts)


def transcript_line(rng: Random) -> str:
    checksum = base64.b64encode(rng.randbytes(90)).decode()
    return f"[{rng.randrange(3):02}:{rng.randrange(60):02}:{rng.randrange(60):02}] {rng.choice(CLAUSES)} ({checksum})"

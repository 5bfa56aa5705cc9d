"""Results of Transformers' Whisper text normalizers for sentences, and jiwer's error rates.

The table of spellings is Graft's (libs/peft-core/src/tasks/text-metrics/english-spellings.ts).
"""

import json
import pathlib
import re

import jiwer
from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

ROOT = pathlib.Path(__file__).resolve().parents[3]
SENTENCES = [
    "",
    "  Hello,   World! ",
    "Mr. O'Neill won't go; he's been to St. Mary's & he'd gone, y'all!",
    "I'm gonna say they'd've done it, can't you? Let's see: it ain't so.",
    "Um, hmm [laughs] (inaudible) <noise> the colour of the grey centre was honoured uh-huh.",
    "The flavour, the theatre and the aeroplane: analyse, travelled, cheque, programme.",
    "He paid twenty five dollars and seven cents for three hundred and two apples.",
    "two million five hundred thousand three hundred and twelve point five percent",
    "one oh one, double oh seven, triple five, nineteen eighty four, twenty twenty",
    "in the nineteen sixties, the twenty first of May, the third and the fifths, zeroth, eleventh, sixes",
    "minus five degrees, plus two, negative, positive thoughts, minus",
    "2 and a half million, three and a half, and a half, hundred and a half",
    "$2 and ¢7, €0.50, £3 and cents, $20 million, 20 dollars, 5 per cent, 6 percent, per day 7 per hour",
    "1 ones 1s 11 1st 2nd 3 rd 4 th 1960s, 10th, a1b2c3, 3,000,000 and 1,5",
    "192.168.0.1 is point one point, 3.14159, .5, 7. end. e.g. this",
    "one hundred thousands, two thousandth, five hundreds, seventieth, sixty ninth, forties fifty five fifths",
    "Crème brûlée à la carte, Øresund, straße, ŁÓDŹ, þorn, Æsop, naïve café.",
    "ｆｕｌｌ ｗｉｄｔｈ １２３, ①②, ½ and ²",
    "Привет, мир! Как дела (хорошо)? Ёлка",
    "こんにちは、世界！ 「テスト」です。 東京は、人口1,400万人。",
    "مرحبا بالعالم! كيف حالك؟",
    "नमस्ते, दुनिया! क्या हाल है?",
    "zero zero seven, o five, oh, zero point zero one, point five, five point, double trouble, triple",
    "and one and two hundred and three thousand and four million and",
    "one two three four five six seven eight nine ten eleven twelve thirteen",
    "thirty one forty two fifty three one hundred twenty three four hundred fifty six thousand",
    "a trillion quadrillion quintillion decillion, ten decillion",
    "2.5 thousand, 2.5555 hundred, 1.5 million and 0.1 hundred, zero hundred zero thousand",
    "dr prof gen sen rep hon lt col jr sr esq capt gov pres rev asst assoc ald mrs",
    "rock 'n' roll, the dogs' bones, ' quoted ', it 's o 'clock",
    "50% of $100 is $50.00, 3% 4 %, % alone, a$b $x 5€ €5 ¢",
    "She's got 99 problems -- but they're fine… “quotes” ‘single’ — dash – en-dash",
    "line one\nline two\ttab\u00a0nbsp\u2003em\u3000wide",
    "I have twenty one hundred and one nights, fifteen hundred, nineteen oh five, twenty o five",
    "five six hundred, sixty six six, eighty eighth, ninetieth second, second",
    "dollars five, cents, pound for pound, one pound, two pounds fifty, 3 euros 20 cents",
]
PAIRS = [
    ("the cat sat on the mat", "the cat sat on the mat"),
    ("the cat sit on mat", "the cat sat on the mat"),
    ("", "nothing was heard"),
    ("a b c d e f", "x b d"),
    ("naïve café", "naive cafe"),
    ("kitten", "sitting"),
    ("so many words were said that nobody wanted", "few"),
]


def write_transcripts() -> None:
    table = (ROOT / "libs/peft-core/src/tasks/text-metrics/english-spellings.ts").read_text()
    spellings = dict(pair.split("=") for pair in re.search(r"`(.*)`", table, re.S)[1].split())
    english, basic = EnglishTextNormalizer(spellings), BasicTextNormalizer()
    texts = [{"text": text, "english": english(text), "basic": basic(text)} for text in SENTENCES]
    rates = [
        {"said": said, "wanted": wanted, "wer": jiwer.wer(wanted, said), "cer": jiwer.cer(wanted, said)}
        for said, wanted in PAIRS
    ]
    path = ROOT / "test/golden/transcripts.json"
    path.write_text(json.dumps({"texts": texts, "rates": rates}, indent=1, ensure_ascii=False) + "\n")


FILES = {"transcripts": write_transcripts}

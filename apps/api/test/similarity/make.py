"""Writes golden.json: scores of text pairs from the original libraries, for graders/similarity.spec.ts.

    pip install nltk==3.10.4 rouge-score==0.1.2 sacrebleu==2.6.0 rapidfuzz==3.14.6
    python make.py
"""

import json
import pathlib

from nltk.stem.porter import PorterStemmer
from nltk.translate.gleu_score import sentence_gleu
from nltk.translate.meteor_score import single_meteor_score
from rapidfuzz import fuzz
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a


class NoSynonyms:
    """Replaces WordNet, so that METEOR's third stage finds nothing."""

    def synsets(self, word):
        return []


PAIRS = [
    ("the cat sat on the mat", "the cat sat on the mat"),
    ("the cat sat on the mat", "a cat was sitting on the mats, purring"),
    ("It is a guide to action which ensures that the military always obeys the commands of the party.",
     "It is a guide to action that ensures that the military will forever heed Party commands."),
    ("12,000.5 dollars were paid in 2019-2020; that's 3.5% more.",
     "In 2019-2020, 12,000.50 dollars (3.5% more) were paid."),
    ("the the the the the the the", "the cat is on the mat"),
    ("The relational operators were generalizing hopefully, archaeologically speaking.",
     "the relation operator generalized hopefulness; archaeology speaks"),
    ("yes", "yes"),
    ("yes", "no"),
    ("yes", "Yes."),
    ("", "something"),
    ("something", ""),
    ("", ""),
    ("b a", "a b"),
    ("b a d c f e a b c", "a b c d e f a b"),
    ("Grüße aus Köln, 東京 und Zürich 😀!", "Viele Grüße aus Köln, 東京 und Zurich 😀 😀"),
    ("line one\nline two &amp; &quot;three&quot; co-\noperation", "line one line two & \"three\" cooperation"),
    ("f(x) = {x^2 | x > 0} [~1e-3] a/b c\\d <skipped> e@f.g", "f(x) = x^2 for x > 0, ~1e-3, a/b or e@f.g"),
    ("one two three four five six seven eight nine ten " * 8, "ten nine eight two three four five six " * 9),
]

WORDS = """
caresses ponies ties cats flies dies feed agreed plastered bled motoring sing conflated troubled sized hopping tanned
falling hissing fizzed failing filing happy sky enjoy spy spied died fly try relational conditional rational valency
hesitancy digitizer conformably radically differently vilely analogously vietnamization predication operator feudalism
decisiveness hopefulness callousness formality sensitivity sensibility triplicate formative formalize electricity
electrical hopeful goodness revival allowance inference airliner gyroscopic adjustable defensible irritant replacement
adjustment dependent adoption homologous communism activate angularity effective bowdlerize probate rate cease control
controlling roll rolls geology theology archaeology hopefully carefully totally really is as a by oed aed used owed
sitting mats purring yyyy syzygy toy being dying lying tying news innings skies exceed howe bli ousli ies eed ing ion
""".split()


def scores(text, reference):
    tokens = Tokenizer13a()
    a, b = tokens(text).split(), tokens(reference).split()
    kinds = [f"rouge{n}" for n in range(1, 6)] + ["rougeL"]
    rouge = RougeScorer(kinds, use_stemmer=False).score(reference, text)
    return {
        "fuzzy_match": fuzz.ratio(text, reference) / 100,
        "bleu": BLEU(effective_order=True).sentence_score(text, [reference]).score / 100,
        "gleu": sentence_gleu([b], a),
        "meteor": single_meteor_score(b, a, wordnet=NoSynonyms()),
        **{f"rouge_{kind[5:].lower()}": rouge[kind].fmeasure for kind in kinds},
    }


golden = {
    "pairs": [{"text": t, "reference": r, "scores": scores(t, r)} for t, r in PAIRS],
    "stems": {word: PorterStemmer().stem(word) for word in WORDS},
}
path = pathlib.Path(__file__).with_name("golden.json")
path.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")

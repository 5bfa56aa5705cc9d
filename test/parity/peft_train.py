"""Trains an adapter with the real PEFT, to compare with Graft or to load in Graft.

    python3 test/parity/peft_train.py --base DIR --config adapter_config.json --batches batches.json --out DIR

batches.json: a list of batches of {tokens, labels} (labels unshifted, -100 where unsupervised). Steps cycle through
them. --settings: JSON that overrides the settings of the golden trajectories (steps, learning_rate, ..., measure.py).
--init-adapter: a folder with adapter_model.safetensors to start from. --initial: instead, a safetensors file with
PEFT's names in memory, which also contains the encoders of P-tuning and prefix projection. With neither, PEFT
initializes the adapter under --seed. Without --config, all parameters of the base train.

Writes the trained adapter (or the whole model) to --out, and initial.safetensors and final.safetensors with names in
memory. Prints one JSON line {losses, grad_norms, learning_rates}. With --dtype bf16, the base is in bf16 and the
adapter in f32, PEFT's default.
"""

import argparse
import json
import pathlib

from loading import DTYPES, check_keys, load_base

import measure
import torch
from peft import PeftConfig, get_peft_model, set_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from safetensors.torch import load_file, save_file


def read_config(path: pathlib.Path) -> PeftConfig:
    fields = json.loads(path.read_text())
    kind = PEFT_TYPE_TO_CONFIG_MAPPING[fields["peft_type"]]
    config = kind.from_peft_type(**fields)
    # A saved config has inference_mode, which would freeze the adapter.
    config.inference_mode = False
    return config


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--config", type=pathlib.Path)
    parser.add_argument("--batches", type=pathlib.Path, required=True)
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--init-adapter", type=pathlib.Path)
    parser.add_argument("--initial", type=pathlib.Path)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    model = load_base(options.base, DTYPES[options.dtype])
    if options.config is not None:
        model = get_peft_model(model, read_config(options.config))
    if options.init_adapter is not None:
        set_peft_model_state_dict(model, load_file(options.init_adapter / "adapter_model.safetensors"))
        check_keys(model, options.init_adapter)
    if options.initial is not None:
        measure.restore(model, load_file(options.initial))
    model.train()

    options.out.mkdir(parents=True, exist_ok=True)
    save_file(measure.copies(model), options.out / "initial.safetensors")
    history = measure.train(model, json.loads(options.batches.read_text()), {**measure.TRAINING, **options.settings})
    save_file(measure.copies(model), options.out / "final.safetensors")
    model.save_pretrained(options.out)
    print(json.dumps(history))


main()

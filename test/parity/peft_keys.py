"""Loads adapters with the real PEFT and prints how their tensors differ from those that PEFT expects.

    echo '[{"base": DIR, "dir": DIR, "models": "ForImageClassification"}]' | python3 test/parity/peft_keys.py

`models` is the suffix of the AutoModel class; "" is AutoModel. Prints a JSON list: for each adapter "" or the problem.
"""

import json
import pathlib
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))

from environment import enter

enter()

import transformers
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file


def problem(case: dict) -> str:
    folder = pathlib.Path(case["dir"])
    has_labels = (folder / "config.json").exists()
    config = transformers.AutoConfig.from_pretrained(folder if has_labels else case["base"])
    kind = getattr(transformers, f"AutoModel{case['models']}")
    base = kind.from_pretrained(case["base"], config=config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = PeftModel.from_pretrained(base, folder)
        except Exception as error:
            return repr(error)
    warned = [str(each.message) for each in caught if "adapter keys" in str(each.message)]
    stored = load_file(folder / "adapter_model.safetensors").keys()
    wanted = get_peft_model_state_dict(model).keys()
    unlike = [sorted(stored - wanted), sorted(wanted - stored), warned]
    return "" if not any(unlike) else f"unexpected: {unlike[0]}; missing: {unlike[1]}; warned: {warned}"


print(json.dumps([problem(case) for case in json.load(sys.stdin)]))

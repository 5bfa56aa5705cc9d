"""DINOv2 in Transformers and PEFT, on photographs.

Reads {"bases", "photographs", "crops", "adapter", "steps", "rate"} from stdin. `bases` are folders with the same
weights and different processors. Writes eight crops of the photographs to `crops`, and an initial LoRA with a head for
two labels to `adapter`. For each base, prints the normalized embeddings of the photographs (of the class token, and
the mean of all rows), the losses of `steps` AdamW steps over the crops, four per step, and then the logits of all
crops.
"""

import json
import pathlib
import sys

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, Dinov2Model
from transformers.image_utils import load_image

asked = json.load(sys.stdin)
torch.set_num_threads(2)
torch.manual_seed(0)


def vectors(folder: str) -> dict[str, list]:
    model, processor = Dinov2Model.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    found = {"cls": [], "mean": []}
    for path in asked["photographs"]:
        with torch.no_grad():
            hidden = model(**processor(load_image(path), return_tensors="pt")).last_hidden_state[0]
        for mode, vector in (("cls", hidden[0]), ("mean", hidden.mean(0))):
            found[mode].append(torch.nn.functional.normalize(vector, dim=0).tolist())
    return found


def pieces() -> list[pathlib.Path]:
    """Four crops of each photograph, alternating between photographs."""
    paths = []
    for place in range(4):
        for label, path in enumerate(asked["photographs"]):
            left, top = 90 * place, 60 * place
            found = pathlib.Path(asked["crops"], f"{len(paths)}-{label}.png")
            Image.open(path).crop((left, top, left + 260, top + 230)).save(found)
            paths.append(found)
    return paths


def steps(folder: str, paths: list[pathlib.Path]) -> dict[str, list]:
    processor = AutoImageProcessor.from_pretrained(folder)
    model = AutoModelForImageClassification.from_pretrained(folder, num_labels=2)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
    model = get_peft_model(model, config).train()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    model.save_pretrained(asked["adapter"])
    values = processor([load_image(str(path)) for path in paths], return_tensors="pt").pixel_values
    labels = torch.arange(len(paths)) % 2
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=asked["rate"], weight_decay=0.0)
    losses = []
    for step in range(asked["steps"]):
        some = slice(4 * (step % 2), 4 * (step % 2) + 4)
        loss = model(pixel_values=values[some], labels=labels[some]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    with torch.no_grad():
        return {"losses": losses, "logits": model.eval()(pixel_values=values).logits.tolist()}


found = {"vectors": [vectors(folder) for folder in asked["bases"]]}
print(json.dumps(found | steps(asked["bases"][0], pieces())))

"""Label probabilities of images in Transformers and PEFT.

Reads `{"base", "adapter", "pictures"}` from stdin. Prints the probabilities of each image by label.
"""

import json
import sys

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification
from transformers.image_utils import load_image

asked = json.load(sys.stdin)
config = AutoConfig.from_pretrained(asked["adapter"])
model = AutoModelForImageClassification.from_pretrained(asked["base"], config=config, dtype=torch.float32)
model = PeftModel.from_pretrained(model, asked["adapter"]).eval()
processor = AutoImageProcessor.from_pretrained(asked["base"])
answers = []
for path in asked["pictures"]:
    with torch.no_grad():
        logits = model(**processor(load_image(path), return_tensors="pt")).logits[0]
    probabilities = logits.softmax(-1).tolist()
    answers.append({config.id2label[i]: value for i, value in enumerate(probabilities)})
print(json.dumps(answers))

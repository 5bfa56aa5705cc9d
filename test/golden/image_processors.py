"""Outputs of Transformers' image processors for small synthetic images: `python test/golden/image_processors.py`.

Writes test/golden/image-processors/: the images, and pixels.json.gz with the results of load_image and of the default
processors, which use torchvision. The uint8 pixels after resizing and cropping are stored completely, f32 values as
their sums and samples.
"""

from environment import enter

enter()

import gzip
import hashlib
import json
import pathlib

import numpy as np
import torch
from PIL import Image
from transformers import BitImageProcessor, DeiTImageProcessor, SiglipImageProcessor, ViTImageProcessor
from transformers.image_utils import load_image

HERE = pathlib.Path(__file__).parent / "image-processors"
HERE.mkdir(exist_ok=True)
rng = np.random.default_rng(0)


def picture(height, width):
    y, x = np.mgrid[:height, :width]
    waves = np.stack([128 + 90 * np.sin(x / 5 + y / 9), 128 + 80 * np.cos(x / 7 - y / 4), x * 255 / width], -1)
    return (waves + rng.normal(0, 6, waves.shape)).clip(0, 255).astype("uint8")


def write():
    wide = Image.fromarray(picture(37, 53))
    exif = Image.Exif()
    exif[0x112] = 6
    wide.save(HERE / "wide.jpg", quality=85, subsampling=2)
    wide.save(HERE / "turned.jpg", quality=85, exif=exif)
    Image.fromarray(picture(45, 29)).convert("L").save(HERE / "grey.png")
    Image.fromarray(np.dstack([picture(31, 33), picture(31, 33)[..., :1]])).save(HERE / "alpha.png")
    Image.fromarray(picture(24, 40)).quantize(32).save(HERE / "palette.png")
    Image.fromarray(picture(9, 7)).save(HERE / "small.webp", quality=80)
    frames = [Image.fromarray(picture(21, 34)).quantize(16) for _ in range(2)]
    frames[0].save(HERE / "moving.gif", save_all=True, append_images=frames[1:])


PROCESSORS = {
    "vit": ViTImageProcessor(size={"height": 20, "width": 16}),
    "bit": BitImageProcessor(size={"shortest_edge": 18}, crop_size={"height": 16, "width": 16}),
    "bit-padded": BitImageProcessor(size={"shortest_edge": 11}, crop_size={"height": 16, "width": 13}),
    "deit": DeiTImageProcessor(size={"height": 13, "width": 15}, crop_size={"height": 11, "width": 12}),
    "siglip": SiglipImageProcessor(size={"height": 17, "width": 17}),
    "plain": ViTImageProcessor(size={"height": 12, "width": 12}, do_normalize=False),
}


def resized(processor, image):
    plain = processor(image, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"][0]
    assert plain.dtype == torch.uint8
    return plain


def main():
    write()
    found = {}
    for path in sorted(HERE.glob("*.*")):
        if path.name in ("pixels.json.gz",):
            continue
        image = load_image(str(path))
        case = {"size": list(image.size), "sha256": hashlib.sha256(np.array(image).tobytes()).hexdigest()}
        for name, processor in PROCESSORS.items():
            values = processor(image, return_tensors="pt")["pixel_values"][0]
            case[name] = {
                "pixels": resized(processor, image).flatten().tolist(),
                "values": values.flatten()[::97].double().tolist(),
            }
        found[path.name] = case
    configs = {name: json.loads(processor.to_json_string()) for name, processor in PROCESSORS.items()}
    text = json.dumps({"processors": configs, "pictures": found}, separators=(",", ":"))
    with open(HERE / "pixels.json.gz", "wb") as file:
        file.write(gzip.compress(text.encode(), mtime=0))


main()

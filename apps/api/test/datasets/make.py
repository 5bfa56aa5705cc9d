# Writes the folders next to it in the format of Hugging Face's datasets: python3 -m venv v && v/bin/pip install
# datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1 pillow==13.0.0
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, Features
from datasets import Image as Picture
from PIL import Image

HERE = Path(__file__).parent
ROWS = range(12)
messages = [
    [{"role": "user", "content": f"{n} + 1?"}, {"role": "assistant", "content": str(n + 1)}] for n in ROWS
]
chats = Dataset.from_dict({"messages": messages, "id": list(ROWS)})


def save(name, data, **options):
    folder = HERE / name
    data.save_to_disk(folder, **options)
    shutil.make_archive(folder, "zip", HERE, name)
    shutil.rmtree(folder)


save("two-shards", chats, num_shards=2)
save("splits", DatasetDict({"train": chats, "test": chats.select([0])}))
save("one-split", DatasetDict({"train": chats}))
# pandas' own strings are Arrow's large strings; a filtered frame has its index as a column
frame = pd.DataFrame({"question": [f"{n} + 1?" for n in ROWS], "answer": [str(n + 1) for n in ROWS]})
save("pandas", Dataset.from_pandas(frame[frame["answer"] != "3"]))
table = pa.Table.from_pandas(frame)
for name, codec in [("plain", None), ("zstd", "zstd")]:
    with pa.ipc.new_file(HERE / f"{name}.arrow", table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as file:
        file.write_table(table)
frame.to_csv(HERE / "pandas.csv", index=False)
frame.to_parquet(HERE / "pandas.parquet")
# images and label names as on the Hub
pictures = Dataset.from_dict(
    {"img": [Image.new("RGB", (4, 4), (85 * (n % 4), 0, 0)) for n in ROWS], "label": [n % 2 for n in ROWS]},
    features=Features({"img": Picture(), "label": ClassLabel(names=["even", "odd"])}),
)
save("pictures", pictures)
pictures.to_parquet(HERE / "pictures.parquet")

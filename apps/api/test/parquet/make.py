# Writes the files next to it in the format of Hugging Face's datasets: python3 -m venv v && v/bin/pip install
# pyarrow==26.0.1
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
ROWS = range(12)
messages = [
    [{"role": "user", "content": f"{n} + 1?"}, {"role": "assistant", "content": str(n + 1)}] for n in ROWS
]
conversations = [[{"from": "human", "value": f"{n} + 1?"}, {"from": "gpt", "value": str(n + 1)}] for n in ROWS]
for codec in ["zstd", "gzip"]:
    chats = pa.table({"messages": messages, "id": list(ROWS)})
    pq.write_table(chats, HERE / f"messages-{codec}.parquet", compression=codec)
    turns = pa.table({"conversations": conversations})
    pq.write_table(turns, HERE / f"conversations-{codec}.parquet", compression=codec)
pages = pa.table({"messages": messages})
pq.write_table(pages, HERE / "messages-pages-v2.parquet", compression="zstd", data_page_version="2.0")

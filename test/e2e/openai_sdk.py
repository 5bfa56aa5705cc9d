"""Uses Graft with OpenAI's SDK for Python, as a user's program would. Prints the results as JSON.

Environment: OPENAI_BASE_URL, OPENAI_API_KEY. Arguments: name of the base, file of chats.
"""

import contextlib
import json
import sys
import time

import openai
from strict_client import client, problems, requests, until, validate, validated

base, chats, _ = sys.argv[1:]
seen = {"version": openai.__version__}

# files
with open(chats, "rb") as content:
    file = client.files.create(file=content, purpose="fine-tune")
seen["file"] = client.files.wait_for_processing(file.id).status
with open(chats, "rb") as content:
    seen["content_is_kept"] = client.files.content(file.id).read() == content.read()
seen["listed"] = file.id in [one.id for one in client.files.list(limit=1)]

# fine_tuning
job = client.fine_tuning.jobs.create(
    model=base,
    training_file=file.id,
    suffix="python",
    seed=7,
    method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": 4}}},
    extra_body={"peft": {"peft_type": "LORA", "r": 4}, "graft": {"learning_rate": 0.01}},
)


def ended():
    now = client.fine_tuning.jobs.retrieve(job.id)
    return now if now.status in ("succeeded", "failed", "cancelled") else None


done = until("the job", ended)
seen["job"] = done.status
seen["events"] = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=1)][0]
seen["checkpoints"] = len(list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1)))
grader = {"type": "string_check", "name": "same", "operation": "eq", "input": "{{sample.output_text}}", "reference": "a"}
seen["reward"] = client.fine_tuning.alpha.graders.run(grader=grader, model_sample="a").reward
try:
    client.fine_tuning.jobs.retrieve("ftjob-nope")
except openai.NotFoundError as error:
    seen["not_found"] = [error.status_code, error.param]

# chat
asked = {"model": done.fine_tuned_model, "messages": [{"role": "user", "content": "abc"}], "max_completion_tokens": 4, "temperature": 0, "seed": 1}
whole = client.chat.completions.create(**asked).choices[0].message.content
pieces = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked, stream=True) if chunk.choices]
seen["chat"] = [type(whole).__name__, "".join(pieces) == whole]

# responses
prompt = {"model": done.fine_tuned_model, "input": "abc", "max_output_tokens": 4, "temperature": 0}
response = client.responses.create(**prompt)
events = list(client.responses.create(**prompt, stream=True))
seen["response"] = [response.output_text == whole, events[-1].response.output_text == whole, events[0].type, events[-1].type == f"response.{response.status}"]
stored = client.responses.retrieve(response.id)
again = client.responses.create(**prompt, previous_response_id=response.id)
roles = [item.role for item in client.responses.input_items.list(again.id, limit=2, order="asc")]
client.responses.delete(response.id)
try:
    client.responses.retrieve(response.id)
except openai.NotFoundError as error:
    seen["stored"] = [stored.output_text == whole, roles, error.param]
long = {"model": base, "input": [{"role": "user", "content": "abc"}] * 500}
try:
    client.responses.create(**long)
except openai.BadRequestError:
    cut = client.responses.create(**long, truncation="auto")
    seen["truncated"] = [cut.truncation, cut.usage.input_tokens > 16, cut.max_output_tokens]

behind = client.responses.create(**prompt, background=True)
status = behind.status
while behind.status in ("queued", "in_progress"):
    time.sleep(0.1)
    behind = client.responses.retrieve(behind.id)
again = client.responses.cancel(behind.id)
gone = client.responses.cancel(client.responses.create(**prompt, background=True).id)
try:
    client.responses.cancel(cut.id)
except openai.BadRequestError as error:
    seen["background"] = [status, behind.output_text == whole, again.status == behind.status, gone.background, gone.status in ("cancelled", behind.status), error.param]

# embeddings
vectors = client.embeddings.create(model=base, input=["abc", "bcd"], encoding_format="float").data
seen["embeddings"] = [len(vectors), round(sum(x * x for x in vectors[0].embedding), 3)]

# batches
bodies = {
    "/v1/chat/completions": {"model": base, "messages": [{"role": "user", "content": "abc"}], "max_tokens": 4},
    "/v1/completions": {"model": base, "prompt": ["abc", "bcd"], "max_tokens": 4},
    "/v1/responses": {"model": base, "input": "abc", "max_output_tokens": 4},
    "/v1/embeddings": {"model": base, "input": ["abc", "bcd"]},
}
types = {
    "/v1/chat/completions": openai.types.chat.ChatCompletion,
    "/v1/completions": openai.types.Completion,
    "/v1/responses": openai.types.responses.Response,
    "/v1/embeddings": openai.types.CreateEmbeddingResponse,
}
seen["batches"] = []
for endpoint, body in bodies.items():
    lines = [json.dumps({"custom_id": str(i), "method": "POST", "url": endpoint, "body": body}) for i in range(3)]
    lines.append(json.dumps({"custom_id": "wrong", "method": "POST", "url": endpoint, "body": {**body, "nonsense": 1}}))
    file = client.files.create(file=("requests.jsonl", "\n".join(lines).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")
    batch = until("the batch", lambda: (now := client.batches.retrieve(batch.id)).status == "completed" and now)
    results = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    answers = [validate(type_=types[endpoint], value=result["response"]["body"]) for result in results]
    [error] = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    seen["batches"].append([[result["custom_id"] for result in results], len(answers), error["custom_id"], error["response"]["status_code"], batch.usage.input_tokens > 0])
with contextlib.suppress(openai.BadRequestError):  # if it has ended already
    client.batches.cancel(client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h").id)
seen["listed_batches"] = len(list(client.batches.list(limit=2)))

# evals
made = client.evals.create(
    name="python",
    data_source_config={"type": "custom", "item_schema": {"type": "object", "required": ["word"]}, "include_sample_schema": True},
    testing_criteria=[{**grader, "reference": "{{item.answer}}"}],
)
run = client.evals.runs.create(
    made.id,
    data_source={
        "type": "completions",
        "model": done.fine_tuned_model,
        "source": {"type": "file_content", "content": [{"item": {"word": "abc", "answer": whole}}, {"item": {"word": "abc", "answer": "not " + whole}}]},
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{item.word}}"}]},
        "sampling_params": {"max_completion_tokens": 4, "temperature": 0, "seed": 1},
    },
)
counts = until("the run", lambda: (now := client.evals.runs.retrieve(run.id, eval_id=made.id)).status == "completed" and now).result_counts
seen["run"] = [counts.total, counts.passed, counts.failed, counts.errored]
seen["items"] = [item.status for item in client.evals.runs.output_items.list(run.id, eval_id=made.id, limit=1)]
given = client.evals.runs.create(made.id, data_source={"type": "jsonl", "source": {"type": "file_content", "content": [{"item": {"word": "abc", "answer": "a"}, "sample": {"output_text": "a"}}]}})
until("the given answer", lambda: client.evals.runs.retrieve(given.id, eval_id=made.id).status == "completed")
seen["cancelled"] = client.evals.runs.cancel(given.id, eval_id=made.id).id == given.id
seen["given"] = list(client.evals.runs.output_items.list(given.id, eval_id=made.id, limit=1))[0].sample.output[0].content
seen["deleted"] = client.evals.delete(made.id).deleted

seen["validated"] = len(validated) > 10
print(json.dumps({"seen": seen, "requests": sorted(requests), "problems": problems}))
